//! Methods with adapters, phases and memories through the training loop, on a toy problem.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use candle_nn::Init;
use kd_core::frozen::{Frozen, Teacher};
use kd_core::loss::{cross_entropy, hint};
use kd_core::method::hard_targets::HardTargets;
use kd_core::method::{
    Context, Distillation, MethodSpec, Step, Teaching, Term, Wants, hard_targets, soft_targets,
};
use kd_core::model::Model;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::{Params, buffer};
use kd_core::seed::{Seed, StepSeed};
use kd_core::stored_outputs::StoredOutputs;
use kd_core::train::{
    Batch, EpochRecord, Examples, Fit, Identity, Observer, OptimizerSpec, Phase, Phases, Schedule,
    TrainSpec, Trains, checkpoint,
};
use kd_core::{Error, Result};
use kd_kernels::conv2d::Precision;

const DEVICE: Device = Device::Cpu;
const POINTS: usize = 40;

/// Points of eight dimensions: two classes by the sign of their sum.
struct Points;

impl Examples for Points {
    fn len(&self) -> usize {
        POINTS
    }

    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let points: Vec<f32> = rows
            .iter()
            .flat_map(|&r| (0..8).map(move |i| ((r * 8 + i) as f32 * 0.7).sin()))
            .collect();
        let labels: Vec<u32> =
            points.chunks(8).map(|p| u32::from(p.iter().sum::<f32>() > 0.)).collect();
        let inputs = Tensor::from_vec(points, (rows.len(), 8), device)?;
        Ok(Batch {
            inputs,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }
}

fn net(hidden: usize) -> MlpSpec {
    MlpSpec {
        inputs: 8,
        hidden: vec![hidden],
        classes: 2,
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    }
}

fn teacher() -> Result<Teacher> {
    teacher_of(Seed(9))
}

fn teacher_of(seed: Seed) -> Result<Teacher> {
    let (params, vb) = Params::seeded(seed, &DEVICE);
    Mlp::new(&net(12), vb)?;
    Frozen::build(params.snapshot()?, &DEVICE, |vb| {
        Ok(Box::new(Mlp::new(&net(12), vb)?) as Box<dyn Model>)
    })
}

fn recipe(epochs: usize) -> TrainSpec {
    TrainSpec {
        epochs,
        batch_size: 8,
        learning_rate: 0.05,
        schedule: Schedule::Constant {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3 },
        max_norm: 0.,
        average_epochs: 0,
    }
}

/// A method of a user's own: a linear adapter from the student's features to the teacher's, and a
/// memory of the features of each example, which moves with them and does not train.
struct Remembering {
    wants: Wants,
    adapter: Tensor,
    memory: candle_core::Var,
    epochs_seen: Mutex<Vec<usize>>,
}

impl Remembering {
    fn build(context: &Context) -> Result<Self> {
        let (from, to) = (
            context.student().tap("hidden.0")?.channels,
            context.teacher_model()?.tap("hidden.0")?.channels,
        );
        let adapter = context.vb().get_with_hints(
            (from, to),
            "adapter",
            Init::Randn { mean: 0., stdev: 0.3 },
        )?;
        buffer(context.vb(), (POINTS, from), "memory", Init::Const(0.))?;
        let wants = Wants {
            student_taps: vec!["hidden.0".into()],
            teaching: Teaching::Live { taps: vec!["hidden.0".into()] },
            ..Wants::default()
        };
        Ok(Self { wants, adapter, memory: context.var("memory")?, epochs_seen: Mutex::default() })
    }
}

impl Distillation for Remembering {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        self.epochs_seen.lock().expect("a lock").push(step.epoch);
        let student = &step.student()?.taps[0];
        let old = self
            .memory
            .as_detached_tensor()
            .index_select(&Tensor::new(step.numbers, &DEVICE)?, 0)?;
        Ok(vec![
            Term::task("hard", cross_entropy(&step.student()?.logits, step.labels)?, 1.),
            Term::teacher(
                "hint",
                hint(&student.matmul(&self.adapter)?, &step.teacher()?.taps[0])?,
                0.5,
            ),
            Term::teacher("old", hint(student, &old)?, 0.1),
        ])
    }

    fn remember(&self, step: &Step) -> Result<()> {
        let mut rows = self.memory.as_detached_tensor().to_vec2::<f32>()?;
        let new = step.student()?.taps[0].detach().to_vec2::<f32>()?;
        for (number, values) in step.numbers.iter().zip(new) {
            for (old, value) in rows[*number as usize].iter_mut().zip(values) {
                *old = 0.5 * *old + 0.5 * value;
            }
        }
        self.memory.set(&Tensor::new(rows, &DEVICE)?)?;
        Ok(())
    }
}

type Weights = BTreeMap<String, Vec<u32>>;

