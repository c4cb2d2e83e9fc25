//! Parts of maps: means over the cells of square grids, and losses over the logits of cells.

use candle_core::{D, DType, Device, Result, Tensor, bail};
use kd_kernels::linear::linear;
use kd_kernels::{Activation, Precision};

use super::operands;

/// Means of maps over the cells of a grid of `side`² of them:
///
/// `y[b, c, side·i + j]` = mean of `x[b, c, k, l]` over rows k from ⌊i·h/side⌋ up to ⌈(i +
/// 1)·h/side⌉ and columns l likewise: PyTorch's `adaptive_avg_pool2d`. Cells of a map smaller than
/// the grid repeat its pixels.
///
/// `map` `[b, c, h, w]` → `[b, c, side²]`.
///
/// # Errors
/// When the map is of another rank or empty, or the grid has no cell.
pub fn cell_means(map: &Tensor, side: usize) -> Result<Tensor> {
    let &[_, _, h, w] = map.dims() else {
        bail!("cells: expected maps [b, c, h, w], got {:?}", map.dims())
    };
    if map.elem_count() == 0 || side == 0 {
        bail!(
            "cells: expected maps, not empty, and a grid of 1 cell or more, got {:?} and {side}",
            map.dims()
        )
    }
    let pixels = map.flatten_from(2)?;
    if (h, w) == (side, side) {
        return Ok(pixels);
    }
    let shares = shares(h, w, side);
    let shares = Tensor::from_vec(shares, (side * side, h * w), &Device::Cpu)?;
    let shares = shares.to_dtype(map.dtype())?.to_device(map.device())?;
    Precision::Float32.during(|| linear(&pixels, &shares, None, Activation::None))
}

/// What each pixel counts in each cell, `[side², h·w]`.
fn shares(h: usize, w: usize, side: usize) -> Vec<f64> {
    let of =
        |cell: usize, pixels: usize| (cell * pixels / side)..((cell + 1) * pixels).div_ceil(side);
    let mut shares = vec![0.; side * side * h * w];
    for (cell, shares) in shares.chunks_exact_mut(h * w).enumerate() {
        let (rows, columns) = (of(cell / side, h), of(cell % side, w));
        let share = 1. / (rows.len() * columns.len()) as f64;
        for row in rows {
            shares[row * w..][columns.clone()].fill(share);
        }
    }
    shares
}

/// What a classifier says of each cell of some grids: `[b, n, k]`, the cells of the first grid
/// first.
///
/// `map` `[b, c, h, w]`, the map whose mean the classifier sees in its network; `weight` `[k, c]`;
/// `bias` `[k]`, left out where there is none. Since a mean and a classifier commute, this is the
/// mean of what it would say of each pixel.
///
/// # Errors
/// Those of [`cell_means`], and when the shapes do not fit or there is no grid.
pub fn cell_logits(
    map: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    grids: &[usize],
) -> Result<Tensor> {
    let cells = grids.iter().map(|&side| cell_means(map, side)).collect::<Result<Vec<_>>>()?;
    if cells.is_empty() {
        bail!("cells: expected a grid at least, got none")
    }
    linear(&Tensor::cat(&cells, D::Minus1)?.transpose(1, 2)?, weight, bias, Activation::None)
}

