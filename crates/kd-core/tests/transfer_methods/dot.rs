//! Distillation-oriented training: softened targets, with a momentum for each of the two gradients.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::method::Pull;
use kd_core::train::{Fit, OptimizerSpec};
use kd_core::{Result, Seed};

use super::pair::{Noise, Pair, SGD, train};

const KD: &str = "kind = 'soft-targets'\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1";

fn trained(optimizer: OptimizerSpec) -> Result<BTreeMap<String, Tensor>> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(KD)?;
    let spec = train(2, optimizer);
    let fit = Fit {
        teacher: Some(&pair.teacher),
        ..Fit::new(&*pair.student, &pair.params, &*method, &Noise, &spec, Seed(3), &Device::Cpu)
    };
    fit.run(&mut ())?;
    pair.params.snapshot()
}

/// The largest difference of two networks, over the largest value.
fn gap(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> Result<f32> {
    let (mut gap, mut size) = (0f32, 0f32);
    for (name, a) in a {
        gap = gap.max((a - &b[name])?.abs()?.max_all()?.to_scalar()?);
        size = size.max(a.abs()?.max_all()?.to_scalar()?);
    }
    Ok(gap / size)
}

#[test]
fn the_labels_pull_by_one_term_and_the_teacher_by_the_other() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let terms = pair.step(&*pair.method(KD)?, &[0, 1, 2, 5], 0, |_| Ok(()))?;
    let mut pulls: Vec<_> = terms.iter().map(|term| (term.name, term.weight, term.pull)).collect();
    pulls.sort_by_key(|pull| pull.0);
    assert_eq!(pulls, [("hard", 0.1, Pull::Task), ("soft", 0.9, Pull::Teacher)]);
    Ok(())
}

#[test]
fn without_a_difference_of_momenta_it_is_sgd_and_with_one_it_is_not() -> Result<()> {
    let dot = |delta| trained(OptimizerSpec::Dot { momentum: 0.9, delta, weight_decay: 5e-4 });
    let sgd = trained(SGD)?;
    assert!(gap(&dot(0.)?, &sgd)? < 1e-5);
    assert!(gap(&dot(0.075)?, &sgd)? > 1e-4);
    Ok(())
}
