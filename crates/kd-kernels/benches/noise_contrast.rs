//! One side of a step of contrastive representation distillation on CIFAR-100: 128 anchors of 128
//! values, a memory of 50,000, 16,384 negatives.

use std::time::Duration;

use candle_core::{Device, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use kd_kernels::noise_contrast::{Pairs, Picks, noise_contrast, normaliser, reference};
use kd_kernels::stream::Stream;

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const IMAGES: usize = 50_000;
const NEGATIVES: usize = 16_384;
const WIDTH: usize = 128;

fn unit_rows(rows: usize, seed: u64) -> candle_core::Result<Tensor> {
    let mut values = vec![0f32; rows * WIDTH];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    let x = Tensor::from_vec(values, (rows, WIDTH), &Device::Cpu)?;
    x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)
}

fn step(c: &mut Criterion) {
    let anchors = Var::from_tensor(&unit_rows(BATCH, 1).expect("anchors")).expect("a variable");
    let memory = unit_rows(IMAGES, 2).expect("a memory");
    let rows: Vec<Vec<u32>> = (0..BATCH as u64)
        .map(|i| {
            Stream::new(3, i).permutation(IMAGES)[..NEGATIVES].iter().map(|&j| j as u32).collect()
        })
        .collect();
    let (positives, negatives) =
        ((0..BATCH as u32).collect::<Vec<_>>(), Picks::new(IMAGES, &rows).expect("picks"));
    let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: 0.07 };
    let z = normaliser(&anchors, &memory, &pairs).expect("a normaliser");
    let mut group = c.benchmark_group("noise_contrast");
    group.bench_function("kernel", |b| {
        b.iter(|| {
            kd_kernels::backward(&noise_contrast(&anchors, &memory, &pairs, z).expect("a loss"))
                .expect("gradients")
        })
    });
    group.bench_function("twin", |b| {
        b.iter(|| {
            kd_kernels::backward(
                &reference::noise_contrast(&anchors, &memory, &pairs, z).expect("a loss"),
            )
            .expect("gradients")
        })
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = step
}
criterion_main!(benches);
