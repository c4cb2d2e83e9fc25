//! ReLU, upsampling, channel shuffle and the attention-based fusion against their twins and finite differences.

use crate::common::flat;
use crate::common::graph::{
    assert_finite_differences, assert_threads, assert_twins, image_laid_out, random,
};
use candle_core::{Device, Tensor, Var};
use kd_kernels::attention_fusion::{self, attention_fusion};
use kd_kernels::channel_shuffle::{self, channel_shuffle};
use kd_kernels::relu::{self, relu};
use kd_kernels::upsample::{self, upsample_nearest};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn upsampling_agrees_with_its_twin(
        seed: u64, n in 1usize..3, c in 1usize..4, h in 1usize..9, w in 1usize..9, height in 1usize..20, width in 1usize..20, how in 0usize..3,
    ) {
        let f = |t: &[Tensor]| upsample_nearest(&image_laid_out(&t[0], how), (height, width));
        assert_twins(&[random(seed, &[n, c, h, w])], 1e-6, f, |t| upsample::reference::upsample_nearest(&t[0], (height, width)));
    }

    #[test]
    fn the_shuffle_agrees_with_its_twin(seed: u64, n in 1usize..3, groups in 1usize..5, each in 1usize..6, h in 1usize..6, w in 1usize..6, how in 0usize..3) {
        let x = random(seed, &[n, groups * each, h, w]);
        let f = |t: &[Tensor]| channel_shuffle(&image_laid_out(&t[0], how), groups);
        assert_twins(&[x], 0.0, f, |t| channel_shuffle::reference::channel_shuffle(&t[0], groups));
    }

    #[test]
    fn the_attention_fusion_agrees_with_its_twin(
        seed: u64, n in 1usize..4, c in 1usize..20, h in 1usize..9, w in 1usize..9, scale in 0usize..4, how in 0usize..9,
    ) {
        let (from_h, from_w) = [(h, w), (h.div_ceil(2), w.div_ceil(2)), (1, 1), (h + 1, w.div_ceil(3))][scale];
        let [x, y] = [(seed, h, w), (seed ^ 1, from_h, from_w)].map(|(seed, h, w)| random(seed, &[n, c, h, w]));
        let inputs = [x, y, random(seed ^ 2, &[2, 2 * c]), random(seed ^ 3, &[2])];
        let f = |t: &[Tensor]| {
            attention_fusion(&image_laid_out(&t[0], how), &image_laid_out(&t[1], how / 3), &t[2], &t[3])
        };
        assert_twins(&inputs, 2e-5, f, |t| attention_fusion::reference::attention_fusion(&t[0], &t[1], &t[2], &t[3]));
    }

    #[test]
    fn relu_agrees_with_its_twin(seed: u64, n in 1usize..4, c in 1usize..4, h in 1usize..9, w in 1usize..99, how in 0usize..3) {
        let x = random(seed, &[n, c, h, w]);
        assert_twins(&[x], 0.0, |t| relu(&image_laid_out(&t[0], how)), |t| relu::reference::relu(&t[0]));
    }
}

#[test]
fn gradients_of_the_twins_are_finite_differences() {
    assert_finite_differences(&[random(1, &[2, 2, 3, 4])], |t| relu::reference::relu(&t[0]));
    for size in [(6, 8), (7, 5), (2, 3), (3, 9)] {
        assert_finite_differences(&[random(2, &[1, 2, 3, 4])], |t| {
            upsample::reference::upsample_nearest(&t[0], size)
        });
    }
    assert_finite_differences(&[random(3, &[2, 6, 2, 1])], |t| {
        channel_shuffle::reference::channel_shuffle(&t[0], 3)
    });
    let (x, y) = (random(4, &[2, 3, 4, 2]), random(5, &[2, 3, 2, 1]));
    assert_finite_differences(&[x, y, random(6, &[2, 6]), random(8, &[2])], |t| {
        attention_fusion::reference::attention_fusion(&t[0], &t[1], &t[2], &t[3])
    });
}

