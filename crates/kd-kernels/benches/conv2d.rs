//! Convolution at layers of ResNet20 and 56, ResNet8x4, WRN-16-2, VGG8 and 13 on batches of 128
//! images of CIFAR, with both precisions; the twin at ResNet20's layers, because it takes seconds
//! at the larger ones.
//!
//! `cargo bench -p kd-kernels --bench conv2d`; rates are multiply-adds of the direct sum, which
//! Winograd's algorithm needs fewer of.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kd_kernels::conv2d::{Geometry, Precision, conv2d};
use kd_kernels::stream::Stream;
use kd_kernels::{Kernels, set_kernels};

/// The allocator of the binaries: with the system's, page faults of fresh outputs would be most of
/// what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;

/// A layer of 3×3: name, input and output channels, side, stride, and whether the twin is measured
/// too.
type Layer = (&'static str, usize, usize, usize, usize, bool);

const LAYERS: [Layer; 12] = [
    ("first 3>16 at 32", 3, 16, 32, 1, true),
    ("resnet20 16>16 at 32", 16, 16, 32, 1, true),
    ("resnet20 16>32 at 32, stride 2", 16, 32, 32, 2, true),
    ("resnet20 32>32 at 16", 32, 32, 16, 1, true),
    ("resnet20 64>64 at 8", 64, 64, 8, 1, true),
    ("wrn-16-2 32>32 at 32", 32, 32, 32, 1, false),
    ("wrn-16-2 64>64 at 16", 64, 64, 16, 1, false),
    ("wrn-16-2 128>128 at 8", 128, 128, 8, 1, false),
    ("resnet8x4 64>64 at 32", 64, 64, 32, 1, false),
    ("resnet8x4, vgg13 128>128 at 16", 128, 128, 16, 1, false),
    ("resnet8x4, vgg8 256>256 at 8", 256, 256, 8, 1, false),
    ("vgg8 512>512 at 4", 512, 512, 4, 1, false),
];

fn normal(dims: &[usize], seed: u64) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).expect("a tensor of as many values as its shape")
}

fn layers(c: &mut Criterion) {
    for (name, ins, outs, side, stride, twin) in LAYERS {
        let geometry = Geometry { stride, padding: 1, groups: 1 };
        let x = Var::from_tensor(&normal(&[BATCH, ins, side, side], 1)).expect("a variable");
        let w = Var::from_tensor(&normal(&[outs, ins, 3, 3], 2)).expect("a variable");
        let (x_only, w_only) = (x.as_detached_tensor(), w.as_detached_tensor());
        let forward = |precision| {
            conv2d(&x_only, &w_only, None, geometry, precision).map(|y| drop(black_box(y)))
        };
        let both = |precision| -> Result<()> {
            let loss = conv2d(&x, &w, None, geometry, precision)?.sum_all()?;
            kd_kernels::backward(&loss).map(|grads| drop(black_box(grads)))
        };
        let out = side / stride;
        let products = (BATCH * ins * outs * 9 * out * out) as u64;
        let mut group = c.benchmark_group(name);
        for (how, precision, enabled) in [
            ("fast", Precision::Fast, true),
            ("precise", Precision::Precise, true),
            ("twin", Precision::Precise, false),
        ] {
            if !enabled && !twin {
                continue;
            }
            set_kernels(if enabled { Kernels::Best } else { Kernels::Off });
            group.throughput(Throughput::Elements(products));
            group.bench_function(format!("forward/{how}"), |b| {
                b.iter(|| forward(precision).expect("the op of a benchmark"))
            });
            group.throughput(Throughput::Elements(3 * products));
            group.bench_function(format!("with gradients/{how}"), |b| {
                b.iter(|| both(precision).expect("the op of a benchmark"))
            });
        }
        set_kernels(Kernels::Best);
        group.finish();
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! { name = convolution; config = quick(); targets = layers }
criterion_main!(convolution);
