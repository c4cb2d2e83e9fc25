//! Convolutions that are not 3x3 without strides, at shapes of residual, mobile and shuffle
//! networks with a batch of 128: the forward pass alone, and with the pass back to x and w.
//!
//! Figures of single passes stand at the head of `src/conv2d/implicit/mod.rs` and
//! `src/conv2d/depthwise/mod.rs`.

use candle_core::{Device, Result, Tensor, Var};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kd_kernels::conv2d::{Geometry, Precision, conv2d};
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;

/// Name, input and output channels, side, kernel, stride, padding, groups.
const LAYERS: [(&str, [usize; 7]); 8] = [
    ("3>16@32", [3, 16, 32, 3, 1, 1, 1]),
    ("16>32@32/2", [16, 32, 32, 3, 2, 1, 1]),
    ("1x1 64>256@8", [64, 256, 8, 1, 1, 0, 1]),
    ("1x1 160>1280@2", [160, 1280, 2, 1, 1, 0, 1]),
    ("1x1 60>240@16 in 3 groups", [60, 240, 16, 1, 1, 0, 3]),
    ("depthwise 96@16", [96, 96, 16, 3, 1, 1, 96]),
    ("depthwise 96@16/2", [96, 96, 16, 3, 2, 1, 96]),
    ("depthwise 960@2", [960, 960, 2, 3, 1, 1, 960]),
];

fn ramp(shape: &[usize]) -> Result<Var> {
    let data: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
    Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu)?)
}

fn run(c: &mut Criterion) -> Result<()> {
    let mut group = c.benchmark_group("conv2d");
    for (name, [cin, cout, side, kernel, stride, padding, groups]) in LAYERS {
        let geometry = Geometry { stride, padding, groups };
        let (x, w) =
            (ramp(&[BATCH, cin, side, side])?, ramp(&[cout, cin / groups, kernel, kernel])?);
        let (fixed_x, fixed_w) = (x.as_detached_tensor(), w.as_detached_tensor());
        group.bench_function(BenchmarkId::new("forward", name), |bench| {
            bench.iter(|| conv2d(black_box(&fixed_x), &fixed_w, None, geometry, Precision::Precise))
        });
        group.bench_function(BenchmarkId::new("forward-backward", name), |bench| {
            bench.iter(|| {
                kd_kernels::backward(
                    &conv2d(black_box(&x), &w, None, geometry, Precision::Precise)?.sum_all()?,
                )
            })
        });
    }
    group.finish();
    Ok(())
}

fn benches(c: &mut Criterion) {
    // A benchmark that cannot set up its operands has nothing to measure.
    run(c).expect("the operands of the benchmark");
}

criterion_group! {
    name = conv2d_benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(conv2d_benches);
