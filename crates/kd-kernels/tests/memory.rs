//! Every kernel once, forward and backward, on shapes that are small and awkward: what an
//! interpreter that watches memory (Miri, in `scripts/check-memory.sh`) can get through. Elsewhere
//! it shows that no result is left unwritten.

mod common;

use candle_core::{Result, Tensor, Var};
use common::flat;
use common::graph::random;
use kd_kernels::attention::{Mask, attention};
use kd_kernels::attention_fusion::attention_fusion;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::conv2d::{Geometry, Precision, conv2d};
use kd_kernels::dropout::Dropout;
use kd_kernels::embedding::embedding;
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::layer_norm::residual_norm;
use kd_kernels::linear::linear;
use kd_kernels::multiply_add::tanh_multiply_add;
use kd_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d};
use kd_kernels::pyramid_distance::{Level, pyramid_distance};
use kd_kernels::residual_add::residual_add;
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, soft_cross_entropy,
};
use kd_kernels::stream::Stream;
use kd_kernels::weighted_sum::weighted_sum;
use kd_kernels::{
    Activation, add, channel_shuffle, cross_entropy, dropout, relu, softened_kl, softmax, upsample,
};

/// Value and gradients are finite, which memory that nobody wrote need not be, and twice the same,
/// which it rarely is.
fn check(name: &str, dims: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let run = || {
        let vars: Vec<Var> = dims
            .iter()
            .enumerate()
            .map(|(i, dims)| Var::from_tensor(&random(i as u64, dims)).unwrap())
            .collect();
        let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&inputs).unwrap();
        let grads = kd_kernels::backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
        let mut all = flat(&y);
        vars.iter().for_each(|v| all.extend(grads.get(v).map(flat).unwrap_or_default()));
        all
    };
    let values = run();
    assert!(values.iter().all(|v| v.is_finite()), "{name}: {values:?}");
    assert_eq!(values, run(), "{name}");
}

fn some(p: f64) -> Option<Dropout> {
    Some(Dropout { p, stream: Stream::new(1, 2) })
}

#[test]
fn convolutions_write_all_of_their_results() {
    for (name, x, w, stride, padding, groups) in [
        ("winograd", [2, 4, 5, 6], [3, 4, 3, 3], 1, 1, 1),
        ("implicit", [2, 3, 5, 4], [4, 3, 3, 3], 2, 1, 1),
        ("implicit, even", [1, 2, 4, 4], [2, 2, 3, 3], 2, 1, 1),
        ("implicit, 1x1", [3, 2, 2, 3], [5, 2, 1, 1], 1, 0, 1),
        ("groups", [1, 4, 3, 3], [4, 2, 2, 2], 1, 0, 2),
        ("depthwise", [2, 3, 4, 5], [3, 1, 3, 3], 1, 1, 3),
        ("depthwise, shared register", [1, 4, 2, 2], [4, 1, 3, 3], 1, 1, 4),
        ("depthwise, stride 2", [1, 3, 5, 5], [3, 1, 3, 3], 2, 1, 3),
    ] {
        let geometry = Geometry { stride, padding, groups };
        for precision in [Precision::Precise, Precision::Fast] {
            check(name, &[&x, &w, &[w[0]]], |t| {
                conv2d(&t[0], &t[1], Some(&t[2]), geometry, precision)
            });
        }
    }
}

