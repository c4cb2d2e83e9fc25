//! The terms of one step of real networks are the losses of their taps.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::Seed;
use kd_core::loss::{self, decoupled, relational};
use kd_core::method::{Distillation, MethodSpec, PREFIX, Pull, Teaching, Term};
use kd_core::model::{Mode, Model, Outputs};
use kd_core::seed::StepSeed;

use super::{Pair, formula, specs, step};

const TAPS: [&str; 4] = ["stage1", "stage2", "stage3", "pooled"];

/// What networks give on four images: all that a method asks for, and the stages and the pooled
/// vector, by the test's own names.
pub(super) struct PairOutputs {
    pub wanted: [Outputs; 2],
    pub all: [Outputs; 2],
    pub labels: Tensor,
}

pub(super) fn look(pair: &Pair, method: &dyn Distillation) -> Result<PairOutputs> {
    let images = formula::images(4, "images", 0)?;
    let train = || Mode::Train(StepSeed { seed: Seed(3), epoch: 1, step: 0 });
    let wants = method.wants();
    let taught: Vec<&str> = match &wants.teaching {
        Teaching::Live { taps } => taps.iter().map(String::as_str).collect(),
        Teaching::Logits => Vec::new(),
        Teaching::None => panic!("a method without a teacher"),
    };
    let student: Vec<&str> = wants.student_taps.iter().map(String::as_str).collect();
    let teacher = |taps: &[&str]| pair.teacher.model().forward(&images, taps, Mode::Evaluate);
    Ok(PairOutputs {
        wanted: [pair.student.forward(&images, &student, train())?, teacher(&taught)?],
        all: [pair.student.forward(&images, &TAPS, train())?, teacher(&TAPS)?],
        labels: Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?,
    })
}

pub(super) fn number(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_scalar::<f32>()?))
}

/// The terms beside those of the logits, as their definition has them; for methods without
/// adapters.
fn expected(spec: &MethodSpec, seen: &PairOutputs) -> Result<Vec<(&'static str, f64, f64)>> {
    let [s, t] = &seen.all;
    let over_stages = |f: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>| -> Result<f64> {
        (0..3).map(|i| number(&f(&s.taps[i], &t.taps[i])?)).sum()
    };
    let pooled = |f: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>| {
        number(&f(&s.taps[3], &t.taps[3])?)
    };
    Ok(match spec {
        MethodSpec::At(_) => vec![("attention", 1000., over_stages(loss::attention_transfer)?)],
        MethodSpec::Nst(_) => vec![("selectivity", 50., over_stages(loss::neuron_selectivity)?)],
        MethodSpec::Sp(_) => vec![(
            "similarity",
            3000.,
            number(&loss::similarity_preserving(&s.taps[2], &t.taps[2])?)?,
        )],
        MethodSpec::Pkt(_) => vec![("neighbours", 30_000., pooled(loss::probabilistic_transfer)?)],
        MethodSpec::Rkd(_) => {
            vec![
                ("distance", 25., pooled(relational::relational_distance)?),
                ("angle", 50., pooled(relational::relational_angle)?),
            ]
        }
        MethodSpec::Dkd(_) => {
            let part = |f: fn(&Tensor, &Tensor, &Tensor, f64) -> candle_core::Result<Tensor>| {
                number(&f(&s.logits, &t.logits, &seen.labels, 4.)?)
            };
            // The second of 20 epochs of warm-up.
            vec![
                ("target", 0.1, part(decoupled::target_class)?),
                ("non-target", 0.2, part(decoupled::non_target_class)?),
            ]
        }
        _ => Vec::new(),
    })
}

#[test]
fn the_terms_of_a_step_are_the_losses_of_the_stages_or_pooled_vectors_beside_hard_and_soft_targets()
-> Result<()> {
    let mut compared = 0;
    for spec in specs() {
        for (student, teacher) in
            [("resnet8", "resnet14"), ("resnet8", "resnet8x4"), ("shufflenet-v1", "resnet8")]
        {
            let pair = Pair::new(student, teacher)?;
            let method = pair.build(&spec)?;
            let seen = look(&pair, &*method)?;
            let terms = method.terms(&step(
                &seen.wanted[0],
                &seen.wanted[1],
                &seen.labels,
                &[5, 6, 7, 8],
            ))?;
            let (logits, own) = terms.split_at(2);
            let hard = number(&loss::cross_entropy(&seen.all[0].logits, &seen.labels)?)?;
            let soft = number(&loss::softened_kl(&seen.all[0].logits, &seen.all[1].logits, 4.)?)?;
            let mut expected: Vec<(&str, f64, f64)> = expected(&spec, &seen)?;
            compared += expected.len();
            if expected.is_empty() {
                // With adapters: tests/methods/adapters.rs knows the values.
                for term in own {
                    assert!(number(&term.value)?.is_finite(), "{spec:?}");
                    expected.push((term.name, term.weight, number(&term.value)?));
                }
            }
            expected.splice(0..0, [("hard", 1., hard), ("soft", 0.5, soft)]);
            assert_eq!(expected.len(), terms.len(), "{spec:?}");
            for (term, (name, weight, value)) in terms.iter().zip(expected) {
                assert_eq!((term.name, term.weight), (name, weight), "{spec:?}");
                let got = number(&term.value)?;
                assert!(
                    (got - value).abs() <= 1e-5 * value.abs(),
                    "{spec:?}, {name}: {got}, expected {value}"
                );
            }
            let pulls = |terms: &[Term]| terms.iter().map(|term| term.pull).collect::<Vec<_>>();
            assert_eq!(pulls(logits), [Pull::Task, Pull::Teacher]);
            assert!(pulls(own).iter().all(|pull| *pull == Pull::Teacher));
        }
    }
    assert_eq!(compared, 3 * 8);
    Ok(())
}

#[test]
fn a_methods_own_terms_reach_the_student_and_every_adapter() -> Result<()> {
    for spec in specs() {
        let pair = Pair::new("resnet8", "resnet14")?;
        let method = pair.build(&spec)?;
        let seen = look(&pair, &*method)?;
        let terms =
            method.terms(&step(&seen.wanted[0], &seen.wanted[1], &seen.labels, &[5, 6, 7, 8]))?;
        let own = terms[2..]
            .iter()
            .map(|term| term.value.clone())
            .reduce(|a, b| (a + b).expect("a sum"))
            .expect("a term");
        let grads = kd_kernels::backward(&own)?;
        let mut adapters = 0;
        for (name, var) in pair.params.named() {
            let moved = grads.get(&var).is_some_and(|g| {
                formula::values(g).expect("numbers").iter().any(|g| *g != 0. && g.is_finite())
            });
            // The classifier is behind what most methods look at; the stem is before all of it.
            assert!(moved || name.starts_with("fc."), "{spec:?}: {name}");
            adapters += usize::from(name.starts_with(PREFIX));
        }
        let expected = match spec {
            MethodSpec::Vid(_) => 3 * 4,
            MethodSpec::Cc(_) => 4,
            MethodSpec::Itrd(_) => 2,
            _ => 0,
        };
        assert_eq!(adapters, expected, "{spec:?}");
    }
    Ok(())
}
