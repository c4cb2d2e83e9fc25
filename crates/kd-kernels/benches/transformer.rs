//! The ops of a Transformer at width 256, 4 heads, feed-forward of 1,024, and 32 sentences of 32
//! words, kernel beside twin.
//!
//! `layer` is a whole post-norm layer of an encoder or decoder with dropout 0.1, forward and
//! backward; `loss` the output projection to 10,000 words with its loss; `decode` one step of a
//! beam search.
//!
//! Beside PyTorch 2.15 eager, whose `nn.TransformerEncoderLayer` and `nn.TransformerDecoderLayer`
//! do the same in train mode, with large blocks kept by its allocator and by turns: the encoder's
//! layer took 0.55 to 0.61 of its time, the decoder's 0.58 to 0.68, the output projection
//! with its loss 0.7 to 0.85, a step of decoding 0.5 to 0.9. The machine, two cores with AVX-512,
//! was busy, so that only the ratios mean something. Three quarters of a layer's time are matrix
//! products.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use kd_kernels::Activation;
use kd_kernels::attention::{Mask, attention};
use kd_kernels::dropout::Dropout;
use kd_kernels::embedding::embedding;
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::layer_norm::residual_norm;
use kd_kernels::linear::linear;
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, soft_cross_entropy,
};
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::stream::Stream;
use kd_kernels::{Kernels, set_kernels};

/// The allocator of the binaries: with the system's, page faults of fresh outputs would be most of
/// what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SENTENCES: usize = 32;
const WORDS: usize = 32;
const WIDTH: usize = 256;
const HIDDEN: usize = 1024;
const HEADS: usize = 4;
const VOCABULARY: usize = 10_000;

fn normal(dims: &[usize], seed: u64, scale: f64) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    let values = Tensor::from_vec(values, dims, &Device::Cpu)
        .expect("a tensor of as many values as its shape");
    (values * scale).expect("a scaled tensor")
}

fn var(dims: &[usize], seed: u64, scale: f64) -> Var {
    Var::from_tensor(&normal(dims, seed, scale)).expect("a variable")
}

fn drop(purpose: u64) -> Option<Dropout> {
    Some(Dropout { p: 0.1, stream: Stream::new(purpose, 1) })
}

/// Benchmarks `f`, followed by its backward pass, as kernel and as twin.
fn both(c: &mut Criterion, group: &str, f: impl Fn() -> Result<Tensor>) {
    let mut group = c.benchmark_group(group);
    for (name, enabled) in [("kernel", true), ("twin", false)] {
        set_kernels(if enabled { Kernels::Best } else { Kernels::Off });
        group.bench_function(name, |b| {
            b.iter(|| black_box(pass(f().expect("the op of a benchmark"))))
        });
    }
    set_kernels(Kernels::Best);
    group.finish();
}

/// The backward pass of what has one.
fn pass(y: Tensor) -> Option<kd_kernels::Gradients> {
    y.track_op().then(|| kd_kernels::backward(&y).expect("the backward pass of a benchmark"))
}

struct Attention {
    weights: Vec<Var>,
    bias: Var,
}

impl Attention {
    fn new(seed: u64) -> Self {
        Self {
            weights: (0..4).map(|i| var(&[WIDTH, WIDTH], seed + i, 0.05)).collect(),
            bias: var(&[WIDTH], seed + 4, 0.05),
        }
    }

    fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        mask: Mask,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let project =
            |x: &Tensor, i: usize| linear(x, &self.weights[i], Some(&self.bias), Activation::None);
        project(
            &attention(
                &project(x, 0)?,
                &project(memory, 1)?,
                &project(memory, 2)?,
                HEADS,
                mask,
                dropout,
            )?,
            3,
        )
    }
}

