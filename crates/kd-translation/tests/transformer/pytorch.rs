//! Networks and generators beside PyTorch: what they compute, their gradients, and ten steps of
//! Adam.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::{Device, Tensor};
use kd_core::model::Mode;
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Optimizer, OptimizerSpec, Task};
use kd_core::{Result, Seed};
use kd_kernels::Precision;
use kd_translation::generated_student::classes::Block;
use kd_translation::generated_student::{Form, GeneratedStudent, GeneratorSpec, Start};
use kd_translation::token_batches::{BatchSize, TokenBatch, TokenBatches, TokenPairs};
use kd_translation::transformer::{Norm, Transformer, TransformerSpec};
use kd_translation::{Learner, Pairs, TranslationSpec, TranslationTask};

use super::{by_formula, close, close_in_norm, formula, norm, spec, stack};

/// Words of source and target of each pair of the batches that the steps take in turn, as in the
/// golden program.
const LENGTHS: [&[(usize, usize)]; 2] =
    [&[(6, 4), (3, 7), (1, 2)], &[(5, 5), (2, 3), (4, 1), (7, 6)]];

type Golden = HashMap<String, Tensor>;

fn golden(bytes: &[u8]) -> Result<Golden> {
    Ok(candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?)
}

fn pairs(spec: &TransformerSpec, batch: usize) -> Result<TokenBatches> {
    let side = |side: usize| -> Vec<Vec<u32>> {
        let vocabulary = [spec.source_vocabulary, spec.target_vocabulary][side] - 4;
        let sentence = |(row, &(source, target)): (usize, &(usize, usize))| {
            let word = |i: usize| {
                4 + ((7 * i * i + 5 * i + 3 * row + 11 * batch + 2 * side) % vocabulary) as u32
            };
            (0..[source, target][side]).map(word).collect()
        };
        LENGTHS[batch].iter().enumerate().map(sentence).collect()
    };
    Ok(TokenBatches::new(
        TokenPairs { source: side(0), target: side(1) },
        BatchSize { tokens: 100, pairs: None },
    )?)
}

/// The places of `xs` `[b, t, d]` that hold words.
fn unpadded(xs: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let rows = lengths
        .iter()
        .enumerate()
        .map(|(row, &n)| Ok(xs.get(row)?.narrow(0, 0, n)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&rows, 0)?)
}

/// Compares encoder states, logits, gradients and the losses of ten steps with those of `case`.
fn follow(
    case: &str,
    golden: &Golden,
    spec: &TransformerSpec,
    learner: Learner,
    params: &Params,
) -> Result<()> {
    let expected = |name: &str| {
        golden.get(&format!("{case}/{name}")).unwrap_or_else(|| panic!("{case} has no {name}"))
    };
    let train = TranslationSpec {
        updates: 10,
        updates_per_epoch: 10,
        tokens: 100,
        accumulate: 1,
        learning_rate: 5e-3,
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
    };
    let text = [pairs(spec, 0)?, pairs(spec, 1)?];
    let made;
    let network = match &learner {
        Learner::Network(network) => *network,
        Learner::Generated(student) => {
            made = student.student()?;
            &made
        }
    };
    let batch = whole(&text[0])?;
    let memory = network.encode(&batch.source, &batch.source_lengths, Mode::Evaluate)?;
    let logits = network.logits(&network.decode(&memory, &batch.target_in, Mode::Evaluate)?)?;
    let (sources, targets) = (&batch.source_lengths, &batch.target_lengths);
    close(
        &unpadded(&memory.states, sources)?,
        &unpadded(expected("states"), sources)?,
        1e-5,
        &format!("{case}, states"),
    )?;
    close(
        &unpadded(&logits, targets)?,
        &unpadded(expected("logits"), targets)?,
        1e-5,
        &format!("{case}, logits"),
    )?;

    let (device, pairs) = (&Device::Cpu, Pairs::new(&text[0], Seed(0))?);
    let task = TranslationTask {
        learner,
        params,
        teacher: None,
        pairs,
        spec: &train,
        device,
        measure: None,
    };
    let mut optimizer = Optimizer::new(&train.optimizer, None, params)?;
    let losses = formula::values(expected("losses"))?;
    assert_eq!(losses.len(), 10);
    for (step, theirs) in losses.into_iter().enumerate() {
        let draws = StepSeed { seed: Seed(0), epoch: 0, step };
        let (gradients, terms) = task.gradients(&vec![whole(&text[step % 2])?], draws)?;
        let (ours, tolerance) =
            (f64::from(terms.read()?[0].value), if step == 0 { 1e-5 } else { 1e-4 });
        assert!(
            (ours - theirs).abs() <= tolerance * theirs,
            "{case}, step {step}: loss {ours}, expected {theirs}"
        );
        if step == 0 {
            let prefix = format!("{case}/gradients/");
            let known: BTreeSet<&str> =
                golden.keys().filter_map(|name| name.strip_prefix(&*prefix)).collect();
            let named = params.named();
            assert_eq!(
                named.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(),
                known,
                "{case}"
            );
            for (name, var) in named {
                let theirs = expected(&format!("gradients/{name}"));
                // Softmax does not see a bias of keys: its gradient is 0, and its error counts
                // beside that of its weight.
                let size = norm(expected(&format!(
                    "gradients/{}",
                    name.replace("k_proj.bias", "k_proj.weight")
                )))?;
                let ours = gradients
                    .get(var.as_tensor())
                    .unwrap_or_else(|| panic!("{case}: {name} has no gradient"));
                assert!(size > 0., "{case}, {name}");
                close_in_norm(ours, theirs, size, 1e-4, &format!("{case}, gradient of {name}"))?;
            }
        }
        optimizer.step(&gradients, task.learning_rate(0, step))?;
    }
    Ok(())
}

