//! A method with a penalty on the way that parameters go from where they began.

use candle_core::{Tensor, Var};

use super::{Distillation, Step, Term, Wants};
use crate::params::Params;
use crate::{Error, Result};

/// Another method's terms and one more, `distance`: Σ ‖S − A‖², the squared distance of the
/// student's parameters S from fixed ones A, summed over all numbers of all tensors. Where A is
/// what was moved into the student from its teacher, the penalty keeps the student near it (Li,
/// Grandvalet and Davoine 2018 call it L²-SP).
pub struct Anchored {
    inner: Box<dyn Distillation>,
    pairs: Vec<(Var, Tensor)>,
    weight: f64,
}

impl Anchored {
    /// The terms of `inner` and `weight` times the distance of `params` from `anchors`, by name.
    /// Parameters without an anchor are free.
    ///
    /// # Errors
    /// Bad input when the weight is no finite number of at least 0, there is no anchor, or one has
    /// no parameter of its name and shape.
    pub fn new(
        inner: Box<dyn Distillation>,
        params: &Params,
        anchors: impl IntoIterator<Item = (String, Tensor)>,
        weight: f64,
    ) -> Result<Self> {
        check_penalty(weight)?;
        let pair = |(name, anchor): (String, Tensor)| match params.get(&name) {
            Some(var) if var.shape() == anchor.shape() => {
                let anchor = anchor.detach().to_device(var.device())?.to_dtype(var.dtype())?;
                Ok((var, anchor))
            }
            other => Err(Error::bad_input(format!(
                "penalty: expected a parameter {name} of shape {:?}, got {:?}",
                anchor.dims(),
                other.map(|var| var.dims().to_vec())
            ))),
        };
        let pairs = anchors.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
        if pairs.is_empty() {
            return Err(Error::bad_input("penalty: expected at least 1 anchor, got 0"));
        }
        Ok(Self { inner, pairs, weight })
    }

    fn distance(&self) -> Result<Tensor> {
        let squared = |(var, anchor): &(Var, Tensor)| -> Result<Tensor> {
            Ok(var.as_tensor().sub(anchor)?.sqr()?.sum_all()?)
        };
        let parts = self.pairs.iter().map(squared).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::stack(&parts, 0)?.sum_all()?)
    }
}

/// Checks the weight of the distance.
///
/// # Errors
/// Bad input that names it when it is no finite number of at least 0.
pub fn check_penalty(weight: f64) -> Result<()> {
    if weight.is_finite() && weight >= 0. {
        return Ok(());
    }
    Err(Error::bad_input(format!("penalty: expected a finite number of at least 0, got {weight}")))
}

impl Distillation for Anchored {
    fn wants(&self) -> &Wants {
        self.inner.wants()
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let mut terms = self.inner.terms(step)?;
        terms.push(Term::teacher("distance", self.distance()?, self.weight));
        Ok(terms)
    }

    fn remember(&self, step: &Step) -> Result<()> {
        self.inner.remember(step)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_nn::Init;

    use super::*;
    use crate::method::hard_targets::HardTargets;
    use crate::{Seed, params::Params};

    fn anchored(weight: f64, anchors: &[(&str, Tensor)]) -> Result<(Params, Anchored)> {
        let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
        vb.get_with_hints((2, 3), "a", Init::Const(1.))?;
        vb.get_with_hints(2, "b", Init::Const(-2.))?;
        let anchors = anchors.iter().map(|(name, t)| ((*name).to_owned(), t.clone()));
        let method = Anchored::new(Box::new(HardTargets::default()), &params, anchors, weight)?;
        Ok((params, method))
    }

    #[test]
    fn the_distance_is_the_sum_of_squares_and_its_gradient_twice_the_difference() -> Result<()> {
        let zeros = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)?;
        let halves = Tensor::new(&[0.5f32, 0.5], &Device::Cpu)?;
        let (params, method) = anchored(0.1, &[("a", zeros), ("b", halves)])?;
        let distance = method.distance()?;
        assert!((distance.to_scalar::<f32>()? - (6. + 2. * 6.25)).abs() < 1e-5);
        let gradients = kd_kernels::backward(&distance)?;
        let of = |name: &str| -> Result<Vec<f32>> {
            let var = params.get(name).expect("a parameter");
            Ok(gradients.get(&var).expect("a gradient").flatten_all()?.to_vec1()?)
        };
        assert_eq!((of("a")?, of("b")?), (vec![2.; 6], vec![-5.; 2]));
        Ok(())
    }

    #[test]
    fn strange_anchors_and_weights_are_refused_by_name() {
        let t = |n: usize| Tensor::zeros(n, candle_core::DType::F32, &Device::Cpu).expect("zeros");
        for (weight, anchors, part) in [
            (1., vec![("c", t(2))], "expected a parameter c of shape [2], got None"),
            (1., vec![("b", t(3))], "expected a parameter b of shape [3], got Some([2])"),
            (1., vec![], "at least 1 anchor"),
            (-1., vec![("b", t(2))], "finite number of at least 0, got -1"),
            (f64::NAN, vec![("b", t(2))], "finite number of at least 0, got NaN"),
        ] {
            let Err(error) = anchored(weight, &anchors) else { panic!("{part}: taken") };
            assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
        }
    }
}
