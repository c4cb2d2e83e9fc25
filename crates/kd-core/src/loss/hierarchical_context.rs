//! Hierarchical context loss (HCL) of "Distilling knowledge via knowledge review" (Chen et al.
//! 2021), section 3.4.

use candle_core::{Result, Tensor, bail};
use kd_kernels::pyramid_distance::{Level, pyramid_distance};

/// The sides to which maps are pooled, beside their own, from fine to coarse.
const LEVELS: [usize; 3] = [4, 2, 1];

/// The squared distance of two maps, and of their averages over ever coarser grids:
///
/// `(mse(s, t) + Σ_l w_l · mse(pool_l(s), pool_l(t))) / (1 + Σ_l w_l)`
///
/// over the sides l of 4, 2 and 1 that are smaller than the height of the maps. `pool_l` averages a
/// map to l×l pixels; the weights are 1/2 for the first level that is used, 1/4 for the second and
/// 1/8 for the third. Maps of one pixel have the squared distance alone.
///
/// * `student`, `teacher`: `[batch, channels, side, side]`. The teacher's is detached.
/// * result: a scalar. Each `mse` is a mean over all of its elements, batch included.
///
/// The paper gives the levels and not the weights; these are the official program's.
///
/// # Errors
/// When the shapes differ, are not square maps, or the side is no multiple of a level.
pub fn hierarchical_context(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let &[_, _, side, width] = student.dims() else {
        bail!("hierarchical_context: expected maps [b, c, side, side], got {:?}", student.dims())
    };
    if student.dims() != teacher.dims() || side != width || student.elem_count() == 0 {
        bail!(
            "hierarchical_context: expected square maps of one shape, got {:?} and {:?}",
            student.dims(),
            teacher.dims()
        )
    }
    let mut levels = vec![Level { side, weight: 1. }];
    for level in LEVELS.into_iter().filter(|&level| level < side) {
        let above = levels[levels.len() - 1];
        if above.side % level != 0 {
            bail!("hierarchical_context: expected a side that is a multiple of {level}, got {side}")
        }
        levels.push(Level { side: level, weight: above.weight / 2. });
    }
    let total: f64 = levels.iter().map(|level| level.weight).sum();
    levels.iter_mut().for_each(|level| level.weight /= total);
    pyramid_distance(student, &teacher.detach(), &levels)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    /// `sin(a·i + b)` over the elements in row-major order.
    fn g(shape: &[usize], a: f64, b: f64) -> Tensor {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| (a * i as f64 + b).sin() as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    #[test]
    fn it_has_the_values_of_the_reference_program() -> Result<()> {
        let (s, t) = (g(&[4, 6, 8, 8], 0.013, 0.2), g(&[4, 6, 8, 8], 0.017, 0.9));
        for (side, expected) in
            [(8, 1.0028674011881613f64), (4, 1.0121845610573255), (1, 1.0190674007456497)]
        {
            let part = |x: &Tensor| x.narrow(2, 0, side)?.narrow(3, 0, side)?.contiguous();
            let ours = f64::from(hierarchical_context(&part(&s)?, &part(&t)?)?.to_scalar::<f32>()?);
            assert!((ours - expected).abs() < 2e-6, "{side}: {ours}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn it_is_zero_between_equals_and_the_plain_distance_for_maps_that_differ_by_a_constant()
    -> Result<()> {
        let s = g(&[2, 3, 8, 8], 0.3, 0.1);
        assert_eq!(hierarchical_context(&s, &s)?.to_scalar::<f32>()?, 0.);
        // A constant survives every pooling, so that all levels agree.
        let apart = hierarchical_context(&s, &(&s + 0.5)?)?.to_scalar::<f32>()?;
        assert!((apart - 0.25).abs() < 1e-6, "{apart}");
        Ok(())
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() -> Result<()> {
        let (s, t) = (Var::from_tensor(&g(&[1, 2, 4, 4], 0.3, 0.1))?, g(&[1, 2, 4, 4], 0.5, 0.7));
        let gradient = hierarchical_context(&s, &t)?
            .backward()?
            .get(&s)
            .expect("a gradient")
            .flatten_all()?
            .to_vec1::<f32>()?;
        let at = |i: usize, h: f64| -> Result<f64> {
            let mut values: Vec<f64> = s.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
            values[i] += h;
            let moved = Tensor::from_vec(values, s.shape(), &Device::Cpu)?;
            hierarchical_context(&moved, &t.to_dtype(DType::F64)?)?.to_scalar()
        };
        for (i, g) in gradient.iter().enumerate() {
            let expected = (at(i, 1e-4)? - at(i, -1e-4)?) / 2e-4;
            assert!((f64::from(*g) - expected).abs() < 1e-5, "{i}: {g}, expected {expected}");
        }
        Ok(())
    }

    #[test]
    fn maps_of_other_shapes_are_refused() {
        let maps = |shape: &[usize]| g(shape, 0.1, 0.);
        for (s, t) in [
            (maps(&[2, 3, 8, 8]), maps(&[2, 4, 8, 8])),
            (maps(&[2, 3, 8, 4]), maps(&[2, 3, 8, 4])),
            (maps(&[2, 3]), maps(&[2, 3])),
        ] {
            assert!(hierarchical_context(&s, &t).is_err());
        }
        let odd = maps(&[2, 3, 6, 6]);
        assert!(
            hierarchical_context(&odd, &odd)
                .expect_err("6 is no multiple of 4")
                .to_string()
                .contains("multiple of 4")
        );
    }
}
