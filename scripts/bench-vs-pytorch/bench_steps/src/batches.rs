//! Random images that are ready in memory before the clock starts.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Batch, Examples};

/// The classes of CIFAR-100.
pub const CLASSES: usize = 100;
/// Batches that the steps go through in turn.
pub const BATCHES: usize = 4;

/// Batches that are made before the clock starts.
pub struct PreparedBatches(Vec<(Tensor, Tensor, Vec<u32>)>);

impl PreparedBatches {
    pub fn new(count: usize, size: usize, device: &Device) -> Result<Self> {
        let batch = |i: usize| {
            let images = images(size, i, device)?;
            let labels: Vec<u32> = (0..size).map(|j| ((i * size + j) % CLASSES) as u32).collect();
            let numbers = (0..size).map(|j| (i * size + j) as u32).collect();
            Ok((images, Tensor::new(labels, device)?, numbers))
        };
        Ok(Self((0..count).map(batch).collect::<Result<_>>()?))
    }
}

/// Images of normal numbers.
pub fn images(count: usize, part: usize, device: &Device) -> Result<Tensor> {
    let mut values = vec![0f32; count * 3 * 32 * 32];
    Seed(1).stream("bench.images", 0, part).fill_normal(0, &mut values);
    Ok(Tensor::from_vec(values, (count, 3, 32, 32), device)?)
}

impl Examples for PreparedBatches {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, rows: &[u32], _step: StepSeed, _device: &Device) -> Result<Batch> {
        let (inputs, labels, numbers) = self.0[rows[0] as usize].clone();
        Ok(Batch { inputs, labels, numbers, teacher_logits: None })
    }
}
