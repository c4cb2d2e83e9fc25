//! Time, page faults and memory of training steps of a chain of residual blocks, as the trunk of a
//! ResNet20 on 32×32 images.
//!
//! `cargo run -p kd-kernels --example chain -- STEPS BATCH FAST`, where FAST is 1 for Winograd's
//! F(4×4). Prints the least and the median time of a step, the mean of the minor page faults of the
//! later half of the steps, and the peak of memory. `MIMALLOC_PURGE_DELAY=-1` is what the
//! binaries set.

use std::time::Instant;

use candle_core::{Device, Result, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::conv2d::{Geometry, Precision, conv2d};
use kd_kernels::pool::global_avg_pool;
use kd_kernels::stream::Stream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn normal(seed: u64, dims: &[usize], scale: f64) -> Result<Tensor> {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu)?.affine(scale, 0.0)
}

struct Layer {
    w: Var,
    weight: Var,
    bias: Var,
    stride: usize,
}

impl Layer {
    fn new(seed: u64, from: usize, to: usize, stride: usize) -> Result<Self> {
        let w =
            Var::from_tensor(&normal(seed, &[to, from, 3, 3], (2.0 / (9 * from) as f64).sqrt())?)?;
        let weight = Var::ones(to, candle_core::DType::F32, &Device::Cpu)?;
        let bias = Var::zeros(to, candle_core::DType::F32, &Device::Cpu)?;
        Ok(Self { w, weight, bias, stride })
    }

    fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        precision: Precision,
    ) -> Result<Tensor> {
        let y = conv2d(
            x,
            &self.w,
            None,
            Geometry { stride: self.stride, padding: 1, groups: 1 },
            precision,
        )?;
        batch_norm(
            &y,
            &self.weight,
            &self.bias,
            1e-5,
            Statistics::Batch(None),
            residual,
            Activation::Relu,
        )
    }
}

fn rusage() -> (i64, i64) {
    // SAFETY: a rusage of zeros is valid, and the call only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    (usage.ru_minflt, usage.ru_maxrss / 1024)
}

fn main() -> Result<()> {
    let argument = |i: usize, otherwise: usize| {
        std::env::args().nth(i).and_then(|a| a.parse().ok()).unwrap_or(otherwise)
    };
    let (steps, batch) = (argument(1, 20), argument(2, 128));
    let precision = if argument(3, 0) == 1 { Precision::Fast } else { Precision::Precise };
    let mut layers = vec![Layer::new(0, 3, 16, 1)?];
    for (stage, to) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..6 {
            let first = stage > 0 && i == 0;
            layers.push(Layer::new(
                layers.len() as u64,
                if first { to / 2 } else { to },
                to,
                if first { 2 } else { 1 },
            )?);
        }
    }
    let x = normal(99, &[batch, 3, 32, 32], 1.0)?;
    let (mut times, mut faults) = (Vec::new(), 0);
    for step in 0..steps {
        if step == steps / 2 {
            faults = rusage().0;
        }
        let start = Instant::now();
        let mut y = layers[0].forward(&x, None, precision)?;
        for pair in layers[1..].chunks(2) {
            let z = pair[0].forward(&y, None, precision)?;
            let residual = if pair[0].stride == 1 { Some(&y) } else { None };
            y = pair[1].forward(&z, residual, precision)?;
        }
        let loss = global_avg_pool(&y)?.sqr()?.mean_all()?;
        drop(y);
        let forward = start.elapsed();
        let gradients = kd_kernels::backward(&loss)?;
        let all = start.elapsed();
        let found = layers.iter().filter(|l| gradients.get(&l.w).is_some()).count();
        assert_eq!(found, layers.len());
        times.push((all, forward));
    }
    times.sort();
    let (faults, resident) = (rusage().0 - faults, rusage().1);
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    println!(
        "step {:.1} ms least, {:.1} median (forward {:.1}); {} faults a step; {resident} MiB at most",
        ms(times[0].0),
        ms(times[steps / 2].0),
        ms(times[0].1),
        faults / (steps - steps / 2) as i64,
    );
    Ok(())
}