fn whole(text: &TokenBatches) -> Result<TokenBatch> {
    Ok(text.batch(&(0..text.len() as u32).collect::<Vec<_>>(), &Device::Cpu)?)
}

fn network(case: &str, spec: TransformerSpec) -> Result<()> {
    let golden = golden(include_bytes!("../golden/transformer_trajectory.safetensors"))?;
    let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
    let network = Transformer::new(&spec, vb)?;
    by_formula(&params, formula::value)?;
    follow(case, &golden, &spec, Learner::Network(&network), &params)
}

#[test]
fn ten_steps_of_a_network_normalised_after_its_sums_are_pytorchs() -> Result<()> {
    network("post-norm", spec(50, 46, stack(2, 32, 64), stack(2, 32, 64)))
}

#[test]
fn ten_steps_of_a_network_normalised_before_its_blocks_are_pytorchs() -> Result<()> {
    network(
        "pre-norm",
        TransformerSpec { norm: Norm::Pre, ..spec(50, 46, stack(2, 32, 64), stack(2, 32, 64)) },
    )
}

#[test]
fn ten_steps_of_a_decoder_half_as_wide_as_the_encoder_it_reads_are_pytorchs() -> Result<()> {
    network("narrow-decoder", spec(50, 46, stack(2, 32, 64), stack(1, 16, 32)))
}

/// The value of a generator's parameter, as in the golden program.
fn start(name: &str, dims: &[usize]) -> candle_core::Result<Tensor> {
    let value = |shift: f64, scale: f64| {
        let values: Vec<f32> = formula::noise(dims.iter().product(), name, 0)
            .into_iter()
            .map(|u| (shift + scale * u) as f32)
            .collect();
        Tensor::from_vec(values, dims, &Device::Cpu)
    };
    match name.rsplit('.').next() {
        Some("scale") => value(1., 0.3),
        Some("shift") => value(0., 0.1),
        Some("layers") => value(1. / dims[1] as f64, 0.3),
        _ => formula::value(name, dims),
    }
}

/// Weights of every formula, then the trajectory. `small`: two decoder layers of the teacher's
/// width, otherwise one of half of it.
fn generator(case: &str, norm: Norm, form: Form, small: bool) -> Result<()> {
    let golden = golden(include_bytes!("../golden/weight_generator.safetensors"))?;
    let teacher_spec = TransformerSpec { norm, ..spec(19, 23, stack(2, 16, 24), stack(5, 16, 24)) };
    let student_spec = if small { teacher_spec.small() } else { teacher_spec.tiny() };
    let (teacher, vb) = Params::seeded(Seed(0), &Device::Cpu);
    Transformer::new(&teacher_spec, vb)?;
    by_formula(&teacher, |name, dims| formula::value(&format!("teacher.{name}"), dims))?;

    let all = vec![Block::Attention, Block::FeedForward];
    let generator = GeneratorSpec {
        form,
        start: Start::Random,
        encoder: all.clone(),
        decoder: all,
        embeddings: true,
    };
    let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
    let student =
        GeneratedStudent::new(&student_spec, &teacher_spec, &teacher.snapshot()?, &generator, &vb)?;
    by_formula(&params, start)?;

    let weights: BTreeMap<String, Tensor> = student.materialise()?;
    let prefix = format!("{case}/weights/");
    let known: BTreeSet<&str> =
        golden.keys().filter_map(|name| name.strip_prefix(&*prefix)).collect();
    assert_eq!(weights.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{case}");
    for (name, weight) in &weights {
        close(weight, &golden[&format!("{prefix}{name}")], 2e-6, &format!("{case}, {name}"))?;
    }
    follow(case, &golden, &student_spec, Learner::Generated(&student), &params)
}

#[test]
fn ten_steps_of_the_released_generator_of_tiny_are_pytorchs() -> Result<()> {
    generator("released-tiny", Norm::Post, Form::ReleasedCode, false)
}

#[test]
fn ten_steps_of_the_released_generator_of_small_are_pytorchs() -> Result<()> {
    generator("released-small", Norm::Pre, Form::ReleasedCode, true)
}

#[test]
fn ten_steps_of_the_papers_generator_of_tiny_are_pytorchs() -> Result<()> {
    generator("paper-tiny", Norm::Post, Form::Paper, false)
}

#[test]
fn ten_steps_of_the_papers_generator_of_small_whose_layers_share_maps_are_pytorchs() -> Result<()> {
    generator("paper-small", Norm::Post, Form::Paper, true)
}
