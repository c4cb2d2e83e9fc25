//! Which teacher weights a student weight is computed from.
//!
//! A class is a weight's role in a layer, `decoder.fc1.weight` for instance. The teacher's
//! instances of a class are cut into as many subsets of adjacent layers as the student has layers,
//! and subset i gives the student's layer i. With L_t teacher and L_s student layers a subset has
//! ⌊L_t/L_s⌋ layers; where that does not come out even, the teacher's last layers are left over, as
//! in the released program.

use serde::{Deserialize, Serialize};

use crate::transformer::TransformerSpec;
use kd_core::{Error, Result};

/// A part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Layers that read.
    Encoder,
    /// Layers that write.
    Decoder,
    /// Tables of word vectors.
    Embeddings,
}

/// A kind of block, with the layer normalisation around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// Attention, of either kind.
    Attention,
    /// Feed-forward.
    FeedForward,
}

/// Where a student's weight comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSource {
    /// Its half.
    pub half: Half,
    /// Its block; `None` for tables and for the last normalisation of a half.
    pub block: Option<Block>,
    /// Its class: the name without the layer's number.
    pub class: String,
    /// The student's layer, 0 where there are none.
    pub layer: usize,
    /// Names of the teacher's weights, of adjacent layers.
    pub instances: Vec<String>,
}

/// The source of the student's weight `name`.
///
/// # Errors
/// Bad input when the student has more layers than its teacher.
pub fn source_of(
    name: &str,
    student: &TransformerSpec,
    teacher: &TransformerSpec,
) -> Result<WeightSource> {
    let plain = |half, class: &str| WeightSource {
        half,
        block: None,
        class: class.to_owned(),
        layer: 0,
        instances: vec![name.to_owned()],
    };
    let (half, stack, teacher_stack) = match name.split('.').next() {
        Some("encoder") => (Half::Encoder, &student.encoder, &teacher.encoder),
        _ => (Half::Decoder, &student.decoder, &teacher.decoder),
    };
    let mut parts = name.splitn(4, '.');
    let (Some(first), Some("layers"), Some(layer), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let table =
            name.ends_with("embed_tokens.weight") || name.ends_with("output_projection.weight");
        return Ok(plain(if table { Half::Embeddings } else { half }, name));
    };
    let layer: usize = layer.parse().map_err(|_| {
        Error::bad_input(format!("{name}: expected the number of a layer, got {layer}"))
    })?;
    let each = teacher_stack.layers / stack.layers;
    if each == 0 {
        let (student, teacher) = (stack.layers, teacher_stack.layers);
        return Err(Error::bad_input(format!(
            "{first}: expected a student of at most the teacher's {teacher} layers, got {student}"
        )));
    }
    let block = if rest.contains("attn") { Block::Attention } else { Block::FeedForward };
    let instances =
        (each * layer..each * (layer + 1)).map(|i| format!("{first}.layers.{i}.{rest}")).collect();
    Ok(WeightSource {
        half,
        block: Some(block),
        class: format!("{first}.{rest}"),
        layer,
        instances,
    })
}