/// A loss of logits over all cells, in which some count more (scale decoupled distillation):
///
/// `1/(b·n) · Σ_{i, j} w_ij · loss(student_ij, teacher_ij, label_i)`, where w_ij is
/// `complementary_weight` where the teacher is right about image i in cell j and wrong in cell 0,
/// or the reverse, and 1 elsewhere. Cell 0 is the whole image.
///
/// `student`, `teacher` `[b, n, k]`: logits of cells; `labels` u32 `[b]`; `loss` takes logits `[m,
/// k]` of both and labels `[m]`, and gives their mean → scalar. The teacher is detached. Of equal
/// logits the first is what the teacher says.
///
/// Source: Wei, Luo and Luo 2024, "Scale decoupled distillation", section 3.
///
/// # Errors
/// When the shapes differ or are empty, and those of `loss`.
pub fn over_cells(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    complementary_weight: f64,
    loss: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let teacher = operands::alike(student, teacher, "over_cells")?;
    let &[b, n, k] = student.dims() else {
        bail!("over_cells: expected logits of cells [b, n, k], got {:?}", student.dims())
    };
    if labels.dtype() != DType::U32 || labels.dims() != [b] {
        bail!("over_cells: expected u32 labels [{b}], got {:?} {:?}", labels.dtype(), labels.dims())
    }
    let (student, teacher) = (student.reshape((b * n, k))?, teacher.reshape((b * n, k))?);
    let repeated = labels.unsqueeze(1)?.repeat((1, n))?.flatten_all()?;
    let all = loss(&student, &teacher, &repeated)?;
    let more = complementary_weight - 1.;
    let complementary = complementary(&teacher, &repeated, n)?;
    if complementary.is_empty() || more == 0. {
        return Ok(all);
    }
    // Σ w·l = Σ l + (w − 1) · Σ over the complementary cells.
    let share = more * complementary.len() as f64 / (b * n) as f64;
    let rows = Tensor::new(complementary, labels.device())?;
    let picked = |x: &Tensor| x.index_select(&rows, 0);
    all + (loss(&picked(&student)?, &picked(&teacher)?, &picked(&repeated)?)? * share)?
}

/// The cells, `n` to an image, in which the teacher is right where it is wrong about the whole, or
/// the reverse.
fn complementary(teacher: &Tensor, labels: &Tensor, n: usize) -> Result<Vec<u32>> {
    let right = teacher.argmax(D::Minus1)?.eq(labels)?.to_vec1::<u8>()?;
    let differ =
        |(i, right_here): (usize, &u8)| (*right_here != right[i - i % n]).then_some(i as u32);
    Ok(right.iter().enumerate().filter_map(differ).collect())
}

#[cfg(test)]
mod tests {
    use kd_kernels::softened_kl::softened_kl;

    use super::*;
    use crate::loss::decoupled::{non_target_class, target_class};
    use crate::loss::testing::{differences_agree, flat, gradient, noise, refused, scalar};

    fn labels() -> Result<Tensor> {
        Tensor::new(&[2u32, 0, 3], &Device::Cpu)
    }

    #[test]
    fn cells_are_means_of_windows_that_may_overlap_or_repeat() -> Result<()> {
        let x = Tensor::new(&[[[[0f32, 1., 2.], [3., 4., 5.], [6., 7., 8.]]]], &Device::Cpu)?;
        assert_eq!(flat(&cell_means(&x, 1)?)?, [4.]);
        // Rows 0 to 1 and 1 to 2.
        assert_eq!(flat(&cell_means(&x, 2)?)?, [2., 3., 5., 6.]);
        assert_eq!(flat(&cell_means(&x, 3)?)?, (0..9).map(f64::from).collect::<Vec<_>>());
        let small = Tensor::new(&[[[[1f32, 2.], [3., 4.]]]], &Device::Cpu)?;
        let repeated = [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.];
        assert_eq!(flat(&cell_means(&small, 4)?)?, repeated);
        Ok(())
    }

    #[test]
    fn a_classifier_and_a_mean_commute() -> Result<()> {
        let (x, w, bias) = (noise(&[2, 3, 4, 4], 1)?, noise(&[5, 3], 2)?, noise(&[5], 3)?);
        let cells = cell_logits(&x, &w, Some(&bias), &[1, 2])?;
        assert_eq!(cells.dims(), [2, 5, 5]);
        // Each pixel is a cell of the grid of 4.
        let pixels = cell_logits(&x, &w, Some(&bias), &[4])?;
        let maps = pixels.transpose(1, 2)?.reshape((2, 5, 4, 4))?;
        for (at, side, count) in [(0, 1, 1), (1, 2, 4)] {
            let expected = cell_means(&maps, side)?.transpose(1, 2)?;
            let gap = (cells.narrow(1, at, count)? - expected)?.abs()?.max_all()?;
            assert!(scalar(&gap) < 1e-5, "{gap}");
        }
        Ok(())
    }

