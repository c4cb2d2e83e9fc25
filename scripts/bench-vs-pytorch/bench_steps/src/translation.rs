//! Training steps of Transformers for translation and of weight distillation's generator, and beam
//! search, on random words.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_base::atomic;
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Optimizer, OptimizerSpec, Task, checkpoint};
use kd_core::{Error, Result};
use kd_kernels::Precision;
use kd_translation::bpe::EOS;
use kd_translation::generated_student::classes::Block;
use kd_translation::generated_student::{Form, GeneratedStudent, GeneratorSpec, Start};
use kd_translation::search::Hypothesis;
use kd_translation::token_batches::{BatchSize, TokenBatch, TokenBatches, TokenPairs};
use kd_translation::transformer::{Embeddings, Norm, Stack, Transformer, TransformerSpec};
use kd_translation::{Learner, Pairs, Search, TranslationSpec, TranslationTask, translate};

use crate::Arguments;
use crate::work::Timed;

const VOCABULARY: usize = 6000;
const PAIRS: usize = 64;
/// Words of a sentence, its end included.
const WORDS: usize = 16;
/// Batches that the steps go through in turn.
const BATCHES: usize = 4;
const BEAM: usize = 4;
/// Steps of a search.
const WRITTEN: usize = 24;

/// The timed steps of `translation-{teacher,tiny,small,generator}-step`, with `-bfloat16` after it
/// or not, or of `translation-{teacher,tiny}-search`.
pub fn run(workload: &str, arguments: &Arguments) -> Result<Timed> {
    let (teacher, rest) = (teacher(), workload.strip_prefix("translation-").unwrap_or_default());
    let (rest, precision) = match rest.strip_suffix("-bfloat16") {
        Some(rest) => (rest, Precision::Bfloat16),
        None => (rest, Precision::Float32),
    };
    match rest {
        "teacher-step" => training(&teacher, precision, arguments),
        "tiny-step" => training(&teacher.tiny(), precision, arguments),
        "small-step" => training(&teacher.small(), precision, arguments),
        "generator-step" => generator(&teacher, precision, arguments),
        "teacher-search" if precision == Precision::Float32 => search(&teacher, arguments),
        "tiny-search" if precision == Precision::Float32 => search(&teacher.tiny(), arguments),
        _ => Err(Error::bad_input(format!("unknown workload {workload}"))),
    }
}

fn teacher() -> TransformerSpec {
    let stack = Stack { layers: 6, width: 256, feed_forward: 1024, heads: 4 };
    TransformerSpec {
        source_vocabulary: VOCABULARY,
        target_vocabulary: VOCABULARY,
        encoder: stack,
        decoder: stack,
        norm: Norm::Post,
        embeddings: Embeddings::Separate,
        dropout: 0.1,
        attention_dropout: 0.1,
        relu_dropout: 0.1,
    }
}

fn drawn(spec: &TransformerSpec) -> Result<(Params, Transformer)> {
    let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let network = Transformer::new(spec, vb)?;
    Ok((params, network))
}

/// Random sentences, without their ends.
fn sentences(count: usize, purpose: &str) -> Vec<Vec<u32>> {
    let mut words = vec![0; count * (WORDS - 1)];
    Seed(1).stream(purpose, 0, 0).fill_u32(0, &mut words);
    words
        .chunks(WORDS - 1)
        .map(|sentence| sentence.iter().map(|word| 4 + word % (VOCABULARY as u32 - 4)).collect())
        .collect()
}

fn training(spec: &TransformerSpec, precision: Precision, arguments: &Arguments) -> Result<Timed> {
    let (params, network) = drawn(spec)?;
    steps(Learner::Network(&network), &params, precision, forward(spec), arguments)
}

/// The first phase of weight distillation: TINY, every weight computed from the teacher's at every
/// step.
fn generator(
    teacher: &TransformerSpec,
    precision: Precision,
    arguments: &Arguments,
) -> Result<Timed> {
    let (tiny, tensors) = (teacher.tiny(), drawn(teacher)?.0.snapshot()?);
    let blocks = vec![Block::Attention, Block::FeedForward];
    let spec = GeneratorSpec {
        form: Form::ReleasedCode,
        start: Start::Random,
        encoder: blocks.clone(),
        decoder: blocks,
        embeddings: true,
    };
    let (params, vb) = Params::seeded(Seed(1), &Device::Cpu);
    let student = GeneratedStudent::new(&tiny, teacher, &tensors, &spec, &vb)?;
    let maps = maps(&student.materialise()?, &tensors, teacher.decoder.layers);
    steps(Learner::Generated(&student), &params, precision, forward(&tiny) + maps, arguments)
}

fn steps(
    learner: Learner,
    params: &Params,
    precision: Precision,
    multiply_adds: f64,
    arguments: &Arguments,
) -> Result<Timed> {
    let pairs = TokenPairs {
        source: sentences(BATCHES * PAIRS, "bench.source"),
        target: sentences(BATCHES * PAIRS, "bench.target"),
    };
    let text = TokenBatches::new(pairs, BatchSize { tokens: PAIRS * WORDS, pairs: None })?;
    let rows = |i: usize| (i * PAIRS..(i + 1) * PAIRS).map(|row| row as u32).collect::<Vec<_>>();
    let batches = (0..BATCHES)
        .map(|i| Ok(vec![text.batch(&rows(i), &Device::Cpu)?]))
        .collect::<Result<Vec<Vec<TokenBatch>>>>()?;
    let spec = TranslationSpec {
        updates: 1000,
        updates_per_epoch: 1000,
        tokens: PAIRS * WORDS,
        accumulate: 1,
        learning_rate: 7e-4,
        warm_up: 4000,
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
        precision,
    };
    let (pairs, device) = (Pairs::new(&text, Seed(1))?, &Device::Cpu);
    let task = TranslationTask {
        learner,
        params,
        teacher: None,
        pairs,
        spec: &spec,
        device,
        measure: None,
    };
    let mut optimizer = Optimizer::new(&spec.optimizer, None, params)?;
    Timed::run(arguments, 3. * multiply_adds, |step| {
        let draws = StepSeed { seed: Seed(1), epoch: 0, step };
        let (gradients, _) = task.gradients(&batches[step % BATCHES], draws)?;
        optimizer.step(&gradients, task.learning_rate(0, step))
    })
}

