//! How alike the features of classes are, and what it costs to take one class for another.

use candle_core::{DType, Device, Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::{Activation, Precision};

use super::operands;

/// What is added to a cost, as in the official program.
const LEAST: f64 = 1e-8;

/// Linear centred kernel alignment of each two classes:
///
/// `‖X_i·X_jᵀ‖²_F / (‖X_i·X_iᵀ‖_F · ‖X_j·X_jᵀ‖_F)`, where each row of an X, a feature, is taken
/// less its mean.
///
/// `classes`, one tensor a class: `[d, n]`, n vectors of d features, of which the k-th of one class
/// is compared with the k-th of another → rows of numbers from 0 to 1, one row a class; 1 of a
/// class with itself, and 0 where a class's features do not vary. The tensors are taken, since they
/// may be large: each is let go of once it is centred.
///
/// Source: Kornblith, Norouzi, Lee and Hinton 2019, "Similarity of neural network representations
/// revisited", section 3.
///
/// # Errors
/// When there is no class, or the shapes differ or are empty.
pub fn class_alignments(classes: Vec<Tensor>) -> Result<Vec<Vec<f64>>> {
    let first = classes.first().map(|x| x.dims().to_vec());
    let Some(&[d, n]) = first.as_deref() else {
        bail!("class_alignments: expected features [d, n] of classes, got {first:?}")
    };
    let centred = |x: Tensor| -> Result<Tensor> {
        if x.dims() != [d, n] || d * n == 0 {
            bail!("class_alignments: expected features [{d}, {n}], not empty, got {:?}", x.dims())
        }
        let x = x.detach();
        let x = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        // Its length does not matter; of length 1, no square is out of the range of float32.
        let scale = operands::inverse_root(&x.sqr()?.sum_all()?)?;
        x.broadcast_mul(&scale)?.contiguous()
    };
    let classes = classes.into_iter().map(centred).collect::<Result<Vec<_>>>()?;
    // A dense layer whose weight is y gives x · yᵀ; in float32, whatever the precision of the
    // layers of the networks.
    let product = |x: &Tensor, y: &Tensor| -> Result<Tensor> {
        let product = Precision::Float32.during(|| linear(x, y, None, Activation::None))?;
        product.sqr()?.sum_all()
    };
    let mut squares = Vec::new();
    for (i, x) in classes.iter().enumerate() {
        for y in &classes[..=i] {
            squares.push(product(x, y)?);
        }
    }
    // One read for all, for which an accelerator has to be waited for.
    let squares: Vec<f64> =
        Tensor::stack(&squares, 0)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()?;
    let at = |i: usize, j: usize| {
        let (low, high) = (i.min(j), i.max(j));
        squares[high * (high + 1) / 2 + low]
    };
    let alignment = |i: usize, j: usize| {
        let both = (at(i, i) * at(j, j)).sqrt();
        if i == j {
            1.
        } else if both > 0. {
            at(i, j) / both
        } else {
            0.
        }
    };
    let count = classes.len();
    Ok((0..count).map(|i| (0..count).map(|j| alignment(i, j)).collect()).collect())
}

/// What it costs to bring probability from one class to another:
///
/// `max(0, 1 − exp(−κ·(1 − A_ij))) + 1e-8` of the classes' [`class_alignments`] A.
///
/// `sharpening` κ > 0, finite → `[c, c]` in f32, on the CPU, for
/// [`transport_of_others`](super::transport::transport_of_others).
///
/// Source: Lv, Yang and Li 2024, "Wasserstein distance rivals Kullback-Leibler divergence for
/// knowledge distillation", section 3.1, as the official program has it.
///
/// # Errors
/// Those of [`class_alignments`], and when κ is not finite and above 0.
pub fn class_costs(classes: Vec<Tensor>, sharpening: f64) -> Result<Tensor> {
    if !(sharpening.is_finite() && sharpening > 0.) {
        bail!("class_costs: expected a finite sharpening above 0, got {sharpening}")
    }
    let cost =
        |alignment: f64| ((1. - (-sharpening * (1. - alignment)).exp()).max(0.) + LEAST) as f32;
    let alignments = class_alignments(classes)?;
    let count = alignments.len();
    let costs: Vec<f32> = alignments.into_iter().flatten().map(cost).collect();
    Tensor::from_vec(costs, (count, count), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{flat, noise, refused};

    #[test]
    fn rotations_scales_and_places_of_features_do_not_matter() -> Result<()> {
        let (x, y) = (noise(&[2, 20], 1)?, noise(&[2, 20], 2)?);
        let turn = Tensor::new(&[[0.6f32, 0.8], [-0.8, 0.6]], x.device())?;
        let shift = Tensor::new(&[[7f32], [-3.]], x.device())?;
        let moved = (turn.matmul(&x)? * 5.)?.broadcast_add(&shift)?;
        let found = class_alignments(vec![x, moved, y])?;
        assert!((found[0][1] - 1.).abs() < 1e-5, "{found:?}");
        assert!((found[0][2] - found[1][2]).abs() < 1e-5, "{found:?}");
        assert!(found[0][2] > 0. && found[0][2] < 0.9, "{found:?}");
        for (i, row) in found.iter().enumerate() {
            assert_eq!(row[i], 1.);
            assert!(row.iter().zip(&found).all(|(a, other)| *a == other[i]), "{found:?}");
        }
        Ok(())
    }

    #[test]
    fn features_at_a_right_angle_to_each_other_have_nothing_in_common_nor_those_that_do_not_vary()
    -> Result<()> {
        let x = Tensor::new(&[[1f32, -1., 1., -1.]], &Device::Cpu)?;
        let y = Tensor::new(&[[1f32, 1., -1., -1.]], &Device::Cpu)?;
        let still = Tensor::new(&[[3f32, 3., 3., 3.]], &Device::Cpu)?;
        let found = class_alignments(vec![x, y, still])?;
        assert_eq!(found, [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]]);
        Ok(())
    }

    #[test]
    fn large_and_small_features_are_compared_alike() -> Result<()> {
        let (x, y) = (noise(&[3, 30], 1)?, noise(&[3, 30], 2)?);
        let plain = class_alignments(vec![x.clone(), y.clone()])?[0][1];
        for scale in [1e-8, 1e12] {
            let found = class_alignments(vec![(&x * scale)?, (&y * scale)?])?[0][1];
            assert!((found - plain).abs() < 1e-5 * plain, "{scale}: {found} {plain}");
        }
        Ok(())
    }

    #[test]
    fn a_class_costs_nothing_from_itself_and_others_the_more_the_less_they_are_aligned()
    -> Result<()> {
        let (x, y) = (noise(&[3, 30], 1)?, noise(&[3, 30], 2)?);
        let near = (&x + (noise(&[3, 30], 3)? * 0.2)?)?;
        let classes = vec![x, near, y];
        let costs = flat(&class_costs(classes.clone(), 1.)?)?;
        assert!((costs[0] - 1e-8).abs() < 1e-12 && costs[0] < costs[1] && costs[1] < costs[2]);
        let alignment = class_alignments(classes.clone())?[0][2];
        for (sharpening, found) in
            [(1., costs[2]), (2., flat(&class_costs(classes.clone(), 2.)?)?[2])]
        {
            let expected = 1. - (-sharpening * (1. - alignment)).exp();
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let x = noise(&[3, 4], 1)?;
        refused(class_costs(Vec::new(), 1.), "class_alignments: expected");
        refused(class_costs(vec![x.clone(), noise(&[3, 5], 1)?], 1.), "class_alignments: expected");
        refused(class_costs(vec![noise(&[3], 1)?], 1.), "class_alignments: expected");
        refused(class_costs(vec![x.clone()], 0.), "class_costs: expected");
        refused(class_costs(vec![x], f64::NAN), "class_costs: expected");
        Ok(())
    }
}
