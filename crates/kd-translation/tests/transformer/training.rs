//! Training on sentence pairs: accumulation, resumption, threads, and what is refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use candle_core::{Device, Tensor};
use kd_core::params::{Params, build_frozen};
use kd_core::seed::StepSeed;
use kd_core::train::{EpochRecord, OptimizerSpec, Task, Training, Trains};
use kd_core::{Error, Result, Seed};
use kd_kernels::{Gradients, Precision};
use kd_translation::generated_student::{Form, GeneratedStudent, Start};
use kd_translation::token_batches::{BatchSize, TokenBatches, TokenPairs};
use kd_translation::training::Measure;
use kd_translation::transformer::{Transformer, TransformerSpec};
use kd_translation::{Learner, Pairs, TranslationSpec, TranslationTask, WordDistillation};

use super::generator::{generated, whole};
use super::{close_in_norm, drawn, formula, norm, spec, stack, words};

const VOCABULARY: usize = 300;

pub fn network(dropout: f64) -> TransformerSpec {
    let plain = spec(VOCABULARY, VOCABULARY, stack(2, 32, 64), stack(2, 32, 64));
    TransformerSpec { dropout, attention_dropout: dropout, relu_dropout: dropout, ..plain }
}

pub fn recipe(updates: usize, updates_per_epoch: usize) -> TranslationSpec {
    TranslationSpec {
        updates,
        updates_per_epoch,
        tokens: 120,
        accumulate: 1,
        learning_rate: 2e-3,
        warm_up: 4,
        initial_rate: 1e-7,
        optimizer: OptimizerSpec::Adam {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.,
            decoupled: false,
        },
        label_smoothing: 0.1,
        average_epochs: 0,
        precision: Precision::Float32,
    }
}

/// Forty pairs of one to twelve words.
pub fn text(tokens: usize) -> Result<TokenBatches> {
    let side = |name: &str, by: usize| {
        (0..40).map(|i| words(1 + (by * i) % 12, VOCABULARY, &format!("{name} {i}"))).collect()
    };
    Ok(TokenBatches::new(
        TokenPairs { source: side("source", 5), target: side("target", 7) },
        BatchSize { tokens, pairs: None },
    )?)
}

pub fn task<'a>(
    learner: Learner<'a>,
    params: &'a Params,
    teacher: Option<WordDistillation<'a>>,
    text: &'a TokenBatches,
    spec: &'a TranslationSpec,
) -> Result<TranslationTask<'a>> {
    let pairs = Pairs::new(text, Seed(3))?;
    Ok(TranslationTask {
        learner,
        params,
        teacher,
        pairs,
        spec,
        device: &Device::Cpu,
        measure: None,
    })
}

pub fn by_name(params: &Params, gradients: &Gradients) -> BTreeMap<String, Tensor> {
    params
        .named()
        .into_iter()
        .filter_map(|(name, var)| Some((name, gradients.get(var.as_tensor())?.clone())))
        .collect()
}

pub fn draws(epoch: usize, step: usize) -> StepSeed {
    StepSeed { seed: Seed(3), epoch, step }
}

#[test]
fn two_batches_accumulated_make_the_update_of_one_batch_with_both() -> Result<()> {
    let (params, network) = drawn(&network(0.), 1)?;
    let (text, recipe) = (text(120)?, recipe(4, 4));
    let task = task(Learner::Network(&network), &params, None, &text, &recipe)?;
    let rows = [&[3u32, 8, 20][..], &[1, 30]];
    let batch = |rows: &[u32]| Ok::<_, Error>(text.batch(rows, &Device::Cpu)?);
    let (apart, apart_terms) =
        task.gradients(&vec![batch(rows[0])?, batch(rows[1])?], draws(0, 0))?;
    let (together, terms) = task.gradients(&vec![batch(&rows.concat())?], draws(0, 0))?;
    let (apart_terms, terms) = (apart_terms.read()?, terms.read()?);
    assert!(
        (apart_terms[0].value / terms[0].value - 1.).abs() < 1e-6,
        "{apart_terms:?}, expected {terms:?}"
    );
    let (apart, together) = (by_name(&params, &apart), by_name(&params, &together));
    assert_eq!(apart.len(), params.named().len());
    for (name, gradient) in &together {
        let size = norm(&by_size(name, &together))?;
        close_in_norm(&apart[name], gradient, size, 1e-5, name)?;
    }
    Ok(())
}

