//! Every op once, on shapes that are small and awkward.

use candle_core::{Result, Tensor};
use kd_kernels::attention::{Mask, attention};
use kd_kernels::attention_fusion::attention_fusion;
use kd_kernels::batch_norm::{Statistics, batch_norm};
use kd_kernels::conv2d::{Geometry, Precision, conv2d};
use kd_kernels::dropout::Dropout;
use kd_kernels::embedding::embedding;
use kd_kernels::energy::channel_energy;
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::layer_norm::residual_norm;
use kd_kernels::linear::linear;
use kd_kernels::multiply_add::tanh_multiply_add;
use kd_kernels::noise_contrast::{Pairs, Picks, noise_contrast};
use kd_kernels::polynomial_mmd::polynomial_mmd;
use kd_kernels::pool::{avg_pool2d, global_avg_pool, max_pool2d};
use kd_kernels::pyramid_distance::{Level, pyramid_distance};
use kd_kernels::residual_add::residual_add;
use kd_kernels::smoothed_cross_entropy::{
    label_smoothed_cross_entropy, projected_cross_entropy, soft_cross_entropy,
};
use kd_kernels::squared_distance::channel_distance;
use kd_kernels::stream::Stream;
use kd_kernels::triples::{angle_distance, squared_distances};
use kd_kernels::weighted_sum::weighted_sum;
use kd_kernels::{
    Activation, add, channel_shuffle, cross_entropy, dropout, relu, softened_kl, softmax, upsample,
};

use super::graph::random;

/// What is done with an op: its name, the shapes of its inputs, and the op. It makes whatever else
/// it needs where its inputs are.
pub type Check<'a> = dyn FnMut(&str, &[&[usize]], &dyn Fn(&[Tensor]) -> Result<Tensor>) + 'a;

fn some(p: f64) -> Option<Dropout> {
    Some(Dropout { p, stream: Stream::new(1, 2) })
}

/// Convolutions.
pub fn convolutions(check: &mut Check) {
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
            check(name, &[&x, &w, &[w[0]]], &|t| {
                conv2d(&t[0], &t[1], Some(&t[2]), geometry, precision)
            });
        }
    }
}

/// Ops on images.
pub fn images(check: &mut Check) {
    for side in [2, 6] {
        let x: &[usize] = &[3, 4, side, side];
        for residual in [false, true] {
            check("batch_norm", &[x, &[4], &[4], x], &|t| {
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
        check("max_pool2d", &[x], &|t| max_pool2d(&t[0], 2, 1, 1));
        check("avg_pool2d", &[x], &|t| avg_pool2d(&t[0], 2, 2, 0, false));
        check("global_avg_pool", &[x], &|t| global_avg_pool(&t[0]));
        check("upsample", &[x], &|t| upsample::upsample_nearest(&t[0], (2 * side, 2 * side)));
        check("upsample to other sides", &[x], &|t| {
            upsample::upsample_nearest(&t[0], (side + 1, 3))
        });
        check("channel_shuffle", &[x], &|t| channel_shuffle::channel_shuffle(&t[0], 2));
        check("attention_fusion", &[x, &[3, 4, 1, side], &[2, 8], &[2]], &|t| {
            attention_fusion(&t[0], &t[1], &t[2], &t[3])
        });
        check("pyramid_distance", &[x, x], &|t| {
            let levels = [side, 2, 1].map(|side| Level { side, weight: 1.0 });
            pyramid_distance(&t[0], &t[1], &levels)
        });
        check("channel_energy", &[x], &|t| channel_energy(&t[0]));
        check("channel_distance", &[x, x], &|t| channel_distance(&t[0], &t[1]));
        check("polynomial_mmd", &[x], &|t| {
            polynomial_mmd(&t[0], &random(6, t[0].dims()).to_device(t[0].device())?)
        });
        check("relu", &[x], &|t| relu::relu(&t[0]));
        check("add", &[x, x], &|t| add::add(&t[0], &t[1]));
    }
}

/// Ops on sequences.
pub fn sequences(check: &mut Check) {
    let (x, d): (&[usize], &[usize]) = (&[2, 3, 6], &[6]);
    for p in [0.0, 0.4] {
        check("residual_norm", &[x, x, d, d], &|t| {
            residual_norm(&t[0], &t[1], &t[2], &t[3], 1e-5, some(p))
        });
        check("residual_add", &[x, x], &|t| residual_add(&t[0], &t[1], some(p)));
        check("feed_forward", &[x, &[5, 6], &[5], &[6, 5], d], &|t| {
            feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], some(p))
        });
        for (key_lengths, causal) in [(None, true), (Some(&[2, 3][..]), false)] {
            check("attention", &[x, x, x], &|t| {
                attention(&t[0], &t[1], &t[2], 2, Mask { key_lengths, causal }, some(p))
            });
        }
    }
    // One new word after a cache of the words before it.
    check("attention to a cache", &[&[2, 1, 6], x], &|t| {
        let mask = Mask { key_lengths: Some(&[2, 3]), causal: false };
        attention(&t[0], &t[1], &t[1], 2, mask, None)
    });
    check("embedding", &[&[4, 6], &[3, 6]], &|t| {
        let ids = Tensor::new(&[[0u32, 2, 1], [3, 3, 0]], t[0].device())?;
        embedding(&ids, &t[0], 2.0, Some(&t[1]), Some(0))
    });
}

/// Dense ops and losses.
pub fn dense(check: &mut Check) {
    let z: &[usize] = &[3, 5];
    check("linear", &[z, &[4, 5], &[4]], &|t| linear(&t[0], &t[1], Some(&t[2]), Activation::Relu));
    check("dropout", &[z], &|t| dropout::dropout(&t[0], 0.4, Stream::new(3, 4)));
    check("softmax", &[z], &|t| softmax::softmax(&t[0]));
    check("log_softmax", &[z], &|t| softmax::log_softmax(&t[0]));
    check("tanh_multiply_add", &[z, z, z], &|t| tanh_multiply_add(&t[0], &t[1], &t[2]));
    check("weighted_sum", &[z, &[3]], &|t| weighted_sum(&t[0], &t[1]));
    check("softened_kl", &[z, z], &|t| softened_kl::softened_kl(&t[0], &t[1].detach(), 2.0));
    check("soft_cross_entropy", &[z, z], &|t| soft_cross_entropy(&t[0], &t[1].detach(), None));
    let targets = |t: &Tensor| Tensor::new(&[1u32, 4, 0], t.device());
    check("cross_entropy", &[z], &|t| cross_entropy::cross_entropy(&t[0], &targets(&t[0])?));
    check("label_smoothed_cross_entropy", &[z], &|t| {
        Ok(label_smoothed_cross_entropy(&t[0], &targets(&t[0])?, 0.1, Some(4))?.loss)
    });
    check("projected_cross_entropy", &[z, &[6, 5]], &|t| {
        Ok(projected_cross_entropy(&t[0], &t[1], &targets(&t[0])?, 0.1, Some(4))?.loss)
    });
    check("squared_distances and angle_distance", &[z], &|t| {
        let target = random(7, &[3, 5]).to_device(t[0].device())?;
        angle_distance(&squared_distances(&t[0])?, &squared_distances(&target)?)
    });
    check("noise_contrast", &[z], &|t| {
        let memory = random(8, &[6, 5]).to_device(t[0].device())?;
        let negatives = Picks::new(6, &[vec![1, 3], vec![3, 4], vec![0, 2]])?;
        let pairs = Pairs { positives: &[0, 2, 5], negatives: &negatives, temperature: 2.0 };
        noise_contrast(&t[0], &memory, &pairs, 4.0)
    });
}
