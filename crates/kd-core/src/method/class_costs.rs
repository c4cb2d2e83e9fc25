//! What it costs to take one class for another, by what a teacher sees in the training images of
//! both.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Tensor, Var};
use candle_nn::Init;
use kd_kernels::relu::relu;

use super::{Context, Step};
use crate::loss::alignment;
use crate::params::buffer;
use crate::{Error, Result};

/// Costs `[c, c]` of bringing probability from one class to another: [`alignment::class_costs`] of
/// the teacher's maps of the training images, each pixel of a map a vector of its channels. The
/// k-th image of one class is compared with the k-th of another, in the order of the data set.
///
/// They are a buffer, `transport.costs`, made before the first step: a run that goes on from a state
/// has them there. Before they are made they are 0.
pub(super) struct ClassCosts {
    costs: Var,
    /// Class of each training image, by its number, and its place among those of its class; none
    /// where it is not looked at.
    places: Vec<Option<(usize, usize)>>,
    classes: usize,
    /// Images of each class that are looked at.
    images: usize,
    sharpening: f64,
    /// The maps `[d, h, w]` that have passed, by class and place, until all have.
    maps: Mutex<BTreeMap<(usize, usize), Tensor>>,
}

impl ClassCosts {
    /// The costs of a run that begins, or of one that goes on. Of each class the first
    /// `images_per_class` images are looked at, or as many as the smallest class has.
    ///
    /// # Errors
    /// Bad input when a label is no class, or a class has fewer than 2 images; where the context
    /// has no labels, that is found out once images pass.
    pub fn new(context: &Context, images_per_class: usize, sharpening: f64) -> Result<Self> {
        let classes = context.student().classes();
        buffer(&context.vb().pp("transport"), (classes, classes), "costs", Init::Const(0.))?;
        let costs = context.var("transport.costs")?;
        let mut counts = vec![0; classes];
        let mut places = Vec::with_capacity(context.labels().len());
        for &label in context.labels() {
            let class = usize::from(label);
            let count = counts.get_mut(class).ok_or_else(|| {
                Error::bad_input(format!("wkd-l: expected labels below {classes}, got {label}"))
            })?;
            places.push(Some((class, *count)));
            *count += 1;
        }
        let fewest = counts.iter().enumerate().min_by_key(|(_, count)| **count);
        let (class, fewest) = fewest.map_or((0, 0), |(class, count)| (class, *count));
        if fewest < 2 && !places.is_empty() {
            let expected = "wkd-l: expected at least 2 training images of each class";
            return Err(Error::bad_input(format!("{expected}, got {fewest} of class {class}")));
        }
        let images = images_per_class.min(fewest);
        for place in &mut places {
            *place = place.filter(|(_, at)| *at < images);
        }
        Ok(Self { costs, places, classes, images, sharpening, maps: Mutex::default() })
    }

    /// The costs.
    ///
    /// # Errors
    /// Bad input when only a part of the images has passed.
    pub fn costs(&self) -> Result<Tensor> {
        // A panic elsewhere leaves whole entries.
        let passed = self.maps.lock().unwrap_or_else(PoisonError::into_inner).len();
        if passed > 0 {
            return Err(Error::bad_input(format!(
                "wkd-l: expected {} training images to pass before the first step, got {passed}",
                self.classes * self.images
            )));
        }
        Ok(self.costs.as_detached_tensor())
    }

    /// Keeps the step's maps, the first tap of the teacher, and makes the costs of them once those of
    /// all images have passed. A map is rectified, which is nothing new where a stage ends in a
    /// ReLU: wide residual networks' end in a sum.
    ///
    /// # Errors
    /// Bad input when an image has no label among those of the data set, and when a tensor does
    /// not fit.
    pub fn survey(&self, step: &Step) -> Result<()> {
        let tap = relu(&step.teacher()?.taps[0])?;
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, &number) in step.numbers.iter().enumerate() {
            let place = self.places.get(number as usize).ok_or_else(|| {
                let expected = "wkd-l: expected the labels of all training images";
                Error::bad_input(format!("{expected}, got none of image {number}"))
            })?;
            if let Some(place) = place {
                maps.insert(*place, alone(&tap, i)?);
            }
        }
        if maps.is_empty() || maps.len() < self.classes * self.images {
            return Ok(());
        }
        let mut passed = std::mem::take(&mut *maps).into_values();
        let of_class = |_| -> Result<Tensor> {
            let maps: Vec<Tensor> = passed.by_ref().take(self.images).collect();
            // [d, images, h, w]
            Ok(Tensor::stack(&maps, 1)?.flatten_from(1)?)
        };
        let features = (0..self.classes).map(of_class).collect::<Result<Vec<_>>>()?;
        let costs = alignment::class_costs(features, self.sharpening)?;
        Ok(self.costs.set(&costs.to_device(self.costs.device())?)?)
    }
}

/// The i-th map of a batch in memory of its own: a view keeps the whole batch, and [`Tensor::copy`]
/// copies it.
fn alone(batch: &Tensor, i: usize) -> Result<Tensor> {
    Ok(batch.get(i)?.force_contiguous()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Storage};

    use super::*;

    #[test]
    fn a_map_that_is_kept_does_not_keep_its_batch() -> Result<()> {
        let batch = Tensor::arange(0f32, 24., &Device::Cpu)?.reshape((3, 2, 2, 2))?;
        for i in 0..3 {
            let map = alone(&batch, i)?;
            let expected: Vec<f32> = (8 * i..8 * i + 8).map(|x| x as f32).collect();
            assert_eq!(map.flatten_all()?.to_vec1::<f32>()?, expected);
            let (storage, _) = map.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { panic!("on the CPU") };
            assert_eq!(storage.as_slice::<f32>()?.len(), 8);
        }
        Ok(())
    }
}
