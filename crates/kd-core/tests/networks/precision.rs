//! The precision of convolutions is a network's own.

use candle_core::{Device, Tensor};
use kd_core::model::{Mode, Model, NetworkSpec};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::{Result, Seed};
use kd_kernels::conv2d::Precision;

use crate::formula;

/// A network of one precision, its parameters, and the loss of one training step.
struct Step {
    params: Params,
    loss: Tensor,
}

impl Step {
    fn record(precision: Precision) -> Result<Self> {
        let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
        let model = NetworkSpec::from_name("resnet8", 100)?.build_with(precision, vb)?;
        let draws = StepSeed { seed: Seed(0), epoch: 0, step: 0 };
        let logits =
            model.forward(&formula::images(8, "images", 0)?, &[], Mode::Train(draws))?.logits;
        Ok(Self { params, loss: logits.sqr()?.mean_all()? })
    }

    /// The bits of the loss and of all gradients.
    fn bits(&self) -> Result<Vec<u32>> {
        let gradients = kd_kernels::backward(&self.loss)?;
        let mut all = vec![self.loss.to_scalar::<f32>()?.to_bits()];
        for (name, var) in self.params.named() {
            let gradient =
                gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
            all.extend(gradient.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits));
        }
        Ok(all)
    }
}

#[test]
fn two_networks_of_different_precision_do_not_change_each_other() -> Result<()> {
    let precise = Step::record(Precision::Precise)?.bits()?;
    let fast = Step::record(Precision::Fast)?.bits()?;
    assert_eq!(
        precise != fast,
        kd_kernels::kernels_enabled(),
        "the kernels have two precisions, the twins have one"
    );
    // Both forward passes before either backward pass, which is the later one's first.
    let (first, second) = (Step::record(Precision::Precise)?, Step::record(Precision::Fast)?);
    assert!(second.bits()? == fast);
    assert!(first.bits()? == precise);
    Ok(())
}

#[test]
fn a_network_that_is_built_without_a_precision_is_precise() -> Result<()> {
    let logits = |build: fn(&NetworkSpec, candle_nn::VarBuilder) -> Result<Box<dyn Model>>| -> Result<Vec<Vec<f32>>> {
        let (_, vb) = Params::seeded(Seed(7), &Device::Cpu);
        let model = build(&NetworkSpec::from_name("resnet8", 100)?, vb)?;
        Ok(model.forward(&formula::images(8, "images", 0)?, &[], Mode::BatchStatistics)?.logits.to_vec2()?)
    };
    assert_eq!(
        logits(|spec, vb| spec.build(vb))?,
        logits(|spec, vb| spec.build_with(Precision::Precise, vb))?
    );
    Ok(())
}
