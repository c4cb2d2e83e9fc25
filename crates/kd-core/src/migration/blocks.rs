//! Averages of blocks of units: see [`super::Migration::Average`].

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::part;
use crate::Result;
use crate::model::mlp::MlpSpec;

/// The student's parameters, each unit the mean of a block of its teacher's. The two have been
/// checked to fit.
pub(super) fn averaged(
    tensors: &BTreeMap<String, Tensor>,
    teacher: &MlpSpec,
    student: &MlpSpec,
) -> Result<BTreeMap<String, Tensor>> {
    let mut made = BTreeMap::new();
    // Sums over the blocks of the layer above, [units, teacher's units].
    let mut sums: Option<Tensor> = None;
    for layer in 0..=student.hidden.len() {
        let name = |what: &str| format!("layers.{layer}.{what}");
        let mut weight = part(tensors, &name("weight"))?.clone();
        let mut bias = part(tensors, &name("bias"))?.clone();
        if let Some(sums) = &sums {
            weight = weight.matmul(&sums.t()?)?;
        }
        if let (Some(&units), Some(&of)) = (student.hidden.get(layer), teacher.hidden.get(layer)) {
            let means = blocks(of, units, true, weight.device())?;
            weight = means.matmul(&weight)?;
            bias = means.matmul(&bias.unsqueeze(1)?)?.squeeze(1)?;
            sums = Some(blocks(of, units, false, weight.device())?);
        }
        made.insert(name("weight"), weight.contiguous()?);
        made.insert(name("bias"), bias);
    }
    Ok(made)
}

/// `[units, of]`: row i is 1, or 1 / size for means, over block i, and 0 elsewhere.
fn blocks(of: usize, units: usize, means: bool, device: &Device) -> Result<Tensor> {
    let mut values = vec![0f32; units * of];
    for (i, row) in values.chunks_mut(of).enumerate() {
        let block = &mut row[i * of / units..(i + 1) * of / units];
        let value = if means { 1. / block.len() as f32 } else { 1. };
        block.fill(value);
    }
    Ok(Tensor::from_vec(values, (units, of), device)?)
}

#[cfg(test)]
mod tests {
    use super::super::Migration;
    use super::super::tests::{drawn, logits, spec};
    use super::*;

    #[test]
    fn blocks_are_adjacent_and_cover_the_layer() -> Result<()> {
        let sums = blocks(7, 3, false, &Device::Cpu)?.to_vec2::<f32>()?;
        assert_eq!(
            sums,
            [
                [1., 1., 0., 0., 0., 0., 0.],
                [0., 0., 1., 1., 0., 0., 0.],
                [0., 0., 0., 0., 1., 1., 1.]
            ]
        );
        let means = blocks(7, 3, true, &Device::Cpu)?.sum(1)?.to_vec1::<f32>()?;
        assert!(means.iter().all(|mean| (mean - 1.).abs() < 1e-6), "{means:?}");
        Ok(())
    }

    #[test]
    fn where_the_units_of_a_block_are_alike_the_student_computes_what_its_teacher_does()
    -> Result<()> {
        let (wide, narrow) = (spec(7, &[6, 4], 3), spec(7, &[3, 2], 3));
        let mut teacher = drawn(&wide, 6)?;
        // Units 2i and 2i + 1 are one: equal rows, and equal biases.
        for (name, t) in &mut teacher {
            if name.starts_with("layers.2") {
                continue;
            }
            let first: Vec<u32> = (0..t.dim(0)? as u32).map(|row| row / 2 * 2).collect();
            let first = Tensor::from_slice(&first, first.len(), &Device::Cpu)?;
            *t = t.index_select(&first, 0)?;
        }
        let student = Migration::Average.apply(&teacher, &wide, &narrow)?;
        let (a, b) = (logits(&wide, teacher)?, logits(&narrow, student)?);
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            assert!((a - b).abs() < 1e-4 * (1. + a.abs()), "{a} {b}");
        }
        Ok(())
    }
}
