//! Each op on sequences against its twin from stock Candle ops, of any layout.

use crate::common::flat;
use crate::common::graph::{assert_twins, random};
use candle_core::{DType, Result, Tensor};
use kd_kernels::attention::{self, Mask, attention};
use kd_kernels::embedding::{self, embedding};
use kd_kernels::feed_forward::{self, feed_forward};
use kd_kernels::layer_norm::{self, layer_norm, residual_norm};
use kd_kernels::residual_add::{self, residual_add};
use kd_kernels::smoothed_cross_entropy::{
    self, label_smoothed_cross_entropy, projected_cross_entropy, reference as twins,
    soft_cross_entropy,
};
use proptest::prelude::*;

use super::{draws, drop_of, fractions, laid_out, tensor};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn layer_norm_agrees_with_its_twin(seed: u64, b in 1usize..4, t in 1usize..40, d in 2usize..90, how in 0usize..4) {
        let inputs = [random(seed, &[b, t, d]), random(seed ^ 1, &[d]), random(seed ^ 2, &[d])];
        // Two values that nearly agree raise rounding by their distance to ε.
        let eps = if d < 8 { 0.1 } else { 1e-5 };
        let f = |t: &[Tensor]| layer_norm(&laid_out(&t[0], how), &t[1], &t[2], eps);
        assert_twins(&inputs, 2e-5, f, |t| layer_norm::reference::layer_norm(&t[0], &t[1], &t[2], eps));
    }

    #[test]
    fn the_residual_ends_agree_with_their_twins(
        seed: u64, b in 1usize..4, t in 1usize..40, d in 8usize..90, how in 0usize..16, p in fractions(),
    ) {
        let inputs = [random(seed, &[b, t, d]), random(seed ^ 1, &[b, t, d]), random(seed ^ 2, &[d]), random(seed ^ 3, &[d])];
        let dropout = drop_of(seed, p);
        let f = |t: &[Tensor]| residual_norm(&laid_out(&t[0], how), &laid_out(&t[1], how / 4), &t[2], &t[3], 1e-5, dropout);
        assert_twins(&inputs, 2e-5, f, |t| layer_norm::reference::residual_norm(&t[0], &t[1], &t[2], &t[3], 1e-5, dropout));
        let f = |t: &[Tensor]| residual_add(&laid_out(&t[0], how), &laid_out(&t[1], how / 4), dropout);
        assert_twins(&inputs[..2], 1e-6, f, |t| residual_add::reference::residual_add(&t[0], &t[1], dropout));
    }

    #[test]
    fn attention_agrees_with_its_twin(
        seed: u64, b in 1usize..4, tq in 1usize..24, more in 0usize..24, heads in 1usize..5, head in 1usize..40, head_v in 1usize..40,
        causal: bool, padded: bool, how in 0usize..64, p in fractions(),
    ) {
        let tk = tq + more;
        let inputs = [random(seed, &[b, tq, heads * head]), random(seed ^ 1, &[b, tk, heads * head]), random(seed ^ 2, &[b, tk, heads * head_v])];
        let lengths: Vec<usize> = draws(seed, b, tk).into_iter().map(|n| n as usize + 1).collect();
        let mask = Mask { key_lengths: padded.then_some(&lengths), causal };
        let dropout = drop_of(seed, p);
        let f = |t: &[Tensor]| attention(&laid_out(&t[0], how), &laid_out(&t[1], how / 4), &laid_out(&t[2], how / 16), heads, mask, dropout);
        let twin = |t: &[Tensor]| attention::reference::attention(&t[0], &t[1], &t[2], heads, mask, dropout);
        assert_twins(&inputs, 2e-5, f, twin);
        // Without gradients: the weights are not kept, and one query has a path of its own.
        let (got, want) = (f(&inputs).unwrap(), twin(&inputs.clone().map(|t| t.to_dtype(DType::F64).unwrap())).unwrap());
        prop_assert!(crate::common::graph::distance(&got, &want) < 2e-5);
    }

    #[test]
    fn embedding_agrees_with_its_twin(
        seed: u64, b in 1usize..4, t in 1usize..30, v in 1usize..50, d in 1usize..40, more in 0usize..3, with_positions: bool, padded: bool, turned: bool,
    ) {
        let ids = tensor(draws(seed, b * t, v));
        let ids = if turned { ids.reshape((t, b)).unwrap().t().unwrap() } else { ids.reshape((b, t)).unwrap() };
        let mut inputs = vec![random(seed, &[v, d])];
        inputs.extend(with_positions.then(|| random(seed ^ 1, &[t + more, d])));
        let padding = padded.then_some(0);
        let f = |t: &[Tensor]| embedding(&ids, &t[0], 1.7, t.get(1), padding);
        assert_twins(&inputs, 1e-6, f, |t| embedding::reference::embedding(&ids, &t[0], 1.7, t.get(1), padding));
    }

    #[test]
    fn the_cross_entropies_agree_with_their_twins(
        seed: u64, n in 1usize..30, v in 1usize..3000, d in 1usize..20, epsilon in prop_oneof![Just(0.0), 0.0f64..1.0], ignored: bool, turned: bool,
    ) {
        let targets = tensor(draws(seed, n, v.min(4)));
        let ignore = ignored.then_some(1);
        let z = [(random(seed, &[n, v]) * 4.0).unwrap()];
        let view = |t: &Tensor| if turned { t.t().unwrap().contiguous().unwrap().t().unwrap() } else { t.clone() };
        let f = |t: &[Tensor]| Ok(label_smoothed_cross_entropy(&view(&t[0]), &targets, epsilon, ignore)?.loss);
        assert_twins(&z, 1e-5, f, |t| Ok(twins::label_smoothed_cross_entropy(&t[0], &targets, epsilon, ignore)?.loss));
        let nll = |z: &Tensor, f: fn(&Tensor, &Tensor, f64, Option<u32>) -> Result<smoothed_cross_entropy::CrossEntropySums>| {
            let smoothed = f(z, &targets, epsilon, ignore).unwrap();
            (flat(&smoothed.nll)[0], smoothed.rows)
        };
        let (got, want) = (nll(&z[0], label_smoothed_cross_entropy), nll(&z[0].to_dtype(DType::F64).unwrap(), twins::label_smoothed_cross_entropy));
        prop_assert!((got.0 - want.0).abs() <= 1e-5 * (1.0 + want.0) && got.1 == want.1);

        let inputs = [random(seed, &[n, d]), random(seed ^ 1, &[v, d])];
        let f = |t: &[Tensor]| Ok(projected_cross_entropy(&view(&t[0]), &t[1], &targets, epsilon, ignore)?.loss);
        assert_twins(&inputs, 1e-5, f, |t| Ok(twins::projected_cross_entropy(&t[0], &t[1], &targets, epsilon, ignore)?.loss));

        let teacher = (random(seed ^ 2, &[n, v]) * 4.0).unwrap();
        let counts: Vec<bool> = draws(seed ^ 3, n, 3).into_iter().map(|c| c > 0).collect();
        let counts = ignored.then_some(&counts[..]);
        let f = |t: &[Tensor]| soft_cross_entropy(&view(&t[0]), &teacher.to_dtype(t[0].dtype())?, counts);
        assert_twins(&z, 1e-5, f, |t| twins::soft_cross_entropy(&t[0], &teacher.to_dtype(t[0].dtype())?, counts));
    }

    #[test]
    fn feed_forward_agrees_with_its_twin(
        seed: u64, b in 1usize..4, t in 1usize..20, d in 1usize..30, hidden in 1usize..70, how in 0usize..4, p in fractions(),
    ) {
        let inputs = [random(seed, &[b, t, d]), random(seed ^ 1, &[hidden, d]), random(seed ^ 2, &[hidden]), random(seed ^ 3, &[d, hidden]), random(seed ^ 4, &[d])];
        let dropout = drop_of(seed, p);
        let f = |t: &[Tensor]| feed_forward(&laid_out(&t[0], how), &t[1], &t[2], &t[3], &t[4], dropout);
        assert_twins(&inputs, 2e-5, f, |t| feed_forward::reference::feed_forward(&t[0], &t[1], &t[2], &t[3], &t[4], dropout));
    }
}

#[test]
fn projected_rows_in_several_runs_agree_with_the_twin() {
    // More rows than have their logits at once, some of which do not count.
    let (n, v, d) = (700, 37, 12);
    let targets = tensor(draws(5, n, v));
    let inputs = [random(1, &[n, d]), random(2, &[v, d])];
    for ignore in [None, Some(3)] {
        let f =
            |t: &[Tensor]| Ok(projected_cross_entropy(&t[0], &t[1], &targets, 0.1, ignore)?.loss);
        assert_twins(&inputs, 1e-5, f, |t| {
            Ok(twins::projected_cross_entropy(&t[0], &t[1], &targets, 0.1, ignore)?.loss)
        });
    }
}
