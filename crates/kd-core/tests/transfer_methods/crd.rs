//! Contrastive representation distillation.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use kd_core::loss::contrastive::{Negatives, Pairs, noise_contrast, normaliser, unit_rows};
use kd_core::train::{EpochRecord, Fit};
use kd_core::{Result, Seed};

use super::pair::{IMAGES, Noise, Pair, SGD, close, labels, named, train};

const CRD: &str = "kind = 'crd'\nweight = 0.8\nwidth = 16\ntemperature = 0.07\nnegatives = 6\nmomentum = 0.5\nhard-weight = 1.0";

fn flat(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.flatten_all()?.to_vec1()?)
}

impl Pair {
    fn buffer(&self, name: &str) -> Tensor {
        let found =
            self.params.buffers().into_iter().find(|(found, _)| found == &format!("method.{name}"));
        found.expect("a buffer").1.as_tensor().clone()
    }

    /// The embedding of pooled vectors, from the dense layer's parameters.
    fn embedded(&self, side: &str, pooled: &Tensor) -> Result<Tensor> {
        let get = |part: &str| {
            self.params.get(&format!("method.embed.{side}.{part}")).expect("a parameter")
        };
        Ok(unit_rows(&pooled.matmul(&get("weight").t()?)?.broadcast_add(&get("bias"))?)?)
    }
}

#[test]
fn the_term_is_the_contrast_of_both_sides_with_the_other_s_memory() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(CRD)?;
    assert_eq!(method.wants().student_taps, ["pooled"]);
    let numbers = [7u32, 1, 2, 5];
    let before = ["student", "teacher"]
        .map(|side| pair.buffer(&format!("memory.{side}")).copy().expect("a copy"));
    let mut want = 0.;
    let terms = pair.step(&*method, &numbers, 0, |step| {
        let negatives =
            Negatives::new(&labels()).draw(&numbers, 6, step.draws.stream("crd.negatives"))?;
        let pairs = Pairs { positives: &numbers, negatives: &negatives, temperature: 0.07 };
        let (s, t) = (
            pair.embedded("student", &step.student()?.taps[0])?,
            pair.embedded("teacher", &step.teacher()?.taps[0])?,
        );
        for (anchors, memory) in [(&s, &before[1]), (&t, &before[0])] {
            let z = normaliser(anchors, memory, &pairs)?;
            want += f64::from(noise_contrast(anchors, memory, &pairs, z)?.to_scalar::<f32>()?);
        }
        Ok(())
    })?;
    close(named(&terms, "contrast")?, want);
    assert_eq!(
        terms.iter().map(|term| (term.name, term.weight)).collect::<Vec<_>>(),
        [("hard", 1.), ("contrast", 0.8)]
    );
    let (adapters, pulled) = (pair.adapters(), pair.pulled(&terms)?);
    assert_eq!(adapters.len(), 4, "{adapters:?}");
    assert!(adapters.is_subset(&pulled), "{pulled:?}");
    Ok(())
}

#[test]
fn after_a_step_the_rows_of_its_images_have_moved_and_the_normalisers_are_fixed_by_the_first()
-> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(CRD)?;
    let rows = |side: &str| -> Result<Vec<Vec<f32>>> {
        Ok(pair.buffer(&format!("memory.{side}")).to_vec2()?)
    };
    let z = || -> Result<Vec<f32>> {
        Ok([flat(&pair.buffer("normaliser.student"))?, flat(&pair.buffer("normaliser.teacher"))?]
            .concat())
    };
    assert_eq!(z()?, [0., 0.]);
    for (step, numbers) in [[7u32, 1, 2, 5], [0, 1, 3, 11]].iter().enumerate() {
        let (before, fixed) = ([rows("student")?, rows("teacher")?], z()?);
        pair.step(&*method, numbers, step, |_| Ok(()))?;
        let after = [rows("student")?, rows("teacher")?];
        for side in 0..2 {
            for image in 0..IMAGES {
                let moved = numbers.contains(&(image as u32));
                assert_eq!(
                    before[side][image] != after[side][image],
                    moved,
                    "step {step}, side {side}, image {image}"
                );
                let length: f32 = after[side][image].iter().map(|x| x * x).sum();
                assert!(!moved || (length - 1.).abs() < 1e-5, "{length}");
            }
        }
        assert!(z()?.iter().all(|z| *z > 0.) && (step == 0 || z()? == fixed));
    }
    Ok(())
}

#[test]
fn the_memory_begins_uniform_and_is_no_parameter() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(&CRD.replace("width = 16", "width = 128"))?;
    let values = flat(&pair.buffer("memory.teacher"))?;
    let bound = (3f32 / 128.).sqrt();
    let (largest, mean_square) = (
        values.iter().fold(0f32, |m, x| m.max(x.abs())),
        values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32,
    );
    assert!(values.len() == IMAGES * 128 && largest <= bound && largest > 0.98 * bound);
    assert!((mean_square - 1. / 128.).abs() < 0.1 / 128., "{mean_square}");
    assert!(pair.adapters().iter().all(|name| name.starts_with("method.embed.")));
    drop(method);
    Ok(())
}

/// The bits of everything after a run of four epochs that ends as if killed after epoch
/// `stop_after`.
fn trained(
    state: Option<PathBuf>,
    stop_after: usize,
) -> Result<std::collections::BTreeMap<String, Vec<u32>>> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(CRD)?;
    let spec = train(4, SGD);
    let fit = Fit {
        state,
        teacher: Some(&pair.teacher),
        ..Fit::new(&*pair.student, &pair.params, &*method, &Noise, &spec, Seed(3), &Device::Cpu)
    };
    let run = std::panic::AssertUnwindSafe(|| {
        fit.run(&mut |record: &EpochRecord| {
            assert!(record.epoch <= stop_after, "stopped as if killed")
        })
    });
    match std::panic::catch_unwind(run) {
        Ok(records) => assert_eq!(records?.len(), 4),
        Err(_) => assert!(stop_after < 4),
    }
    pair.bits()
}

#[test]
fn a_killed_run_goes_on_to_the_same_memories_and_normalisers_bit_for_bit() -> Result<()> {
    let whole = trained(None, 4)?;
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.safetensors");
    let stopped = trained(Some(state.clone()), 2)?;
    for name in ["memory.student", "memory.teacher"] {
        assert_ne!(whole[&format!("method.{name}")], stopped[&format!("method.{name}")], "{name}");
    }
    assert!(whole == trained(Some(state), 4)?);
    Ok(())
}

#[test]
fn the_run_does_not_depend_on_the_number_of_threads() -> Result<()> {
    let on = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool")
            .install(|| trained(None, 4))
    };
    assert!(on(1)? == on(3)?);
    Ok(())
}

#[test]
fn more_negatives_than_images_of_other_classes_are_an_error_before_training() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    assert_eq!(
        pair.refused(&CRD.replace("negatives = 6", "negatives = 9")),
        "method.negatives: expected 1 to 8, got 9"
    );
    assert_eq!(
        pair.refused(&CRD.replace("momentum = 0.5", "momentum = -0.5")),
        "method.momentum: expected a number from 0 to 1, got -0.5"
    );
    Ok(())
}