#[test]
fn ops_on_images_write_all_of_their_results() {
    for side in [2, 6] {
        let x: &[usize] = &[3, 4, side, side];
        for residual in [false, true] {
            check("batch_norm", &[x, &[4], &[4], x], |t| {
                batch_norm(
                    &t[0],
                    &t[1],
                    &t[2],
                    1e-5,
                    Statistics::Batch(None),
                    residual.then_some(&t[3]),
                    Activation::Relu,
                )
            });
        }
        check("max_pool2d", &[x], |t| max_pool2d(&t[0], 2, 1, 1));
        check("avg_pool2d", &[x], |t| avg_pool2d(&t[0], 2, 2, 0, false));
        check("global_avg_pool", &[x], |t| global_avg_pool(&t[0]));
        check("upsample", &[x], |t| upsample::upsample_nearest(&t[0], (2 * side, 2 * side)));
        check("upsample to other sides", &[x], |t| {
            upsample::upsample_nearest(&t[0], (side + 1, 3))
        });
        check("channel_shuffle", &[x], |t| channel_shuffle::channel_shuffle(&t[0], 2));
        check("attention_fusion", &[x, &[3, 4, 1, side], &[2, 8], &[2]], |t| {
            attention_fusion(&t[0], &t[1], &t[2], &t[3])
        });
        check("pyramid_distance", &[x, x], |t| {
            let levels = [side, 2, 1].map(|side| Level { side, weight: 1.0 });
            pyramid_distance(&t[0], &t[1], &levels)
        });
        check("relu", &[x], |t| relu::relu(&t[0]));
        check("add", &[x, x], |t| add::add(&t[0], &t[1]));
    }
}

#[test]
fn ops_on_sequences_write_all_of_their_results() {
    let (x, d): (&[usize], &[usize]) = (&[2, 3, 6], &[6]);
    for p in [0.0, 0.4] {
        check("residual_norm", &[x, x, d, d], |t| {
            residual_norm(&t[0], &t[1], &t[2], &t[3], 1e-5, some(p))
        });
        check("residual_add", &[x, x], |t| residual_add(&t[0], &t[1], some(p)));
        check("feed_forward", &[x, &[5, 6], &[5], &[6, 5], d], |t| {
            feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], some(p))
        });
        for (key_lengths, causal) in [(None, true), (Some(&[2, 3][..]), false)] {
            check("attention", &[x, x, x], |t| {
                attention(&t[0], &t[1], &t[2], 2, Mask { key_lengths, causal }, some(p))
            });
        }
    }
    let (cache, query) = (random(8, &[2, 3, 6]), random(9, &[2, 1, 6]));
    let y = attention(
        &query,
        &cache,
        &cache,
        2,
        Mask { key_lengths: Some(&[2, 3]), causal: false },
        None,
    )
    .unwrap();
    assert!(flat(&y).iter().all(|v| v.is_finite()));
    let ids = Tensor::new(&[[0u32, 2, 1], [3, 3, 0]], &candle_core::Device::Cpu).unwrap();
    check("embedding", &[&[4, 6], &[3, 6]], |t| embedding(&ids, &t[0], 2.0, Some(&t[1]), Some(0)));
}

#[test]
fn dense_ops_and_losses_write_all_of_their_results() {
    let z: &[usize] = &[3, 5];
    check("linear", &[z, &[4, 5], &[4]], |t| linear(&t[0], &t[1], Some(&t[2]), Activation::Relu));
    check("dropout", &[z], |t| dropout::dropout(&t[0], 0.4, Stream::new(3, 4)));
    check("softmax", &[z], |t| softmax::softmax(&t[0]));
    check("log_softmax", &[z], |t| softmax::log_softmax(&t[0]));
    check("tanh_multiply_add", &[z, z, z], |t| tanh_multiply_add(&t[0], &t[1], &t[2]));
    check("weighted_sum", &[z, &[3]], |t| weighted_sum(&t[0], &t[1]));
    check("softened_kl", &[z, z], |t| softened_kl::softened_kl(&t[0], &t[1].detach(), 2.0));
    check("soft_cross_entropy", &[z, z], |t| soft_cross_entropy(&t[0], &t[1].detach(), None));
    let targets = Tensor::new(&[1u32, 4, 0], &candle_core::Device::Cpu).unwrap();
    check("cross_entropy", &[z], |t| cross_entropy::cross_entropy(&t[0], &targets));
    check("label_smoothed_cross_entropy", &[z], |t| {
        Ok(label_smoothed_cross_entropy(&t[0], &targets, 0.1, Some(4))?.loss)
    });
    check("projected_cross_entropy", &[z, &[6, 5]], |t| {
        Ok(projected_cross_entropy(&t[0], &t[1], &targets, 0.1, Some(4))?.loss)
    });
}
