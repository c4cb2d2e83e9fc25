//! A method of a user's own, with an adapter, a memory and taps of both networks, through the loop.

use std::path::PathBuf;
use std::sync::Mutex;

use candle_core::Tensor;
use candle_nn::Init;
use kd_core::Result;
use kd_core::frozen::Teacher;
use kd_core::loss::{cross_entropy, hint};
use kd_core::method::{Context, Distillation, Step, Teaching, Term, Wants};
use kd_core::model::mlp::Mlp;
use kd_core::params::{Params, buffer};
use kd_core::seed::Seed;
use kd_core::stored_outputs::StoredOutputs;
use kd_core::train::{EpochRecord, Fit, Observer};

use super::toy::*;

/// A method of a user's own: a linear adapter from the student's features to the teacher's, and a
/// memory of the features of each example, which moves with them and does not train.
pub(super) struct Remembering {
    wants: Wants,
    adapter: Tensor,
    memory: candle_core::Var,
    epochs_seen: Mutex<Vec<usize>>,
}

impl Remembering {
    pub(super) fn build(context: &Context) -> Result<Self> {
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

pub(super) fn remembering(
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