#[test]
fn an_upsampled_image_keeps_the_gradients_of_its_other_consumers() {
    let two_consumers = |t: &[Tensor]| {
        upsample_nearest(&t[0], (4, 6))?
            + upsample_nearest(&t[0], (4, 6))?.sqr()?
            + t[0].sum_all()?.broadcast_as((1, 2, 4, 6))?
    };
    assert_finite_differences(&[random(7, &[1, 2, 2, 3])], two_consumers);
    let x = random(7, &[1, 2, 2, 3]);
    assert_twins(&[x], 1e-5, two_consumers, two_consumers);
}

#[test]
fn upsampling_to_the_same_size_is_x_itself() {
    let x = random(1, &[1, 2, 3, 4]);
    assert_eq!(upsample_nearest(&x, (3, 4)).unwrap().id(), x.id());
}

#[test]
fn relu_at_0_has_gradient_0_and_lets_nan_pass() {
    let x = Var::new(&[-1f32, -0.0, 0.0, 2.0, f32::NAN], &Device::Cpu).unwrap();
    let y = relu(&x).unwrap();
    let grad = kd_kernels::backward(&y.sum_all().unwrap())
        .unwrap()
        .get(&x)
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    assert_eq!(grad, [0.0, 0.0, 0.0, 1.0, 1.0]);
    let y = flat(&y);
    assert_eq!(y[..4], [0.0, 0.0, 0.0, 2.0]);
    assert!(y[4].is_nan());
}

#[test]
fn values_by_hand() {
    let x = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((1, 6, 1, 1)).unwrap();
    assert_eq!(flat(&channel_shuffle(&x, 2).unwrap()), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let x = Tensor::new(&[[[[1f32, 2.0]]]], &Device::Cpu).unwrap();
    assert_eq!(flat(&upsample_nearest(&x, (2, 3)).unwrap()), [1.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
    // Logits 3·x − 3 + bias: gates of 1/2 for the first pixel of x, and all but 1 for both of y.
    let weight = Tensor::new(&[[3f32, -0.3], [0.0, 0.0]], &Device::Cpu).unwrap();
    let y = Tensor::new(&[[[[10f32]]]], &Device::Cpu).unwrap();
    let bias = Tensor::new(&[0f32, 40.0], &Device::Cpu).unwrap();
    let fused = flat(&attention_fusion(&x, &y, &weight, &bias).unwrap());
    let gate = 1.0 / (1.0 + f64::exp(-3.0));
    assert!((fused[0] - 10.5).abs() < 1e-5 && (fused[1] - (10.0 + 2.0 * gate)).abs() < 1e-5);
}

#[test]
fn results_do_not_depend_on_threads() {
    let image = |seed| random(seed, &[5, 18, 31, 33]);
    assert_threads(&[image(1)], |t| relu(&t[0]));
    assert_threads(&[image(1)], |t| upsample_nearest(&t[0], (40, 66)));
    assert_threads(&[image(1)], |t| channel_shuffle(&t[0], 3));
    let (weight, bias) = (random(3, &[2, 36]), random(4, &[2]));
    for y in [image(2), random(2, &[5, 18, 16, 11])] {
        assert_threads(&[image(1), y, weight.clone(), bias.clone()], |t| {
            attention_fusion(&t[0], &t[1], &t[2], &t[3])
        });
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let x = random(1, &[2, 3, 4, 5]);
    let says = |result: candle_core::Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(channel_shuffle(&x, 2), "channel_shuffle: x has shape [2, 3, 4, 5]");
    says(channel_shuffle(&x, 0), "multiple of 0 groups, at least 1");
    says(upsample_nearest(&x.narrow(2, 0, 0).unwrap(), (2, 2)), "h, w >= 1");
    let (weight, bias) = (random(1, &[2, 6]), random(1, &[2]));
    says(attention_fusion(&x, &x, &bias, &bias), "weight has shape [2], expected [2, 6]");
    says(attention_fusion(&x, &x, &weight, &weight), "bias has shape [2, 6], expected [2]");
    let one = x.narrow(0, 0, 1).unwrap();
    says(attention_fusion(&x, &one, &weight, &bias), "y has shape [1, 3, 4, 5], expected [2, 3,");
}
