//! Distillation word by word: what a teacher adds to the gradients.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::params::build_frozen;
use kd_core::train::Task;
use kd_translation::transformer::Transformer;
use kd_translation::{Learner, WordDistillation};

use super::training::{by_name, draws, network, recipe, task, text};
use super::{close_in_norm, drawn, norm};

#[test]
fn a_student_that_agrees_with_its_teacher_learns_from_the_words_alone_at_their_weight() -> Result<()>
{
    let (params, network) = drawn(&network(0.), 1)?;
    let teacher = build_frozen(params.snapshot()?, &Device::Cpu, |vb| {
        Transformer::new(&super::training::network(0.), vb)
    })?;
    let (text, recipe) = (text(120)?, recipe(4, 4));
    let hard = task(Learner::Network(&network), &params, None, &text, &recipe)?;
    let (wanted, hard_terms) = hard.gradients(&hard.batch(draws(0, 1))?, draws(0, 1))?;
    let (wanted, hard_terms) = (by_name(&params, &wanted), hard_terms.read()?);
    for weight in [0.3, 1.] {
        let distillation = Some(WordDistillation { teacher: &teacher, weight });
        let task = task(Learner::Network(&network), &params, distillation, &text, &recipe)?;
        let (found, terms) = task.gradients(&task.batch(draws(0, 1))?, draws(0, 1))?;
        let terms = terms.read()?;
        assert!(
            (terms[0].value - hard_terms[0].value).abs() < 1e-5
                && (terms[0].weight, terms[1].weight) == (1. - weight, weight)
        );
        let found = by_name(&params, &found);
        assert_eq!(found.len(), wanted.len());
        for (name, gradient) in &wanted {
            let size = norm(&wanted[&name.replace("k_proj.bias", "k_proj.weight")])?;
            close_in_norm(
                &found[name],
                &(gradient * (1. - weight))?,
                size,
                1e-5,
                &format!("α = {weight}, {name}"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn a_teacher_that_disagrees_is_learnt_from_as_its_weight_says() -> Result<()> {
    let (params, network) = drawn(&network(0.), 1)?;
    let teacher = drawn(&super::training::network(0.), 2)?.1;
    let (text, recipe) = (text(120)?, recipe(4, 4));
    let gradients = |weight: Option<f64>| -> Result<BTreeMap<String, Tensor>> {
        let distillation = weight.map(|weight| WordDistillation { teacher: &teacher, weight });
        let task = task(Learner::Network(&network), &params, distillation, &text, &recipe)?;
        Ok(by_name(&params, &task.gradients(&task.batch(draws(0, 0))?, draws(0, 0))?.0))
    };
    let (hard, soft, mixed) = (gradients(None)?, gradients(Some(1.))?, gradients(Some(0.3))?);
    for (name, mixed) in &mixed {
        let size = norm(&hard[&name.replace("k_proj.bias", "k_proj.weight")])?;
        let expected = ((&hard[name] * 0.7)? + (&soft[name] * 0.3)?)?;
        close_in_norm(mixed, &expected, size, 1e-5, name)?;
    }
    assert!(
        norm(&(&hard["decoder.layers.0.fc1.weight"] - &soft["decoder.layers.0.fc1.weight"])?)?
            > 1e-3
    );
    Ok(())
}
