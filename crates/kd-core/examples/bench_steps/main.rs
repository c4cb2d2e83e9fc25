//! Times one training step or evaluation pass, for `scripts/bench-vs-pytorch`, which describes workloads and protocol.
//!
//! `bench_steps WORKLOAD --threads N --warmup W --steps S` prints one JSON line: workload, step_ms (median), peak_mb.

mod cifar;
mod mnist;

use clap::Parser;
use kd_core::Error;

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: kd_core::memory::Allocator = kd_core::memory::Allocator;

#[derive(Parser)]
struct Arguments {
    /// mnist-teacher-step, mnist-distillation-step, mnist-evaluation, ARCH-step, ARCH-step-precise or ARCH-evaluation
    workload: String,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    warmup: usize,
    #[arg(long)]
    steps: usize,
}

fn main() -> std::process::ExitCode {
    kd_core::cli::prepare_process();
    kd_core::cli::finish(run(&Arguments::parse()), Error::is_bad_input)
}

fn run(arguments: &Arguments) -> kd_core::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global();
    pool.map_err(|e| Error::bad_input(format!("--threads: {e}")))?;
    let times = match arguments.workload.as_str() {
        "mnist-teacher-step" => mnist::teacher_step(arguments)?,
        "mnist-distillation-step" => mnist::distillation_step(arguments)?,
        "mnist-evaluation" => mnist::evaluation(arguments)?,
        other => cifar::run(other, arguments)?,
    };
    println!("{{\"workload\": \"{}\", \"step_ms\": {:.4}, \"peak_mb\": {:.1}}}", arguments.workload, median(times), peak_mb());
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
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.)
}
