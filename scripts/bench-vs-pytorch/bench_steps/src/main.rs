//! Times one training step, evaluation pass or search, for `scripts/bench-vs-pytorch`, which
//! describes workloads and protocol.
//!
//! `bench_steps WORKLOAD --threads N --warmup W --steps S` prints one JSON line: workload, step_ms
//! (median), peak_mb, and the step's gflop and gbytes. `bench_steps machine --threads N` prints the
//! machine's rates instead.

mod batches;
mod cifar;
mod distillation;
mod mnist;
mod translation;
mod work;

use std::sync::OnceLock;

use candle_core::Device;
use clap::Parser;
use kd_base::message::one_line;
use kd_base::threads::parse_threads;
use kd_base::{Blame, DeviceChoice};
use kd_core::Error;

#[global_allocator]
static ALLOCATOR: work::CountingAllocator = work::CountingAllocator;

#[derive(Parser)]
struct Arguments {
    /// mnist-teacher-step, mnist-distillation-step, mnist-evaluation, ARCH-step,
    /// ARCH-step-precise, ARCH-evaluation, kd-step, at-step, crd-step, review-step, review-wrn-step,
    /// translation-{teacher,tiny,small,generator}-step, with -bfloat16 after it or not,
    /// translation-{teacher,tiny}-search or machine
    workload: String,
    #[arg(long, value_parser = parse_threads)]
    threads: usize,
    #[arg(long, default_value_t = 0)]
    warmup: usize,
    #[arg(long, default_value_t = 1)]
    steps: usize,
    /// cpu, cuda, cuda:N or metal; translators run on the CPU alone
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[arg(skip)]
    opened: OnceLock<Device>,
    /// Of a search: write its network, its sentences and its translations to this folder
    #[arg(long, value_name = "DIR")]
    export: Option<std::path::PathBuf>,
}

impl Arguments {
    /// The device, opened once: two openings of one accelerator do not share tensors.
    fn device(&self) -> kd_core::Result<&Device> {
        if self.opened.get().is_none() {
            // An empty cell takes the value, and nobody else fills it: there is one thread.
            let _ = self.opened.set(kd_core::device::open(self.device)?);
        }
        Ok(self.opened.get().unwrap_or(&Device::Cpu))
    }
}

fn main() -> std::process::ExitCode {
    // SAFETY: nothing has started a thread.
    unsafe { kd_core::process::prepare() };
    match run(&Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            error.fault().exit_code().into()
        }
    }
}

fn run(arguments: &Arguments) -> kd_core::Result<()> {
    kd_core::process::check_environment()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global();
    pool.map_err(|e| Error::bad_input(format!("--threads: {e}")))?;
    let timed = match arguments.workload.as_str() {
        "machine" => {
            println!(
                "{{\"gflops\": {:.1}, \"gbytes_per_s\": {:.1}}}",
                work::matrix_rate()?,
                work::bandwidth()
            );
            return Ok(());
        }
        "mnist-teacher-step" => mnist::teacher_step(arguments)?,
        "mnist-distillation-step" => mnist::distillation_step(arguments)?,
        "mnist-evaluation" => mnist::evaluation(arguments)?,
        other if other.starts_with("translation-") && !arguments.device()?.is_cpu() => {
            return Err(Error::bad_input(format!(
                "{other}: expected --device cpu, got {}",
                arguments.device
            )));
        }
        other if other.starts_with("translation-") => translation::run(other, arguments)?,
        other => distillation::training(other, arguments)
            .unwrap_or_else(|| cifar::run(other, arguments))?,
    };
    let work::Timed { times, gflop, gbytes } = timed;
    let (name, step_ms, peak_mb) = (&arguments.workload, median(times), peak_mb());
    println!(
        "{{\"workload\": \"{name}\", \"step_ms\": {step_ms:.4}, \"peak_mb\": {peak_mb:.1}, \"gflop\": {gflop:.4}, \"gbytes\": {gbytes:.5}}}"
    );
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Peak resident memory of this process in MiB; NaN where the system does not say.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<f64>().ok())
        .map_or(f64::NAN, |kb| kb / 1024.)
}