fn layers(c: &mut Criterion) {
    let dims = [SENTENCES, WORDS, WIDTH];
    let (x, memory) = (var(&dims, 1, 1.0), var(&dims, 2, 1.0));
    let (own, cross) = (Attention::new(10), Attention::new(20));
    let (gain, bias) = (var(&[WIDTH], 3, 1.0), var(&[WIDTH], 4, 1.0));
    let (w1, b1) = (var(&[HIDDEN, WIDTH], 5, 0.05), var(&[HIDDEN], 6, 0.05));
    let (w2, b2) = (var(&[WIDTH, HIDDEN], 7, 0.05), var(&[WIDTH], 8, 0.05));
    let lengths = [WORDS; SENTENCES];
    let padding = Mask { key_lengths: Some(&lengths), causal: false };
    let causal = Mask { key_lengths: None, causal: true };
    let end =
        |x: &Tensor, y: &Tensor, purpose| residual_norm(x, y, &gain, &bias, 1e-5, drop(purpose));
    let feed = |x: &Tensor| feed_forward(x, &w1, &b1, &w2, &b2, drop(3));
    both(c, "layer/encoder", || {
        let x = end(&x, &own.forward(&x, &x, padding, drop(1))?, 2)?;
        end(&x, &feed(&x)?, 4)
    });
    both(c, "layer/decoder", || {
        let x = end(&x, &own.forward(&x, &x, causal, drop(1))?, 2)?;
        let x = end(&x, &cross.forward(&x, &memory, padding, drop(5))?, 6)?;
        end(&x, &feed(&x)?, 4)
    });
    both(c, "op/attention", || attention(&x, &memory, &memory, HEADS, padding, drop(1)));
    both(c, "op/residual_norm", || end(&x, &memory, 2));
    both(c, "op/feed_forward", || feed(&x));
    let table = var(&[VOCABULARY, WIDTH], 9, 1.0);
    let positions = normal(&[64, WIDTH], 30, 1.0);
    let ids: Vec<u32> =
        (0..(SENTENCES * WORDS) as u32).map(|i| i * 37 % VOCABULARY as u32).collect();
    let ids = Tensor::from_vec(ids, (SENTENCES, WORDS), &Device::Cpu).expect("ids");
    both(c, "op/embedding", || embedding(&ids, &table, 16.0, Some(&positions), Some(1)));
}

fn losses(c: &mut Criterion) {
    let rows = SENTENCES * WORDS;
    let (hidden, table) = (var(&[rows, WIDTH], 1, 1.0), var(&[VOCABULARY, WIDTH], 2, 0.06));
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 37 % VOCABULARY as u32).collect();
    let targets = Tensor::new(targets, &Device::Cpu).expect("targets");
    both(c, "loss/projected", || {
        Ok(projected_cross_entropy(&hidden, &table, &targets, 0.1, None)?.loss)
    });
    both(c, "loss/projection and label_smoothed", || {
        let logits = linear(&hidden, &table, None, Activation::None)?;
        Ok(label_smoothed_cross_entropy(&logits, &targets, 0.1, None)?.loss)
    });
    let (logits, teacher) = (var(&[rows, VOCABULARY], 3, 3.0), normal(&[rows, VOCABULARY], 4, 3.0));
    both(c, "loss/label_smoothed", || {
        Ok(label_smoothed_cross_entropy(&logits, &targets, 0.1, None)?.loss)
    });
    both(c, "loss/soft", || soft_cross_entropy(&logits, &teacher, None));
    both(c, "loss/softened_kl", || softened_kl(&logits, &teacher, 1.0));
}

fn decode(c: &mut Criterion) {
    const ROWS: usize = 5 * 64;
    let q = normal(&[ROWS, 1, WIDTH], 1, 1.0);
    let cache = [2, 3].map(|seed| normal(&[ROWS, 64, WIDTH], seed, 1.0));
    for keys in [20, 60] {
        let [k, v] = [0, 1].map(|i| cache[i].narrow(1, 0, keys).expect("a part of the cache"));
        both(c, &format!("decode/{keys} keys of a cache"), || {
            attention(&q, &k, &v, HEADS, Mask::NONE, None)
        });
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = transformer; config = quick(); targets = layers, losses, decode }
criterion_main!(transformer);
