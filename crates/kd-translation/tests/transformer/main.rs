//! The Transformer, students generated from it, search and training: beside PyTorch
//! (`scripts/oracles/transformer_trajectory.py` and `weight_generator.py`), and beside laws of
//! their own.

mod decoding;
#[path = "../../../kd-core/tests/formula/mod.rs"]
mod formula;
mod generator;
mod generator_start;
mod pytorch;
mod search;
mod training;
mod word_distillation;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::params::Params;
use kd_core::{Result, Seed};
use kd_translation::transformer::{Embeddings, Memory, Norm, Stack, Transformer, TransformerSpec};

fn stack(layers: usize, width: usize, feed_forward: usize) -> Stack {
    Stack { layers, width, feed_forward, heads: 4 }
}

/// A Transformer without dropout, whose tables are separate, normalised after each sum.
fn spec(
    source_vocabulary: usize,
    target_vocabulary: usize,
    encoder: Stack,
    decoder: Stack,
) -> TransformerSpec {
    TransformerSpec {
        source_vocabulary,
        target_vocabulary,
        encoder,
        decoder,
        norm: Norm::Post,
        embeddings: Embeddings::Separate,
        dropout: 0.,
        attention_dropout: 0.,
        relu_dropout: 0.,
    }
}

fn drawn(spec: &TransformerSpec, seed: u64) -> Result<(Params, Transformer)> {
    let (params, vb) = Params::seeded(Seed(seed), &Device::Cpu);
    let network = Transformer::new(spec, vb)?;
    Ok((params, network))
}

/// `count` words of a vocabulary, none of them one of the four special ones.
fn words(count: usize, vocabulary: usize, purpose: &str) -> Vec<u32> {
    let noise = formula::noise(count, purpose, 0).into_iter();
    noise.map(|u| 4 + ((u + 1.) / 2. * (vocabulary - 4) as f64) as u32).collect()
}

/// Whether all values are within `tolerance` of the others.
fn close(ours: &Tensor, theirs: &Tensor, tolerance: f64, context: &str) -> Result<()> {
    assert_eq!(ours.dims(), theirs.dims(), "{context}");
    for (i, (a, b)) in formula::values(ours)?.iter().zip(formula::values(theirs)?).enumerate() {
        assert!((a - b).abs() <= tolerance, "{context}, value {i}: {a}, expected {b}");
    }
    Ok(())
}

/// The same, relative to the norm of what is expected.
fn close_in_norm(
    ours: &Tensor,
    theirs: &Tensor,
    norm: f64,
    tolerance: f64,
    context: &str,
) -> Result<()> {
    assert_eq!(ours.dims(), theirs.dims(), "{context}");
    let squares: f64 = formula::values(ours)?
        .iter()
        .zip(formula::values(theirs)?)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    assert!(squares.sqrt() <= tolerance * norm, "{context}: off by {} of {norm}", squares.sqrt());
    Ok(())
}

fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(formula::values(tensor)?.iter().map(|v| v * v).sum::<f64>().sqrt())
}

/// Row i of the result is what was made of sentence `rows[i]`.
fn rows_of(memory: &Memory, rows: &[u32]) -> Result<Memory> {
    let ids = Tensor::new(rows, &Device::Cpu)?;
    Ok(Memory {
        states: memory.states.index_select(&ids, 0)?,
        lengths: rows.iter().map(|&r| memory.lengths[r as usize]).collect(),
    })
}

/// Every tensor of `params` by its value's formula.
fn by_formula(
    params: &Params,
    value: impl Fn(&str, &[usize]) -> candle_core::Result<Tensor>,
) -> Result<()> {
    let values =
        params.named().into_iter().map(|(name, var)| Ok((name.clone(), value(&name, var.dims())?)));
    params.set(&values.collect::<Result<BTreeMap<_, _>>>()?)
}
