//! The row-wise and element-wise kernels and their twins at the shapes of a 784-1200-1200-10
//! network with batches of 100.
//!
//! `cargo bench -p kd-kernels --bench rowwise`; optimisers report bytes a second over every array
//! they read or write.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{DType, Device, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kd_kernels::adam::{AdamConfig, AdamState};
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::stream::Stream;
use kd_kernels::{Kernels, set_kernels};
use kd_kernels::{cross_entropy, dropout, max_norm, softened_kl, softmax};

/// The allocator of the binaries: with the system's, page faults of fresh outputs would be most of
/// what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 100;
const CLASSES: usize = 10;
const UNITS: usize = 1200;
/// The two large weights of the network, [1200, 784] and [1200, 1200], as one of as many elements.
const WEIGHT: (usize, usize) = (UNITS, 784 + UNITS);

fn normal(dims: (usize, usize), seed: u64) -> Tensor {
    let mut values = vec![0f32; dims.0 * dims.1];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).expect("a tensor of as many values as its shape")
}

/// Benchmarks `f` as a kernel and as its twin.
fn both(
    c: &mut Criterion,
    group: &str,
    bytes: Option<u64>,
    mut f: impl FnMut() -> candle_core::Result<()>,
) {
    let mut group = c.benchmark_group(group);
    if let Some(bytes) = bytes {
        group.throughput(Throughput::Bytes(bytes));
    }
    for (name, enabled) in [("kernel", true), ("twin", false)] {
        set_kernels(if enabled { Kernels::Best } else { Kernels::Off });
        group.bench_function(name, |b| b.iter(|| f().expect("the op of a benchmark")));
    }
    set_kernels(Kernels::Best);
    group.finish();
}

fn stream(c: &mut Criterion) {
    let stream = Stream::new(1, 2);
    let mut group = c.benchmark_group("stream");
    let mut words = vec![0u32; BATCH * UNITS];
    group.bench_function("fill_u32/120000", |b| {
        b.iter(|| stream.fill_u32(0, black_box(&mut words)))
    });
    let mut normals = vec![0f32; BATCH * UNITS];
    group.bench_function("fill_normal/120000", |b| {
        b.iter(|| stream.fill_normal(0, black_box(&mut normals)))
    });
    group.bench_function("permutation/60000", |b| b.iter(|| stream.permutation(black_box(60_000))));
    group.finish();
}

fn losses(c: &mut Criterion) {
    let logits = Var::from_tensor(&normal((BATCH, CLASSES), 1)).expect("a variable");
    let teacher = normal((BATCH, CLASSES), 2);
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i % CLASSES as u32).collect();
    let labels = Tensor::new(labels, &Device::Cpu).expect("labels");
    both(c, "cross_entropy/100x10 with backward", None, || {
        cross_entropy::cross_entropy(&logits, &labels)?
            .backward()
            .map(|grads| drop(black_box(grads)))
    });
    both(c, "softened_kl/100x10 with backward", None, || {
        softened_kl::softened_kl(&logits, &teacher, 20.0)?
            .backward()
            .map(|grads| drop(black_box(grads)))
    });
    let hidden = normal((BATCH, UNITS), 3);
    both(c, "softmax/100x1200", None, || softmax::softmax(&hidden).map(|y| drop(black_box(y))));
}

fn dropouts(c: &mut Criterion) {
    for (name, units) in [("dropout/100x1200", UNITS), ("dropout/100x784", 784)] {
        let hidden = normal((BATCH, units), 4);
        both(c, name, None, || {
            dropout::dropout(&hidden, 0.5, Stream::new(1, 2)).map(|y| drop(black_box(y)))
        });
    }
}

fn optimisers(c: &mut Criterion) {
    let array = (WEIGHT.0 * WEIGHT.1 * DType::F32.size_in_bytes()) as u64;
    let grad = (normal(WEIGHT, 5) * 1e-3).expect("a gradient");
    let var = Var::from_tensor(&normal(WEIGHT, 6)).expect("a variable");
    let cfg = SgdConfig { momentum: 0.9, weight_decay: 1e-6, ..SgdConfig::new(1e-3) };
    for (name, arrays, cfg) in [
        ("sgd/plain", 3, SgdConfig::new(1e-3)),
        ("sgd/momentum", 5, cfg),
        ("sgd/momentum + max-norm", 5, SgdConfig { max_norm: Some(15.0), ..cfg }),
    ] {
        let mut state = SgdState::new();
        both(c, name, Some(arrays * array), || state.step(&var, &grad, &cfg));
    }
    both(c, "max_norm", Some(array), || max_norm::max_norm(&var, 15.0));
    let mut state = AdamState::new();
    both(c, "adamw", Some(7 * array), || state.step(&var, &grad, &AdamConfig::adamw(1e-6)));
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = rowwise; config = quick(); targets = stream, losses, dropouts, optimisers }
criterion_main!(rowwise);
