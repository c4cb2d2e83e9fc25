//! Runs of one phase and of several, stopped and gone on with, on a toy problem.

use std::path::{Path, PathBuf};

use kd_core::method::hard_targets::HardTargets;
use kd_core::method::{Context, MethodSpec, hard_targets, soft_targets};
use kd_core::model::mlp::Mlp;
use kd_core::params::Params;
use kd_core::seed::Seed;
use kd_core::train::{
    EpochRecord, Fit, Identity, Observer, OptimizerSpec, Phase, Phases, TrainSpec, Trains,
    checkpoint,
};
use kd_core::{Error, Result};
use kd_kernels::conv2d::Precision;

use super::own_method::{Remembering, remembering};
use super::toy::*;

#[test]
fn a_run_that_is_asked_to_stop_anywhere_goes_on_from_that_step_to_the_same_bits() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, records) = remembering(None, &mut ())?.expect("an end");
    let (of_two, of_two_records) = phases(&two_phases(), None, "data", &mut ())?.expect("an end");
    for steps in [1, 2, 3, 7] {
        let state = |name: &str| Some(dir.path().join(format!("{name}-{steps}.safetensors")));
        let (stops, weights, again) =
            in_parts(steps, |observer| remembering(state("one"), observer))?;
        assert!(stops >= 2 && weights == whole, "{steps} steps at a time");
        assert_eq!(timeless(&again), timeless(&records));
        let (stops, weights, again) =
            in_parts(steps, |observer| phases(&two_phases(), state("two"), "data", observer))?;
        assert!(stops >= 2 && weights == of_two, "{steps} steps at a time, two phases");
        assert_eq!(timeless(&again), timeless(&of_two_records));
    }
    Ok(())
}

fn soft(temperature: f64) -> MethodSpec {
    soft_targets::Spec { temperature, soft_weight: 1., hard_weight: 0.5, ..Default::default() }
        .into()
}

/// First the last layer alone, on the labels; then everything, with soft targets.
fn two_phases() -> Vec<Phase> {
    let only = Trains::Only(vec!["layers.1.".into()]);
    vec![
        Phase {
            method: hard_targets::Spec {}.into(),
            trains: only,
            train: TrainSpec { average_epochs: 2, ..recipe(3) },
        },
        Phase { method: soft(4.), trains: Trains::All, train: recipe(2) },
    ]
}

fn phases(
    phases: &[Phase],
    state: Option<PathBuf>,
    data: &str,
    observer: &mut dyn Observer,
) -> Result<Option<(Weights, Vec<EpochRecord>)>> {
    let (params, vb) = Params::seeded(Seed(3), &DEVICE);
    let (model, teacher) = (Mlp::new(&net(6), vb.clone())?, teacher()?);
    let run = Phases {
        model: &model,
        params: &params,
        vb: &vb,
        precision: Precision::Precise,
        teacher: Some(&teacher),
        stored: None,
        examples: &Points,
        labels: &[],
        seed: Seed(3),
        device: &DEVICE,
        state,
        save_every: std::time::Duration::ZERO,
        teacher_name: "teacher".into(),
        data_name: data.into(),
        measure: None,
    };
    let Some(records) = until_stopped(|| run.run(phases, observer))? else { return Ok(None) };
    Ok(Some((bits(&params)?, records)))
}

#[test]
fn a_run_of_two_phases_goes_on_from_any_epoch_of_either_to_the_same_bits() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, records) = phases(&two_phases(), None, "data", &mut ())?.expect("an end");
    let at =
        |records: &[EpochRecord]| records.iter().map(|r| (r.epoch, r.phase)).collect::<Vec<_>>();
    assert_eq!(at(&records), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]);
    assert!(records[2].terms.len() == 1 && records[3].terms.len() == 2);
    for stop in 1..5 {
        let state = Some(dir.path().join(format!("{stop}.safetensors")));
        assert!(phases(&two_phases(), state.clone(), "data", &mut Stop::after(stop))?.is_none());
        let mut last = Stop::after(5);
        let (resumed, again) = phases(&two_phases(), state, "data", &mut last)?.expect("an end");
        assert!(resumed == whole, "stopped after epoch {stop}");
        assert_eq!((last.resumed, last.trained), (stop, 5 - stop));
        assert_eq!(at(&records), at(&again));
    }
    Ok(())
}

#[test]
fn a_phase_trains_what_it_names_and_nothing_else() -> Result<()> {
    let start = phases(&[], None, "data", &mut ())?.expect("an end").0;
    let first = phases(&two_phases()[..1], None, "data", &mut ())?.expect("an end").0;
    for (name, values) in &first {
        assert_eq!(name.starts_with("layers.1."), *values != start[name], "{name}");
    }
    Ok(())
}

#[test]
fn later_phases_draw_anew() -> Result<()> {
    // Were the second phase shuffled as the first, training twice would be one phase of twice the
    // learning, step for step.
    let one = |epochs| Phase {
        method: hard_targets::Spec {}.into(),
        trains: Trains::All,
        train: TrainSpec { optimizer: plain(), ..recipe(epochs) },
    };
    let whole = phases(&[one(4)], None, "data", &mut ())?.expect("an end").0;
    let halves = phases(&[one(2), one(2)], None, "data", &mut ())?.expect("an end").0;
    assert!(whole == halves);
    Ok(())
}