    #[test]
    fn without_more_weight_the_loss_is_that_of_all_cells_and_with_it_it_is_linear() -> Result<()> {
        let (s, t) = ((noise(&[3, 5, 4], 1)? * 3.)?, (noise(&[3, 5, 4], 2)? * 3.)?);
        let at = |weight: f64| -> Result<f64> {
            let kl = |s: &Tensor, t: &Tensor, _: &Tensor| softened_kl(s, t, 4.);
            Ok(scalar(&over_cells(&s, &t, &labels()?, weight, kl)?))
        };
        let plain = scalar(&softened_kl(&s.reshape((15, 4))?, &t.reshape((15, 4))?, 4.)?);
        let (one, two, three) = (at(1.)?, at(2.)?, at(3.)?);
        assert!((one - plain).abs() < 1e-6 * plain, "{one} {plain}");
        assert!(
            two > 1.01 * one && (three - 2. * two + one).abs() < 1e-5 * two,
            "{one} {two} {three}"
        );
        Ok(())
    }

    #[test]
    fn cells_in_which_the_teacher_is_right_alone_or_wrong_alone_are_complementary() -> Result<()> {
        // Two images of three cells: what the teacher says of each.
        let says = [1u32, 1, 0, 0, 1, 0];
        let rows: Vec<f32> = says.iter().flat_map(|&c| [[1., 0.], [0., 1.]][c as usize]).collect();
        let teacher = Tensor::from_vec(rows, (6, 2), &Device::Cpu)?;
        for (labels, expected) in [([1u32; 6], vec![2, 4]), ([0; 6], vec![2, 4])] {
            let labels = Tensor::new(&labels, &Device::Cpu)?;
            assert_eq!(complementary(&teacher, &labels, 3)?, expected);
        }
        let neither = Tensor::new(&[7u32; 6], &Device::Cpu)?;
        assert!(complementary(&teacher, &neither, 3)?.is_empty());
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_differences_and_none_reaches_the_teacher() -> Result<()> {
        let (s, t, y) = ((noise(&[3, 5, 4], 1)? * 3.)?, (noise(&[3, 5, 4], 2)? * 3.)?, labels()?);
        for loss in [target_class, non_target_class] {
            let over =
                |s: &Tensor, t: &Tensor| over_cells(s, t, &y, 2., |s, t, y| loss(s, t, y, 4.));
            differences_agree(&s, 1, |s| over(s, &t.to_dtype(s.dtype())?));
            assert!(gradient(&t, |t| over(&s, t)).is_none());
        }
        let (x, w) = (noise(&[2, 3, 4, 4], 1)?, noise(&[5, 3], 2)?);
        let squares =
            |x: &Tensor, w: &Tensor| cell_logits(x, w, None, &[1, 2, 3])?.sqr()?.sum_all();
        differences_agree(&x, 1, |x| squares(x, &w.to_dtype(x.dtype())?));
        differences_agree(&w, 1, |w| squares(&x.to_dtype(w.dtype())?, w));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() -> Result<()> {
        let (map, w) = (noise(&[2, 3, 4, 4], 1)?, noise(&[5, 3], 2)?);
        refused(cell_means(&map, 0), "cells: ");
        refused(cell_means(&w, 1), "cells: ");
        refused(cell_logits(&map, &w, None, &[]), "cells: ");
        refused(cell_logits(&map, &noise(&[5, 4], 2)?, None, &[1]), "linear: ");
        let kl = |s: &Tensor, t: &Tensor, _: &Tensor| softened_kl(s, t, 4.);
        let (s, y) = (noise(&[3, 5, 4], 1)?, labels()?);
        refused(over_cells(&s, &noise(&[3, 4, 4], 1)?, &y, 2., kl), "over_cells: ");
        refused(over_cells(&w, &w, &y, 2., kl), "over_cells: ");
        refused(over_cells(&s, &s, &y.narrow(0, 0, 2)?, 2., kl), "over_cells: ");
        Ok(())
    }
}
