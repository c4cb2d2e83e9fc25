//! Activation boundaries.

use std::time::Duration;

use candle_core::Device;
use kd_core::loss::activation_boundary;
use kd_core::train::{Phase, Phases, Trains};
use kd_core::{Result, Seed};
use kd_kernels::conv2d::Precision;

use super::pair::{IMAGES, Noise, Pair, SGD, close, labels, named, spec, train};

const AB: &str = "kind = 'ab'\nweight = 0.003\nmargin = 1.0\nstage-decay = 0.5\nhard-weight = 0.0";

#[test]
fn the_term_is_the_weighted_loss_of_the_taps_before_the_activations() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(AB)?;
    assert_eq!(method.wants().student_taps, ["stage1.pre", "stage2.pre", "stage3.pre"]);
    let mut want = 0.;
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |step| {
        for ((weight, s), t) in
            [0.25, 0.5, 1.].iter().zip(&step.student()?.taps).zip(&step.teacher()?.taps)
        {
            want += weight * f64::from(activation_boundary(s, t, 1.)?.to_scalar::<f32>()?);
        }
        Ok(())
    })?;
    assert_eq!((terms.len(), terms[0].weight), (1, 0.003));
    close(named(&terms, "boundary")?, want);
    // Maps of one shape need no connector; the classifier is left alone.
    assert!(pair.adapters().is_empty());
    let pulled = pair.pulled(&terms)?;
    assert!(pulled.contains("conv1.weight") && pulled.contains("layer3.0.bn2.bias"));
    assert!(!pulled.iter().any(|name| name.starts_with("fc.")), "{pulled:?}");
    Ok(())
}

#[test]
fn maps_of_other_channels_or_sizes_are_connected_and_every_connector_learns() -> Result<()> {
    let pair = Pair::new("wrn-16-1", "wrn-16-2")?;
    let method = pair.method(AB)?;
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |_| Ok(()))?;
    let (adapters, pulled) = (pair.adapters(), pair.pulled(&terms)?);
    assert_eq!(adapters.len(), 12, "{adapters:?}");
    // A bias before a batch-norm has no effect.
    assert!(
        adapters.iter().filter(|name| !name.ends_with(".0.bias")).all(|name| pulled.contains(name)),
        "{pulled:?}"
    );
    assert!(named(&terms, "boundary")? > 0.);
    Ok(())
}

#[test]
fn the_first_phase_moves_the_stages_alone_and_the_second_the_classifier_too() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let labels = labels();
    let first = Phase { method: spec(AB), trains: Trains::All, train: train(1, SGD) };
    let second =
        Phase { method: spec("kind = 'hard-targets'"), trains: Trains::All, train: train(1, SGD) };
    let phases = Phases {
        model: &*pair.student,
        params: &pair.params,
        vb: pair.vb(),
        precision: Precision::Precise,
        teacher: Some(&pair.teacher),
        stored: None,
        examples: &Noise,
        labels: &labels,
        seed: Seed(3),
        device: &Device::Cpu,
        state: None,
        save_every: Duration::ZERO,
        teacher_name: String::new(),
        data_name: String::new(),
        measure: None,
    };
    let begun = pair.bits()?;
    let records = phases.run(std::slice::from_ref(&first), &mut ())?;
    assert_eq!(
        (records[0].examples, records[0].terms.keys().map(String::as_str).collect::<Vec<_>>()),
        (IMAGES, vec!["boundary"])
    );
    let between = pair.bits()?;
    for name in begun.keys() {
        assert_eq!(begun[name] == between[name], name.starts_with("fc."), "{name}");
    }
    phases.run(&[second], &mut ())?;
    let ended = pair.bits()?;
    assert!(ended.keys().all(|name| ended[name] != between[name]));
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_of_one_line_before_training() -> Result<()> {
    let pair = Pair::new("resnet8", "vgg8")?;
    assert_eq!(
        pair.refused(AB),
        "ab: expected a student with the teacher's 4 stages, got one with 3"
    );
    let margin = AB.replace("margin = 1.0", "margin = 0.0");
    assert_eq!(pair.refused(&margin), "method.margin: expected a finite number above 0, got 0");
    let decay = AB.replace("stage-decay = 0.5", "stage-decay = 1.5");
    assert_eq!(
        pair.refused(&decay),
        "method.stage-decay: expected a number above 0 and at most 1, got 1.5"
    );
    Ok(())
}
