//! Batch normalisation with ReLU, and the maps of images, at the shapes of ResNets on 32×32 images
//! with batches of 128.
//!
//! `cargo bench -p kd-kernels --bench batch_norm`. `train` is one of eight layers in a row, forward
//! and backward, so that what Candle adds at the ends is an eighth of it; `forward` has no graph.
//! Gradients of weights and inputs are dropped.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use kd_kernels::Activation;
use kd_kernels::attention_fusion::attention_fusion;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::channel_shuffle::channel_shuffle;
use kd_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d};
use kd_kernels::relu::relu;
use kd_kernels::stream::Stream;
use kd_kernels::upsample::upsample_nearest;

/// The allocator of the binaries: with the system's, page faults of fresh outputs would be most of
/// what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const LAYERS: usize = 8;

fn normal(dims: &[usize]) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(1, dims.len() as u64).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).expect("a tensor of as many values as its shape")
}

/// `f` on a constant, and the mean time of one of eight times `f` in a row with the backward pass.
fn both(
    group: &mut BenchmarkGroup<WallTime>,
    name: &str,
    x: &Tensor,
    f: impl Fn(&Tensor) -> Result<Tensor>,
) {
    group.throughput(Throughput::Bytes(4 * x.elem_count() as u64));
    group.bench_function(format!("forward/{name}"), |b| {
        b.iter(|| f(black_box(x)).expect("the op of a benchmark"))
    });
    let var = Var::from_tensor(x).expect("a variable");
    group.throughput(Throughput::Bytes(4 * (LAYERS * x.elem_count()) as u64));
    group.bench_function(format!("train/{name}/x{LAYERS}"), |b| {
        b.iter(|| {
            let mut y = var.as_tensor().clone();
            for _ in 0..LAYERS {
                y = f(&y).expect("the op of a benchmark");
            }
            let loss = global_avg_pool(&y).and_then(|y| y.sum_all()).expect("a loss");
            kd_kernels::backward(&loss).expect("a backward pass")
        })
    });
}

fn normalisations(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch_norm");
    for (channels, side) in [(16, 32), (32, 16), (64, 8), (64, 32), (128, 8), (512, 4), (512, 1)] {
        let x = normal(&[BATCH, channels, side, side]);
        let ones = Var::ones(channels, x.dtype(), x.device()).expect("a variable");
        let norm = |x: &Tensor, residual: Option<&Tensor>| {
            batch_norm(x, &ones, &ones, 1e-5, Statistics::Batch(None), residual, Activation::Relu)
        };
        both(&mut group, &format!("{channels}@{side}x{side}"), &x, |x| norm(x, None));
        if side == 32 {
            both(&mut group, &format!("{channels}@{side}x{side}/residual"), &x, |y| {
                norm(y, Some(y))
            });
        }
    }
    group.finish();
}

fn maps(c: &mut Criterion) {
    let mut group = c.benchmark_group("maps");
    let x = normal(&[BATCH, 64, 32, 32]);
    both(&mut group, "relu", &x, relu);
    both(&mut group, "shuffle", &x, |x| channel_shuffle(x, 4));
    both(&mut group, "avg-pool-3", &x, |x| avg_pool2d(x, 3, 1, 1, true));
    let forward =
        |group: &mut BenchmarkGroup<WallTime>, name: &str, f: &dyn Fn() -> Result<Tensor>| {
            group.bench_function(format!("forward/{name}"), |b| {
                b.iter(|| f().expect("the op of a benchmark"))
            });
        };
    forward(&mut group, "max-pool-2", &|| max_pool2d(&x, 2, 2, 0));
    forward(&mut group, "max-pool-3-stride-2", &|| max_pool2d(&x, 3, 2, 1));
    forward(&mut group, "global-avg-pool", &|| global_avg_pool(&x));
    let small = normal(&[BATCH, 64, 16, 16]);
    forward(&mut group, "upsample-2", &|| upsample_nearest(&small, (32, 32)));
    let (weight, bias) = (normal(&[2, 128]), normal(&[2]));
    forward(&mut group, "attention-fusion", &|| attention_fusion(&x, &small, &weight, &bias));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = normalisations, maps
}
criterion_main!(benches);
