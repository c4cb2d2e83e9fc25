//! Loops that are compiled for several instruction sets give the same bits on each. The switch is
//! global, and so this is a process of its own.

mod common;

use candle_core::{Device, Result, Tensor, Var};
use common::bits;
use kd_kernels::attention_fusion::attention_fusion;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::dropout::{self, Dropout};
use kd_kernels::embedding::embedding;
use kd_kernels::energy::channel_energy;
use kd_kernels::layer_norm::{layer_norm, residual_norm};
use kd_kernels::multiply_add::{multiply_add, tanh_multiply_add};
use kd_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d};
use kd_kernels::pyramid_distance::{Level, pyramid_distance};
use kd_kernels::relu::relu;
use kd_kernels::residual_add::residual_add;
use kd_kernels::smoothed_cross_entropy::{label_smoothed_cross_entropy, soft_cross_entropy};
use kd_kernels::softmax::softmax;
use kd_kernels::squared_distance::channel_distance;
use kd_kernels::stream::Stream;
use kd_kernels::triples::{angle_distance, squared_distances};
use kd_kernels::upsample::upsample_nearest;
use kd_kernels::weighted_sum::weighted_sum;
use kd_kernels::{Activation, Kernels, set_kernels};

fn random(seed: u64, dims: &[usize]) -> Var {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    Var::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// The bits of a result and of the gradients of the inputs.
fn all_bits(inputs: &[&Var], f: impl Fn() -> Result<Tensor>) -> Vec<Vec<u32>> {
    let y = f().unwrap();
    let grads =
        kd_kernels::backward(&(&y * random(9, y.dims()).as_tensor()).unwrap().sum_all().unwrap())
            .unwrap();
    std::iter::once(&y).chain(inputs.iter().map(|v| grads.get(v).unwrap())).map(bits).collect()
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let (x, y, gates) =
        (random(1, &[3, 5, 9, 11]), random(2, &[3, 5, 9, 11]), random(3, &[3, 2, 9, 11]));
    let (small, weight, bias) = (random(4, &[7, 5, 2, 3]), random(5, &[5]), random(6, &[5]));
    let (half, fusion, two) = (random(12, &[3, 5, 5, 6]), random(13, &[2, 10]), random(14, &[2]));
    let (square, other) = (random(15, &[3, 5, 12, 12]), random(16, &[3, 5, 12, 12]));
    let levels = [12, 4, 2, 1].map(|side| Level { side, weight: 1.0 / side as f64 });
    let norm = |x: &Var, residual: Option<&Tensor>, act| {
        all_bits(&[x, &weight, &bias], || {
            batch_norm(x, &weight, &bias, 1e-5, Statistics::Batch(None), residual, act)
        })
    };
    let (small_gates, targets) = (random(10, &[3]), random(11, &[19, 3]));
    let (words, gain) = (random(7, &[19, 53]), random(8, &[53]));
    let ids =
        Tensor::new((0..19u32).map(|i| i * 7 % 19).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let some = Some(Dropout { p: 0.3, stream: Stream::new(1, 2) });
    let all = || {
        vec![
            all_bits(&[&words, &gain], || layer_norm(&words, &gain, &gain, 1e-5)),
            all_bits(&[&words, &gain], || residual_norm(&words, &words, &gain, &gain, 1e-5, some)),
            all_bits(&[&words], || residual_add(&words, &words, some)),
            all_bits(&[&words], || embedding(&ids, &words, 1.5, None, Some(3))),
            all_bits(&[&words], || {
                Ok(label_smoothed_cross_entropy(&words, &ids, 0.1, Some(7))?.loss)
            }),
            all_bits(&[&words], || {
                soft_cross_entropy(&words, &(random(9, &[19, 53]).as_tensor() * 3.0)?, None)
            }),
            norm(&x, Some(&y), Activation::Relu),
            norm(&x, None, Activation::Relu),
            norm(&small, Some(&small), Activation::Relu),
            norm(&small, None, Activation::None),
            all_bits(&[&x], || max_pool2d(&x, 3, 2, 1)),
            all_bits(&[&x], || max_pool2d(&x, 2, 1, 0)),
            all_bits(&[&x], || avg_pool2d(&x, 3, 2, 1, false)),
            all_bits(&[&x], || global_avg_pool(&x)),
            all_bits(&[&x], || upsample_nearest(&x, (18, 22))),
            all_bits(&[&x], || upsample_nearest(&x, (13, 5))),
            all_bits(&[&x, &y, &fusion, &two], || attention_fusion(&x, &y, &fusion, &two)),
            all_bits(&[&x, &half, &fusion, &two], || attention_fusion(&x, &half, &fusion, &two)),
            all_bits(&[&x], || relu(&x)),
            all_bits(&[&words], || dropout::dropout(&words, 0.4, Stream::new(5, 6))),
            all_bits(&[&words], || softmax(&words)),
            all_bits(&[&x, &y], || multiply_add(&x, &y, &y)),
            all_bits(&[&x, &y], || tanh_multiply_add(&x, &y, &y)),
            all_bits(&[&gates, &small_gates], || weighted_sum(&gates, &small_gates)),
            all_bits(&[&x], || channel_energy(&x)),
            all_bits(&[&x, &y], || channel_distance(&x, &y)),
            all_bits(&[&square, &other], || pyramid_distance(&square, &other, &levels)),
            all_bits(&[&words], || {
                angle_distance(&squared_distances(&words)?, &squared_distances(&targets)?)
            }),
        ]
    };
    set_kernels(Kernels::Best);
    let widest = all();
    for kernels in [Kernels::Avx512, Kernels::Avx2, Kernels::Portable] {
        set_kernels(kernels);
        for (i, (narrower, widest)) in all().iter().zip(&widest).enumerate() {
            assert!(narrower == widest, "op {i} differs on {kernels:?}");
        }
    }
}