fn plain() -> OptimizerSpec {
    OptimizerSpec::Sgd { momentum: 0., nesterov: false, weight_decay: 0. }
}

/// The refusal of a state that two epochs of [`two_phases`]'s second phase have left, by a run of
/// other phases or data.
fn refusal(dir: &Path, others: &[Phase], data: &str) -> Result<String> {
    let state = dir.join("state.safetensors");
    if !state.exists() {
        phases(&two_phases(), Some(state.clone()), "data", &mut ())?;
    }
    let before = std::fs::read(&state).expect("the state");
    let error = phases(others, Some(state.clone()), data, &mut ()).expect_err("a refusal");
    assert!(error.is_bad_input() && std::fs::read(&state).expect("the state") == before, "{error}");
    Ok(error.to_string())
}

#[test]
fn a_state_of_another_method_recipe_data_set_or_phase_is_refused_by_what_differs() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let with = |change: &dyn Fn(&mut Phase)| {
        let mut phases = two_phases();
        change(&mut phases[1]);
        phases
    };
    let dir = dir.path();
    let contains = |text: String, part: &str| {
        assert!(text.contains(part) && text.ends_with("delete it to start anew"), "{text}")
    };
    contains(refusal(dir, &with(&|phase| phase.method = soft(2.)), "data")?, "method");
    contains(
        refusal(dir, &with(&|phase| phase.train.learning_rate = 0.1), "data")?,
        "train.learning-rate: expected 0.1, got 0.05",
    );
    contains(refusal(dir, &with(&|phase| phase.trains = Trains::Method), "data")?, "trains");
    contains(refusal(dir, &two_phases(), "other")?, "data: expected \"other\", got \"data\"");
    contains(refusal(dir, &two_phases()[..1], "data")?, "phase: expected at most 1, got 2");
    Ok(())
}

#[test]
fn a_state_that_lacks_a_momentum_is_damaged() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state.safetensors");
    phases(&two_phases(), Some(state.clone()), "data", &mut ())?;
    let (mut tensors, about) = checkpoint::load::<serde_json::Value>(&state, &DEVICE)?;
    assert!(tensors.remove("optimizer/layers.0.weight.momentum").is_some());
    checkpoint::save(&state, &tensors, &about)?;
    let error =
        phases(&two_phases(), Some(state), "data", &mut ()).expect_err("a refusal").to_string();
    assert!(error.contains("expected optimizer/layers.0.weight.momentum, got none"), "{error}");
    Ok(())
}

/// What three steps with these gradients make of a weight.
fn stepped(optimizer: &OptimizerSpec, identity: Identity) -> Result<Weights> {
    let (params, vb) = Params::seeded(Seed(3), &DEVICE);
    let (model, teacher) = (Mlp::new(&net(6), vb.clone())?, teacher()?);
    let context = Context::new(&model, Some(&teacher), &[], &params, &vb);
    let method = kd_core::method::Recipe::build(&soft(4.), &context)?;
    let recipe = TrainSpec { optimizer: optimizer.clone(), ..recipe(2) };
    let fit = Fit {
        teacher: Some(&teacher),
        identity,
        ..Fit::new(&model, &params, &*method, &Points, &recipe, Seed(3), &DEVICE)
    };
    fit.run(&mut ())?;
    bits(&params)
}

#[test]
fn dot_with_no_difference_is_sgd_and_with_one_it_is_not() -> Result<()> {
    let sgd = stepped(
        &OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-3 },
        Identity::default(),
    )?;
    let dot = |delta| {
        stepped(
            &OptimizerSpec::Dot { momentum: 0.9, delta, weight_decay: 1e-3 },
            Identity::default(),
        )
    };
    let float = |weights: &Weights| -> Vec<f32> {
        weights.values().flatten().map(|bits| f32::from_bits(*bits)).collect()
    };
    let gap = |a: &Weights, b: &Weights| {
        float(a).iter().zip(float(b)).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
    };
    let (same, apart) = (dot(0.)?, dot(0.05)?);
    assert!(gap(&sgd, &same) < 1e-5, "{}", gap(&sgd, &same));
    assert!(gap(&sgd, &apart) > 1e-3, "{}", gap(&sgd, &apart));
    Ok(())
}

#[test]
fn a_method_without_a_teacher_and_a_term_that_is_not_finite_are_named() -> Result<()> {
    let (params, vb) = Params::seeded(Seed(3), &DEVICE);
    let model = Mlp::new(&net(6), vb.clone())?;
    let Err(error) = Remembering::build(&Context::new(&model, None, &[], &params, &vb)) else {
        panic!("built without a teacher")
    };
    assert!(error.is_bad_input() && error.to_string().contains("needs a teacher"), "{error}");
    let wild = TrainSpec { learning_rate: 1e30, ..recipe(3) };
    let method = HardTargets::default();
    match Fit::new(&model, &params, &method, &Points, &wild, Seed(3), &DEVICE).run(&mut ()) {
        Err(Error::NonFinite { term, .. }) => assert_eq!(term, "hard"),
        other => panic!("expected a stop, got {other:?}"),
    }
    Ok(())
}
