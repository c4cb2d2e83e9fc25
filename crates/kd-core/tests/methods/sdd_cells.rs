//! Scale decoupled distillation: its terms are those of what the networks' own classifiers say of
//! parts of the last maps.

use candle_core::{Device, IndexOp, Tensor};
use kd_core::loss::{decoupled, softened_kl};
use kd_core::method::{Context, MethodSpec, Recipe, sdd};
use kd_core::model::{Classifier, LAST, Model, NetworkSpec, Outputs};
use kd_core::params::Params;
use kd_core::{Result, Seed};

use super::wiring::{look, number};
use super::{Pair, formula, step};

fn spec(base: sdd::Base) -> MethodSpec {
    let (grids, complementary_weight) = (vec![1, 2], 2.);
    sdd::Spec { grids, complementary_weight, base, hard_weight: 0.1, soft: None }.into()
}

/// The logits of the whole map and of its quarters, each `[batch, classes]`.
fn quarters(map: &Tensor, of: &Classifier) -> Result<Vec<Tensor>> {
    let (_, _, side, _) = map.dims4()?;
    let half = side / 2;
    let parts = [(0, 0, side), (0, 0, half), (0, half, half), (half, 0, half), (half, half, half)];
    let logits = |(top, left, size): (usize, usize, usize)| -> Result<Tensor> {
        let part = map.i((.., .., top..top + size, left..left + size))?;
        Ok(part.mean((2, 3))?.matmul(&of.weight.t()?)?.broadcast_add(&of.bias)?)
    };
    parts.into_iter().map(logits).collect()
}

/// The mean over cells and images of `loss` of one image in one cell; 2 counts a cell in which the
/// teacher is right or wrong where it is not in the first.
fn expected(
    [s, t]: [&[Tensor]; 2],
    labels: &Tensor,
    loss: impl Fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<(f64, usize)> {
    let right = |cell: usize, i: usize| -> Result<bool> {
        let says = t[cell].i(i)?.argmax(0)?.to_scalar::<u32>()?;
        Ok(says == labels.i(i)?.to_scalar::<u32>()?)
    };
    let (mut sum, mut complementary) = (0., 0);
    for i in 0..labels.dim(0)? {
        for cell in 0..s.len() {
            let row = |x: &Tensor| x.narrow(0, i, 1);
            let value = number(&loss(&row(&s[cell])?, &row(&t[cell])?, &row(labels)?)?)?;
            let differs = right(cell, i)? != right(0, i)?;
            complementary += usize::from(differs);
            sum += if differs { 2. * value } else { value };
        }
    }
    Ok((sum / (labels.dim(0)? * s.len()) as f64, complementary))
}

#[test]
fn the_terms_are_losses_of_what_both_classifiers_say_of_the_parts_of_the_last_maps() -> Result<()> {
    let kd = sdd::Base::Kd { temperature: 4., weight: 0.9 };
    let dkd = sdd::Base::Dkd { temperature: 4., alpha: 1., beta: 8., warm_up_epochs: 20 };
    let mut complementary = 0;
    for (student, teacher) in [("resnet8", "wrn-16-2"), ("vgg8", "resnet8x4")] {
        for base in [&kd, &dkd] {
            let pair = Pair::new(student, teacher)?;
            let method = pair.build(&spec(base.clone()))?;
            assert_eq!(method.wants().student_taps, [LAST]);
            let seen = look(&pair, &*method)?;
            let classifiers = [pair.student.classifier(), pair.teacher.model().classifier()];
            let [s, t] = [0, 1].map(|i: usize| {
                let outputs: &Outputs = &seen.wanted[i];
                quarters(&outputs.taps[0], classifiers[i].as_ref().expect("a classifier"))
            });
            let (s, t) = (s?, t?);
            // What the teacher says first of the whole image, for the first, and of its parts, for
            // the others: so some cells are complementary.
            let says = |cell: usize, i: usize| -> Result<u32> {
                Ok(t[cell].i(i)?.argmax(0)?.to_scalar::<u32>()?)
            };
            let labels =
                Tensor::new(&[says(0, 0)?, says(1, 1)?, says(2, 2)?, says(3, 3)?], &Device::Cpu)?;
            let terms =
                method.terms(&step(&seen.wanted[0], &seen.wanted[1], &labels, &[5, 6, 7, 8]))?;
            let part = |f: &dyn Fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>| {
                expected([&s, &t], &labels, f)
            };
            // The second of 20 epochs of warm-up.
            let expected = match base {
                sdd::Base::Kd { .. } => {
                    vec![("cells", 0.9, part(&|s, t, _| softened_kl(s, t, 4.))?)]
                }
                sdd::Base::Dkd { .. } => vec![
                    ("cells-target", 0.1, part(&|s, t, y| decoupled::target_class(s, t, y, 4.))?),
                    (
                        "cells-non-target",
                        0.8,
                        part(&|s, t, y| decoupled::non_target_class(s, t, y, 4.))?,
                    ),
                ],
            };
            assert_eq!((terms[0].name, terms[0].weight), ("hard", 0.1));
            assert_eq!(terms.len(), 1 + expected.len());
            for (term, (name, weight, (value, differing))) in terms[1..].iter().zip(expected) {
                assert_eq!(term.name, name);
                assert!((term.weight - weight).abs() < 1e-12, "{name}: {}", term.weight);
                let got = number(&term.value)?;
                assert!((got - value).abs() < 1e-4 * value, "{name}: {got}, expected {value}");
                complementary += differing;
            }
        }
    }
    assert!(complementary > 0, "no cell was complementary");
    Ok(())
}

#[test]
fn the_loss_of_the_cells_trains_the_students_classifier() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.build(&spec(sdd::Base::Kd { temperature: 4., weight: 0.9 }))?;
    let seen = look(&pair, &*method)?;
    let terms =
        method.terms(&step(&seen.wanted[0], &seen.wanted[1], &seen.labels, &[5, 6, 7, 8]))?;
    let gradients = kd_kernels::backward(&terms[1].value)?;
    for name in ["fc.weight", "fc.bias", "conv1.weight"] {
        let var = pair.params.get(name).expect("a parameter");
        let gradient = formula::values(gradients.get(&var).expect("a gradient"))?;
        assert!(gradient.iter().any(|g| *g != 0.), "{name}");
    }
    Ok(())
}

#[test]
fn networks_without_a_classifier_of_a_last_map_or_of_other_classes_are_refused() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = spec(sdd::Base::Kd { temperature: 4., weight: 0.9 });
    let refusal = |student: &dyn Model| {
        let context = Context::new(student, Some(&pair.teacher), &[], &pair.params, &pair.vb);
        let Err(error) = method.build(&context) else { panic!("it was built") };
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let (_, vb) = Params::seeded(Seed(0), &Device::Cpu);
    let toml = "kind = 'mlp'\ninputs = 4\nhidden = [3]\nclasses = 10\ndropout-input = 0.0\ndropout-hidden = 0.0\ninit = 'he-normal'\n";
    let mlp: NetworkSpec = toml::from_str(toml).expect("a network");
    let error = refusal(&*mlp.build(vb.pp("mlp"))?);
    assert!(error.starts_with("sdd: expected a student whose logits"), "{error}");
    let other = NetworkSpec::from_name("resnet8", 7)?.build(vb.pp("other"))?;
    let error = refusal(&*other);
    assert!(error.ends_with("of as many classes, got 7 and 10"), "{error}");
    Ok(())
}