/// Beam search that no end of sentence cuts short.
fn search(spec: &TransformerSpec, arguments: &Arguments) -> Result<Timed> {
    let (params, network) = drawn(spec)?;
    let set = |name: &str, change: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>| -> Result<()> {
        let (_, var) = params
            .named()
            .into_iter()
            .find(|(n, _)| n == name)
            .ok_or_else(|| Error::bad_input(format!("no {name}")))?;
        Ok(var.set(&change(var.as_tensor())?)?)
    };
    // What is normalised sums to 0, so with these the logit of the end is −0.1·width, far below the
    // best.
    set(&format!("decoder.layers.{}.final_layer_norm.bias", spec.decoder.layers - 1), &|bias| {
        bias + 0.1
    })?;
    set("decoder.output_projection.weight", &|table| {
        let (end, width) = (EOS as usize, table.dim(1)?);
        table.slice_assign(
            &[end..end + 1, 0..width],
            &Tensor::full(-1f32, (1, width), &Device::Cpu)?,
        )
    })?;
    let sources = sentences(PAIRS, "bench.source");
    let search = Search {
        beam: BEAM,
        length_penalty: 1.,
        length_factor: 0.,
        length_extra: WRITTEN - 1,
        batch: PAIRS,
    };
    if let Some(folder) = &arguments.export {
        export(
            folder,
            spec,
            &params,
            &sources,
            &translate(&network, &sources, &search, &mut |_| ())?,
        )?;
    }
    let (read, written) = (
        read(spec, WORDS),
        BEAM as f64 * written(spec, WRITTEN as f64 / 2., WORDS) * WRITTEN as f64,
    );
    Timed::run(arguments, PAIRS as f64 * (read + written), |_| {
        let found = translate(&network, &sources, &search, &mut |_| ())?;
        if found.iter().any(|hypothesis| hypothesis.words.len() != WRITTEN - 1) {
            return Err(Error::bad_input(
                "a translation ended by itself: expected each to be cut off",
            ));
        }
        Ok(())
    })
}

/// What another program needs to do the same search: weights, and words as numbers, a sentence a
/// line.
fn export(
    folder: &Path,
    spec: &TransformerSpec,
    params: &Params,
    sources: &[Vec<u32>],
    found: &[Hypothesis],
) -> Result<()> {
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::bad_input(format!("{}: {e}", folder.display())))?;
    checkpoint::save(&folder.join("network.safetensors"), &params.snapshot()?, spec)?;
    let line = |words: &Vec<u32>| {
        format!("{}\n", words.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
    };
    atomic::write(
        &folder.join("sources.txt"),
        sources.iter().map(line).collect::<String>().as_bytes(),
    )?;
    atomic::write(
        &folder.join("translations.txt"),
        found.iter().map(|h| line(&h.words)).collect::<String>().as_bytes(),
    )?;
    Ok(())
}

/// Multiply-adds of a batch's forward pass.
fn forward(spec: &TransformerSpec) -> f64 {
    PAIRS as f64 * (read(spec, WORDS) + WORDS as f64 * written(spec, WORDS as f64, WORDS))
}

/// Of reading one sentence, keys and values for the decoder included.
fn read(spec: &TransformerSpec, words: usize) -> f64 {
    let (e, d, words) = (&spec.encoder, &spec.decoder, words as f64);
    let layer = 4 * e.width * e.width + 2 * e.width * e.feed_forward;
    let encoder = e.layers as f64 * (layer as f64 + 2. * words * e.width as f64);
    words * (encoder + (2 * d.layers * e.width * d.width) as f64)
}

/// Of one word that is written, with so many behind it.
fn written(spec: &TransformerSpec, behind: f64, source: usize) -> f64 {
    let d = &spec.decoder;
    let layer = 6 * d.width * d.width + 2 * d.width * d.feed_forward;
    let looks = 2. * (behind + source as f64) * d.width as f64;
    d.layers as f64 * (layer as f64 + looks) + (d.width * spec.target_vocabulary) as f64
}

/// Of the generator's maps.
fn maps(
    student: &BTreeMap<String, Tensor>,
    teacher: &BTreeMap<String, Tensor>,
    layers: usize,
) -> f64 {
    let of = |(name, weight): (&String, &Tensor)| match (
        weight.dims(),
        teacher.get(name).map(Tensor::dims),
    ) {
        (&[_, s], Some(&[words, t])) if !name.contains("layers") => {
            if s == t {
                0
            } else {
                words * s * t
            }
        }
        (&[so, si], Some(&[to, ti])) if name.starts_with("decoder") => {
            to * ti * (layers + si) + to * si * so
        }
        _ => 0,
    };
    student.iter().map(of).sum::<usize>() as f64
}
