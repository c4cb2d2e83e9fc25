//! The dense layer at the shapes of the 784-1200-1200-10 network with a batch of 100, kernel beside
//! twin.
//!
//! `forward` is one layer with bias and ReLU; `backward` is the pass from the loss to the gradients
//! of the input, the weight and the bias, with the kernel and the sink, with the kernel in Candle's
//! own pass, and with stock ops; `evaluation` is a forward pass of 1,000 rows.
//!
//! Medians seen on two cores of a Sapphire Rapids virtual machine (AVX-512) that other programs
//! kept busy, so that only the ratios mean something: forward 100x784x1200 4.1 ms against 19.6 ms
//! for the twin; backward 100x1200x1200 8.5 ms with the sink, 41 ms without it, 117 ms for the
//! twin; evaluation 33 ms against 145 ms. How the product is cut, and what that brought, is told in
//! `src/gemm/avx512/mod.rs`.

use candle_core::{Device, Result, Tensor, Var};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kd_kernels::Activation;
use kd_kernels::linear::{linear, reference};
use std::hint::black_box;
use std::time::Duration;

type Layer = fn(&Tensor, &Tensor, Option<&Tensor>, Activation) -> Result<Tensor>;

/// Kernel and twin, by name.
const LAYERS: [(&str, Layer); 2] = [("kernel", linear), ("twin", reference::linear)];

struct Operands {
    x: Var,
    w: Var,
    b: Var,
}

fn operands(rows: usize, inner: usize, out: usize) -> Result<Operands> {
    let ramp = |shape: &[usize]| {
        let data: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5)
            .collect();
        Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu)?)
    };
    Ok(Operands { x: ramp(&[rows, inner])?, w: ramp(&[out, inner])?, b: ramp(&[out])? })
}

fn run(c: &mut Criterion) -> Result<()> {
    let shapes = [(100, 784, 1200), (100, 1200, 1200), (100, 1200, 10)];
    let mut group = c.benchmark_group("linear/forward");
    for (rows, inner, out) in shapes {
        let Operands { x, w, b } = operands(rows, inner, out)?;
        for (name, layer) in LAYERS {
            group
                .bench_function(BenchmarkId::new(name, format!("{rows}x{inner}x{out}")), |bench| {
                    bench.iter(|| layer(black_box(&x), &w, Some(&b), Activation::Relu))
                });
        }
    }
    group.finish();

    let mut group = c.benchmark_group("linear/backward");
    for (rows, inner, out) in shapes {
        let Operands { x, w, b } = operands(rows, inner, out)?;
        let loss = linear(&x, &w, Some(&b), Activation::Relu)?.sum_all()?;
        group
            .bench_function(BenchmarkId::new("kernel", format!("{rows}x{inner}x{out}")), |bench| {
                bench.iter(|| kd_kernels::backward(black_box(&loss)))
            });
        group.bench_function(
            BenchmarkId::new("kernel-without-sink", format!("{rows}x{inner}x{out}")),
            |bench| bench.iter(|| black_box(&loss).backward()),
        );
        let loss = reference::linear(&x, &w, Some(&b), Activation::Relu)?.sum_all()?;
        group.bench_function(BenchmarkId::new("twin", format!("{rows}x{inner}x{out}")), |bench| {
            bench.iter(|| black_box(&loss).backward())
        });
    }
    group.finish();

    let mut group = c.benchmark_group("linear/evaluation");
    let Operands { x, w, b } = operands(1000, 784, 1200)?;
    for (name, layer) in LAYERS {
        let (x, w, b) = (x.as_detached_tensor(), w.as_detached_tensor(), b.as_detached_tensor());
        group.bench_function(BenchmarkId::new(name, "1000x784x1200"), |bench| {
            bench.iter(|| layer(black_box(&x), &w, Some(&b), Activation::Relu))
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
    name = linear_benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(linear_benches);
