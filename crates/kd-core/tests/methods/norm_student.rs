//! N-to-one matching: its terms, which logits they see, and its weight by the epoch.

use kd_core::Result;
use kd_core::loss::{cross_entropy, n_to_one, softened_kl};
use kd_core::method::{MethodSpec, Recipe, Soft, norm};
use kd_core::model::{EXPANDED, HeadSpec, LAST, Model, NetworkSpec};

use super::newer_feature_losses::golden;
use super::wiring::{look, number};
use super::{Pair, formula, step, student_gradients};

fn spec(logit_scale: Option<f64>) -> norm::Spec {
    norm::Spec {
        copies: 2,
        logit_scale,
        weight: 2.,
        factors: [(0, 0.1), (1, 0.5), (5, 1.)]
            .map(|(from, factor)| norm::Factor { from, factor })
            .to_vec(),
        hard_weight: 0.5,
        soft: Some(Soft { temperature: 4., weight: 0.3 }),
    }
}

#[test]
fn norms_loss_and_gradients_are_pytorchs() -> Result<()> {
    student_gradients::agrees("expanded-256-2-2.5", spec(Some(2.5)).into(), &golden()["norm"])
}

#[test]
fn the_terms_see_standardised_logits_of_both_networks_or_raw_ones_of_both() -> Result<()> {
    for (student, teacher) in [("resnet8", "wrn-16-2"), ("mobilenet-v2", "vgg8")] {
        for logit_scale in [None, Some(2.5)] {
            let plain = Pair::new(student, teacher)?;
            let method: MethodSpec = spec(logit_scale).into();
            let channels = plain.teacher.model().tap(LAST)?.channels;
            let network = method
                .student(NetworkSpec::from_name(student, 10)?, Some(&**plain.teacher.model()))?;
            let head = HeadSpec::Expanded { channels, copies: 2, logit_scale };
            assert_eq!(network, NetworkSpec::from_name(student, 10)?.with_head(head)?);
            let pair = Pair::new(&network.name(), teacher)?;
            let built = pair.build(&method)?;
            assert_eq!(built.wants().student_taps, [EXPANDED]);
            let seen = look(&pair, &*built)?;
            let [s, t] = &seen.wanted;
            let teachers = match logit_scale {
                None => t.logits.clone(),
                Some(scale) => {
                    let centred = t.logits.broadcast_sub(&t.logits.mean_keepdim(1)?)?;
                    let deviation = (centred.sqr()?.mean_keepdim(1)? + 1e-7)?.sqrt()?;
                    (centred.broadcast_div(&deviation)? * scale)?
                }
            };
            let expected = [
                ("hard", 0.5, number(&cross_entropy(&s.logits, &seen.labels)?)?),
                ("soft", 0.3, number(&softened_kl(&s.logits, &teachers, 4.)?)?),
                // The second epoch.
                ("n-to-one", 1., number(&n_to_one(&s.taps[0], &t.taps[0])?)?),
            ];
            let terms = built.terms(&step(s, t, &seen.labels, &[5, 6, 7, 8]))?;
            assert_eq!(terms.len(), 3);
            for (term, (name, weight, value)) in terms.iter().zip(expected) {
                assert_eq!((term.name, term.weight), (name, weight));
                let got = number(&term.value)?;
                assert!((got - value).abs() < 1e-4 * value.abs(), "{name}: {got} {value}");
            }
            let deviation = {
                let z = &s.logits;
                let centred = z.broadcast_sub(&z.mean_keepdim(1)?)?;
                formula::values(&centred.sqr()?.mean(1)?.sqrt()?)?
            };
            let standard = deviation.iter().all(|d| (d - 2.5).abs() < 1e-2);
            assert_eq!(standard, logit_scale.is_some(), "{deviation:?}");
        }
    }
    Ok(())
}

#[test]
fn the_weight_has_the_last_factor_whose_epoch_has_come() -> Result<()> {
    let at = |factors: Vec<norm::Factor>, epoch: usize| -> Result<f64> {
        let pair = Pair::new("resnet8+expanded-64-2", "resnet14")?;
        let spec = norm::Spec { factors, logit_scale: None, ..spec(None) };
        let method = pair.build(&spec.into())?;
        let seen = look(&pair, &*method)?;
        let mut step = step(&seen.wanted[0], &seen.wanted[1], &seen.labels, &[5, 6, 7, 8]);
        step.epoch = epoch;
        Ok(method.terms(&step)?[2].weight)
    };
    let factors = || spec(None).factors;
    for (epoch, factor) in [(0, 0.1), (1, 0.5), (4, 0.5), (5, 1.), (500, 1.)] {
        assert_eq!(at(factors(), epoch)?, 2. * factor, "{epoch}");
    }
    assert_eq!(at(Vec::new(), 0)?, 2.);
    Ok(())
}

#[test]
fn another_student_and_numbers_outside_their_domain_are_refused() -> Result<()> {
    let plain = Pair::new("resnet8", "resnet14")?;
    let error = plain.build(&spec(None).into()).err().expect("refused").to_string();
    assert!(error.starts_with("norm: expected a student with a branch of 128 channels"), "{error}");
    let smaller = Pair::new("resnet8+expanded-512-2", "vgg8")?;
    let error = smaller.build(&spec(None).into()).err().expect("refused").to_string();
    assert!(error.ends_with("a whole multiple of the student's 8 pixels, got 4"), "{error}");
    let factors = |epochs: &[usize]| {
        epochs.iter().map(|&from| norm::Factor { from, factor: 1. }).collect::<Vec<_>>()
    };
    let cases = [
        (norm::Spec { copies: 0, ..spec(None) }, "method.copies: "),
        (spec(Some(0.)), "logit-scale: "),
        (spec(Some(f64::NAN)), "logit-scale: "),
        (norm::Spec { weight: f64::NAN, ..spec(None) }, "method.weight: "),
        (norm::Spec { hard_weight: -1., ..spec(None) }, "method.hard-weight: "),
        (norm::Spec { factors: factors(&[1, 2]), ..spec(None) }, "method.factors: "),
        (norm::Spec { factors: factors(&[0, 2, 2]), ..spec(None) }, "method.factors: "),
        (
            norm::Spec { factors: vec![norm::Factor { from: 0, factor: -1. }], ..spec(None) },
            "method.factors: ",
        ),
    ];
    for (spec, part) in cases {
        let error = spec.check().expect_err("refused");
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
    // The switch is left out of a specification that does not have it.
    let text = toml::to_string(&MethodSpec::from(spec(None))).expect("TOML");
    assert!(!text.contains("logit-scale"), "{text}");
    assert_eq!(toml::from_str::<MethodSpec>(&text).expect("a method"), spec(None).into());
    Ok(())
}
