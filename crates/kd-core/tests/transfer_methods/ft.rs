//! Factor transfer and its paraphraser.

use std::time::Duration;

use candle_core::Device;
use kd_core::train::{Phase, Phases, Trains};
use kd_core::{Result, Seed};
use kd_kernels::conv2d::Precision;

use super::pair::{Noise, Pair, SGD, labels, named, spec, train};

const PARAPHRASER: &str = "kind = 'paraphraser'\nweight = 1.0\nrate = 0.5\nslope = 0.1";
const FT: &str =
    "kind = 'ft'\nweight = 200.0\nrate = 0.5\nslope = 0.1\npower = 2\nnorm = 1\nhard-weight = 1.0";

#[test]
fn the_paraphraser_learns_to_make_the_map_again_without_the_student() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(PARAPHRASER)?;
    assert!(!method.wants().student);
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |step| {
        assert!(step.student().is_err());
        Ok(())
    })?;
    let adapters = pair.adapters();
    assert_eq!(adapters.len(), 12, "{adapters:?}");
    assert_eq!(pair.pulled(&terms)?, adapters);
    let shape = |name: &str| {
        pair.params
            .get(&format!("method.paraphraser.{name}.weight"))
            .map(|var| var.dims()[..2].to_vec())
    };
    let shapes = ["encoder.0", "encoder.1", "encoder.2", "decoder.0", "decoder.1", "decoder.2"]
        .map(|name| shape(name).expect("a weight"));
    assert_eq!(shapes, [[64, 64], [32, 64], [32, 32], [32, 32], [64, 32], [64, 64]]);
    Ok(())
}

#[test]
fn the_second_phase_finds_the_paraphraser_and_trains_translator_and_student_only() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let labels = labels();
    let first = Phase { method: spec(PARAPHRASER), trains: Trains::Method, train: train(2, SGD) };
    let second = Phase { method: spec(FT), trains: Trains::All, train: train(1, SGD) };
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
    pair.method(PARAPHRASER)?;
    let begun = pair.bits()?;
    let records = phases.run(std::slice::from_ref(&first), &mut ())?;
    assert!(records[1].terms["reconstruction"] < records[0].terms["reconstruction"], "{records:?}");
    let between = pair.bits()?;
    for name in begun.keys() {
        assert_eq!(begun[name] != between[name], name.starts_with("method.paraphraser."), "{name}");
    }
    phases.run(&[second], &mut ())?;
    let ended = pair.bits()?;
    for name in between.keys() {
        assert_eq!(between[name] == ended[name], name.starts_with("method.paraphraser."), "{name}");
    }
    assert!(ended.keys().any(|name| name.starts_with("method.translator.2.1.running_mean")));
    Ok(())
}

#[test]
fn every_layer_of_the_translator_learns_and_the_terms_have_their_weights() -> Result<()> {
    // 4×4 pixels of the student's last map, 8×8 of the teacher's.
    let pair = Pair::new("shufflenet-v2", "resnet14")?;
    let method = pair.method(FT)?;
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |_| Ok(()))?;
    let weights: Vec<_> = terms.iter().map(|term| (term.name, term.weight)).collect();
    assert_eq!(weights, [("hard", 1.), ("factors", 200.)]);
    assert!(named(&terms, "factors")? > 0.);
    let pulled = pair.pulled(&terms)?;
    let translator: Vec<_> =
        pair.adapters().into_iter().filter(|name| name.contains("translator")).collect();
    assert_eq!(translator.len(), 9, "{translator:?}");
    assert!(translator.iter().all(|name| pulled.contains(name)), "{pulled:?}");
    assert!(!pulled.iter().any(|name| name.contains("paraphraser")), "{pulled:?}");
    Ok(())
}

#[test]
fn numbers_outside_their_domains_are_errors_of_one_line_before_training() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let with = |from: &str, to: &str| pair.refused(&FT.replace(from, to));
    assert_eq!(
        with("rate = 0.5", "rate = 0.0"),
        "method.rate: expected a number above 0 and at most 1, got 0"
    );
    assert_eq!(
        with("slope = 0.1", "slope = 2.0"),
        "method.slope: expected a number from 0 to 1, got 2"
    );
    assert_eq!(with("power = 2", "power = 0"), "method.power: expected 1 to 8, got 0");
    assert_eq!(with("norm = 1", "norm = 9"), "method.norm: expected 1 to 8, got 9");
    Ok(())
}