#[test]
fn a_step_in_bfloat16_has_nearly_the_gradients_of_one_in_float32() -> Result<()> {
    let (params, network) = drawn(&network(0.), 1)?;
    let (text, exact) = (text(120)?, recipe(4, 4));
    let coarse = TranslationSpec { precision: Precision::Bfloat16, ..exact.clone() };
    let gradients = |spec: &TranslationSpec| -> Result<_> {
        let task = task(Learner::Network(&network), &params, None, &text, spec)?;
        let (gradients, terms) = task.gradients(&task.batch(draws(0, 0))?, draws(0, 0))?;
        Ok((by_name(&params, &gradients), terms.read()?[0].value))
    };
    let ((exact, loss), (coarse, coarse_loss)) = (gradients(&exact)?, gradients(&coarse)?);
    assert!((coarse_loss / loss - 1.).abs() < 1e-3, "{coarse_loss}, expected about {loss}");
    for (name, exact) in &exact {
        let size = norm(&by_size(name, &coarse))?;
        assert!(norm(&(&coarse[name] - exact)?)? < 0.03 * size, "{name}");
    }
    assert!(
        coarse.iter().any(|(name, coarse)| norm(&(coarse - &exact[name]).unwrap()).unwrap() > 0.),
        "nothing was rounded"
    );
    Ok(())
}

/// The gradient against whose size errors are measured: that of a key's bias is 0 but for rounding.
fn by_size(name: &str, gradients: &BTreeMap<String, Tensor>) -> Tensor {
    gradients[&name.replace("k_proj.bias", "k_proj.weight")].clone()
}

#[test]
fn the_batches_of_an_update_are_those_of_the_run_in_their_order_and_drop_different_elements()
-> Result<()> {
    let (params, network) = drawn(&network(0.2), 1)?;
    let (text, single) = (text(120)?, recipe(12, 4));
    let pairs =
        TranslationSpec { accumulate: 2, updates: 6, updates_per_epoch: 2, ..single.clone() };
    let (one, two) = (
        task(Learner::Network(&network), &params, None, &text, &single)?,
        task(Learner::Network(&network), &params, None, &text, &pairs)?,
    );
    for update in 0..6 {
        let both = two.batch(draws(update / 2, update % 2))?;
        for (i, batch) in both.iter().enumerate() {
            let at = 2 * update + i;
            let alone = &one.batch(draws(at / 4, at % 4))?[0];
            assert_eq!(
                batch.target_out.to_vec2::<u32>()?,
                alone.target_out.to_vec2::<u32>()?,
                "batch {at}"
            );
        }
    }
    // Twice the same batch: the same masks would make the mean its own loss.
    let same = vec![two.batch(draws(0, 0))?.remove(0), two.batch(draws(0, 0))?.remove(0)];
    let (twice, once) =
        (two.gradients(&same, draws(0, 0))?.1, one.gradients(&same[..1].to_vec(), draws(0, 0))?.1);
    let (twice, once) = (twice.read()?, once.read()?);
    assert!((twice[0].value - once[0].value).abs() > 1e-4, "{twice:?} and {once:?}");
    Ok(())
}

/// What trains in a test.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Network,
    Distilled,
    Generated,
}