fn bits(params: &Params) -> Result<Weights> {
    let bits = |t: Tensor| -> Result<Vec<u32>> {
        Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    params.snapshot()?.into_iter().map(|(name, t)| Ok((name, bits(t)?))).collect()
}

/// Stops a run as a kill does, after so many epochs that it trained itself, and counts those of an
/// earlier process.
struct Stop {
    after: usize,
    trained: usize,
    resumed: usize,
}

impl Stop {
    fn after(after: usize) -> Self {
        Self { after, trained: 0, resumed: 0 }
    }
}

impl Observer for Stop {
    fn epoch(&mut self, _: &EpochRecord) {
        self.trained += 1;
        assert!(self.trained <= self.after, "stopped as if killed");
    }

    fn resumed(&mut self, _: &EpochRecord) {
        self.resumed += 1;
    }
}

/// Asks a run to stop after so many steps that it makes itself.
struct Ask {
    after: usize,
    made: usize,
}

impl Observer for Ask {
    fn epoch(&mut self, _: &EpochRecord) {}

    fn stops(&mut self) -> bool {
        self.made += 1;
        self.made >= self.after
    }

    fn resumed(&mut self, _: &EpochRecord) {}
}

type Outcome = Result<Option<(Weights, Vec<EpochRecord>)>>;

/// Runs `train` again and again, each time for so many steps, to its end; with how often it was
/// stopped.
fn in_parts(
    steps: usize,
    train: impl Fn(&mut dyn Observer) -> Outcome,
) -> Result<(usize, Weights, Vec<EpochRecord>)> {
    for stops in 0..1000 {
        match train(&mut Ask { after: steps, made: 0 }) {
            Err(Error::Stopped { .. }) => {}
            done => {
                let (weights, records) = done?.expect("an end");
                return Ok((stops, weights, records));
            }
        }
    }
    panic!("no end");
}

/// The records without the time that they took.
fn timeless(records: &[EpochRecord]) -> Vec<EpochRecord> {
    records.iter().map(|record| EpochRecord { seconds: 0., ..record.clone() }).collect()
}

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

/// Runs `train` until it is stopped; none then.
fn until_stopped<T>(train: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(train))
        .map_or(Ok(None), |done| done.map(Some))
}

fn remembering(
    state: Option<PathBuf>,
    stop: &mut dyn Observer,
) -> Result<Option<(Weights, Vec<EpochRecord>)>> {
    let (params, vb) = Params::seeded(Seed(3), &DEVICE);
    let (model, teacher, recipe) = (Mlp::new(&net(6), vb.clone())?, teacher()?, recipe(4));
    let method = Remembering::build(&Context::new(&model, Some(&teacher), &[], &params, &vb))?;
    let fit = Fit {
        teacher: Some(&teacher),
        state,
        ..Fit::new(&model, &params, &method, &Points, &recipe, Seed(3), &DEVICE)
    };
    let Some(records) = until_stopped(|| fit.run(stop))? else { return Ok(None) };
    Ok(Some((bits(&params)?, records)))
}

#[test]
fn a_method_of_ones_own_trains_its_adapter_and_moves_its_memory_and_goes_on_to_the_same_bits()
-> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, records) = remembering(None, &mut Stop::after(4))?.expect("an end");
    assert_eq!(records[0].terms.keys().collect::<Vec<_>>(), ["hard", "hint", "old"]);
    assert!(records[3].terms["hint"] < 0.9 * records[0].terms["hint"], "{records:?}");
    // What trains and what does not: the memory is no parameter of an optimiser, and no decay has
    // touched it.
    let (params, vb) = Params::seeded(Seed(3), &DEVICE);
    let (model, teacher) = (Mlp::new(&net(6), vb.clone())?, teacher()?);
    Remembering::build(&Context::new(&model, Some(&teacher), &[], &params, &vb))?;
    let start = bits(&params)?;
    assert!(
        params.named().iter().any(|(name, _)| name == "method.adapter")
            && params.buffers().iter().any(|(name, _)| name == "method.memory")
    );
    assert_eq!(params.without("method.").count(), params.count() - 6 * 12);
    for name in ["method.adapter", "method.memory", "layers.0.weight"] {
        assert_ne!(start[name], whole[name], "{name}");
    }
    for stop in 1..4 {
        let state = Some(dir.path().join(format!("{stop}.safetensors")));
        assert!(remembering(state.clone(), &mut Stop::after(stop))?.is_none());
        let mut last = Stop::after(4);
        let (resumed, again) = remembering(state, &mut last)?.expect("an end");
        assert!(resumed == whole, "stopped after epoch {stop}");
        assert_eq!((last.resumed, last.trained), (stop, 4 - stop));
        let losses =
            |records: &[EpochRecord]| records.iter().map(|r| r.loss.to_bits()).collect::<Vec<_>>();
        assert_eq!(losses(&records), losses(&again));
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

#[test]
fn stored_outputs_of_a_teacher_give_the_weights_of_a_live_one_and_spare_it() -> Result<()> {
    let (dir, live) = (tempfile::tempdir().expect("a folder"), teacher()?);
    // Its answers are in no student's weights while those of the first are stored.
    let other = teacher_of(Seed(10))?;
    let store = || StoredOutputs::open(dir.path(), &"live", POINTS, None, 1 << 30);
    let trained = |teacher: &Teacher, stored: Option<&StoredOutputs>| -> Result<Weights> {
        let (params, vb) = Params::seeded(Seed(3), &DEVICE);
        let model = Mlp::new(&net(6), vb.clone())?;
        let method = Remembering::build(&Context::new(&model, Some(teacher), &[], &params, &vb))?;
        let spec = recipe(3);
        let fit = Fit {
            teacher: Some(teacher),
            stored,
            ..Fit::new(&model, &params, &method, &Points, &spec, Seed(3), &DEVICE)
        };
        fit.run(&mut Stop::after(3))?;
        bits(&params)
    };
    let expected = trained(&live, None)?;
    assert_ne!(trained(&other, None)?, expected);
    assert_eq!(trained(&live, Some(&store()?))?, expected, "while they are stored");
    assert_eq!(trained(&other, Some(&store()?))?, expected, "from the store");
    Ok(())
}