/// Trains for so many epochs of three updates; "killed" after `stop_after`.
fn train(
    kind: Kind,
    epochs: usize,
    average_epochs: usize,
    state: Option<PathBuf>,
    stop_after: usize,
) -> Result<(Vec<Vec<f64>>, Vec<u64>)> {
    let (spec, recipe) =
        (network(0.2), TranslationSpec { accumulate: 2, average_epochs, ..recipe(3 * epochs, 3) });
    let (text, tensors) = (text(120)?, drawn(&network(0.), 2)?.0.snapshot()?);
    let teacher =
        build_frozen(tensors.clone(), &Device::Cpu, |vb| Transformer::new(&network(0.), vb))?;
    let made: (Params, Option<Transformer>, Option<GeneratedStudent>) = match kind {
        Kind::Generated => {
            let (params, student) = generated(
                &spec.tiny(),
                &spec,
                &tensors,
                &whole(Form::ReleasedCode, Start::Random),
            )?;
            (params, None, Some(student))
        }
        _ => drawn(&spec.tiny(), 1).map(|(params, network)| (params, Some(network), None))?,
    };
    let (params, ordinary, student) = &made;
    let learner = match (ordinary, student) {
        (Some(network), _) => Learner::Network(network),
        (_, Some(student)) => Learner::Generated(student),
        _ => unreachable!("one of them is made"),
    };
    let teacher =
        (kind == Kind::Distilled).then_some(WordDistillation { teacher: &teacher, weight: 0.7 });
    let task = task(learner, params, teacher, &text, &recipe)?;
    let training = Training {
        params,
        trains: &Trains::All,
        earlier: &[],
        spec: &recipe,
        epochs: recipe.epochs(),
        average_epochs,
        optimizer: &recipe.optimizer,
        max_norm: None,
        seed: Seed(3),
        device: &Device::Cpu,
        state,
        resume: true,
        save_every: Duration::ZERO,
    };
    let run = std::panic::AssertUnwindSafe(|| {
        training.run(&task, &mut |record: &EpochRecord| {
            assert!(record.epoch <= stop_after, "stopped as if killed")
        })
    });
    let records = std::panic::catch_unwind(run).unwrap_or_else(|_| Ok(Vec::new()))?;
    let weights = params
        .named()
        .iter()
        .map(|(_, var)| formula::values(var.as_tensor()))
        .collect::<candle_core::Result<_>>()?;
    Ok((weights, records.iter().map(|r| r.loss.to_bits()).collect()))
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_weights_and_losses_bit_for_bit() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    for (i, kind) in [Kind::Network, Kind::Distilled, Kind::Generated].into_iter().enumerate() {
        for average_epochs in [0, 3] {
            let state = Some(dir.path().join(format!("{i}-{average_epochs}.safetensors")));
            let whole = train(kind, 4, average_epochs, None, 4)?;
            assert!(
                train(kind, 4, average_epochs, state.clone(), 2)?.1.is_empty(),
                "it was not stopped"
            );
            assert!(state.as_ref().is_some_and(|path| path.exists()));
            let resumed = train(kind, 4, average_epochs, state, 4)?;
            assert_eq!(whole.1.len(), 4);
            assert!(whole == resumed, "losses {:?}, expected {:?}", resumed.1, whole.1);
        }
    }
    Ok(())
}

#[test]
fn weights_and_losses_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for kind in [Kind::Network, Kind::Distilled, Kind::Generated] {
        let with = |threads: usize| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| train(kind, 2, 0, None, 2))
        };
        let one = with(1)?;
        for threads in [2, 3] {
            let other = with(threads)?;
            assert!(one == other, "{threads} threads: losses {:?}, expected {:?}", other.1, one.1);
        }
    }
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_naming_term_epoch_and_step_before_it_is_learnt_from()
-> Result<()> {
    let (params, network) = drawn(&network(0.), 1)?;
    let (text, recipe) = (text(120)?, recipe(8, 4));
    let table = params
        .named()
        .into_iter()
        .find(|(name, _)| name == "encoder.layers.0.fc1.weight")
        .expect("a weight")
        .1;
    // The weight is spoiled between the first epoch and the second.
    let spoil = |epoch: usize| -> Result<BTreeMap<String, f64>> {
        assert_eq!(epoch, 0);
        table.set(&(table.as_tensor() * f64::NAN)?)?;
        Ok(BTreeMap::new())
    };
    let spoil: &Measure = &spoil;
    let task = TranslationTask {
        measure: Some(spoil),
        ..task(Learner::Network(&network), &params, None, &text, &recipe)?
    };
    let training = Training {
        params: &params,
        trains: &Trains::All,
        earlier: &[],
        spec: &recipe,
        epochs: 2,
        average_epochs: 0,
        optimizer: &recipe.optimizer,
        max_norm: None,
        seed: Seed(3),
        device: &Device::Cpu,
        state: None,
        resume: true,
        save_every: Duration::ZERO,
    };
    let mut seen = Vec::new();
    match training.run(&task, &mut |record: &EpochRecord| seen.push(record.epoch)) {
        Err(Error::NonFinite { term, epoch: 2, step: 1, .. }) => assert_eq!(term, "cross-entropy"),
        other => panic!("expected a stop, got {other:?}"),
    }
    assert_eq!(seen, [1]);
    let bias = params
        .named()
        .into_iter()
        .find(|(name, _)| name == "decoder.layers.0.fc1.bias")
        .expect("a bias")
        .1;
    assert!(
        formula::values(bias.as_tensor())?.iter().all(|v| v.is_finite()),
        "NaN was learnt from"
    );
    match task.gradients(&task.batch(draws(2, 3))?, draws(2, 3)) {
        Err(Error::NonFinite { epoch: 3, step: 4, .. }) => Ok(()),
        other => panic!("expected a refusal, got {:?}", other.map(|(_, terms)| terms)),
    }
}

#[test]
fn the_rate_rises_linearly_to_its_peak_and_then_falls_with_the_root_of_the_updates() -> Result<()> {
    let recipe = TranslationSpec { learning_rate: 7e-4, warm_up: 4000, ..recipe(30_000, 500) };
    let (params, network) = drawn(&network(0.), 1)?;
    let text = text(120)?;
    let task = task(Learner::Network(&network), &params, None, &text, &recipe)?;
    for (done, expected) in [
        (0, 1e-7),
        (1000, 1.75075e-4),
        (3999, 6.998_250_25e-4),
        (4000, 7e-4),
        (16_000, 3.5e-4),
        (29_999, 2.556_080_8e-4),
    ] {
        let rate = task.learning_rate(done / 500, done % 500);
        assert!(
            (rate / expected - 1.).abs() < 1e-6,
            "after {done} updates: {rate}, expected {expected}"
        );
    }
    let flat = TranslationSpec { warm_up: 0, ..recipe.clone() };
    assert_eq!([0, 1, 29_999].map(|done| flat.rate(done)), [7e-4; 3]);
    Ok(())
}

#[test]
fn hyper_parameters_outside_their_domain_are_bad_input_that_names_them() {
    let sgd = OptimizerSpec::Sgd { momentum: 1., nesterov: false, weight_decay: 0. };
    let cases = [
        (recipe(7, 3), "updates"),
        (recipe(usize::MAX, 3), "updates"),
        (recipe(6, 0), "updates-per-epoch"),
        (recipe(6, usize::MAX), "updates-per-epoch"),
        (TranslationSpec { tokens: 0, ..recipe(6, 3) }, "tokens"),
        (TranslationSpec { tokens: usize::MAX, ..recipe(6, 3) }, "tokens"),
        (TranslationSpec { accumulate: 0, ..recipe(6, 3) }, "accumulate"),
        (TranslationSpec { accumulate: usize::MAX, ..recipe(6, 3) }, "accumulate"),
        (TranslationSpec { learning_rate: f64::NAN, ..recipe(6, 3) }, "learning-rate"),
        (TranslationSpec { initial_rate: 1., ..recipe(6, 3) }, "initial-rate"),
        (TranslationSpec { label_smoothing: 1., ..recipe(6, 3) }, "label-smoothing"),
        (TranslationSpec { average_epochs: 3, ..recipe(6, 3) }, "average-epochs"),
        (TranslationSpec { optimizer: sgd, ..recipe(6, 3) }, "momentum"),
    ];
    for (spec, part) in cases {
        let e = spec.check().expect_err(part);
        assert!(e.is_bad_input() && e.to_string().contains(part), "{e}");
    }
    assert!(recipe(6, 3).check().is_ok());
}

#[test]
fn each_pass_over_the_text_shows_every_pair_once() -> Result<()> {
    let text = text(60)?;
    let pairs = Pairs::new(&text, Seed(3))?;
    let (mut index, mut orders) = (0, Vec::new());
    for _ in 0..3 {
        let mut seen = Vec::new();
        while seen.len() < text.len() {
            seen.extend(pairs.rows(index));
            index += 1;
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..40).collect::<Vec<u32>>());
        orders.push(seen);
    }
    assert!(orders[0] != orders[1] && orders[1] != orders[2], "passes have the same order");
    // Asked for out of order, as a resumed run does.
    let again = Pairs::new(&text, Seed(3))?;
    assert_eq!(again.rows(index - 1), pairs.rows(index - 1));
    assert_eq!(again.rows(0), pairs.rows(0));
    Ok(())
}
