//! A strong view of an image: operations drawn at random, each at a random strength, and a hole.
//!
//! Cubuk, Zoph, Shlens and Le (2020), "RandAugment", and DeVries and Taylor (2017), "Cutout", as
//! the program of multi-level logit distillation has them ([`crate::method::mlkd`]), after that of
//! FixMatch (Sohn et al. 2020). Each operation computes what Pillow does, byte by byte.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::seed::StepSeed;
use crate::{Error, Result};

/// How a strong view is made, as an experiment file writes it; a crop and a flip come before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StrongView {
    /// Operations one after the other, drawn from [`Operation::ALL`] with replacement, each at a
    /// strength drawn uniformly from its range.
    pub operations: usize,
    /// The largest side of the hole, as a share of the image's width, at most 1; the side is drawn
    /// uniformly from 0 on, and its middle uniformly from the image. 0 for no hole.
    pub cutout: f64,
}

/// What fills the hole: about the mean colour of CIFAR-10.
const HOLE: [u8; 3] = [125, 123, 114];

/// An operation on a colour image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Each channel is stretched to all values from 0 to 255.
    AutoContrast,
    /// Between black, at 0, and the image, at 1.
    Brightness,
    /// Between its grey image, at 0, and the image, at 1.
    Colour,
    /// Between the mean of its grey image, at 0, and the image, at 1.
    Contrast,
    /// Values of each channel become equally frequent.
    Equalise,
    /// None.
    Identity,
    /// Only the so many highest bits of each value are kept.
    Posterise,
    /// Turned about its middle, counter-clockwise, by so many degrees.
    Rotate,
    /// Between a smoothed image, at 0, and the image, at 1.
    Sharpness,
    /// Rows are moved, by so many columns for each row.
    ShearX,
    /// Columns are moved, by so many rows for each column.
    ShearY,
    /// Values from this one on are inverted.
    Solarise,
    /// Moved sideways, by this share of its width.
    TranslateX,
    /// Moved up or down, by this share of its height.
    TranslateY,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AutoContrast,
        Self::Brightness,
        Self::Colour,
        Self::Contrast,
        Self::Equalise,
        Self::Identity,
        Self::Posterise,
        Self::Rotate,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::Solarise,
        Self::TranslateX,
        Self::TranslateY,
    ];

    /// The strengths that it is drawn with: the least, and the one that all are below.
    pub fn strengths(self) -> Range<f64> {
        match self {
            Self::AutoContrast | Self::Equalise | Self::Identity => 0. ..1.,
            Self::Brightness | Self::Colour | Self::Contrast | Self::Sharpness => 0.05..0.95,
            Self::Posterise => 4. ..8.,
            Self::Rotate => -30. ..30.,
            Self::ShearX | Self::ShearY | Self::TranslateX | Self::TranslateY => -0.3..0.3,
            Self::Solarise => 0. ..256.,
        }
    }

    /// Applies it to an image of three planes of rows × cols bytes, at a strength of its range.
    /// What is moved in from outside is black.
    ///
    /// # Errors
    /// Bad input when the image has another number of bytes.
    pub fn apply(
        self,
        image: &mut [u8],
        (rows, cols): (usize, usize),
        strength: f64,
    ) -> Result<()> {
        let size = rows * cols;
        if image.len() != 3 * size {
            return Err(Error::bad_input(format!(
                "augmentation: expected a colour image of {} bytes, got {}",
                3 * size,
                image.len()
            )));
        }
        if size == 0 {
            return Ok(());
        }
        match self {
            Self::Identity => {}
            Self::AutoContrast => by_channel(image, size, stretched),
            Self::Equalise => by_channel(image, size, equalised),
            Self::Posterise => {
                // Of 8 bits or more all are kept.
                let bits = (strength as u32).clamp(1, 8);
                let mask = (0xff00u32 >> bits) as u8;
                image.iter_mut().for_each(|v| *v &= mask);
            }
            Self::Solarise => {
                let inverted = |v: &mut u8| {
                    if f64::from(*v) >= strength {
                        *v = 255 - *v;
                    }
                };
                image.iter_mut().for_each(inverted);
            }
            Self::Brightness => blend(image, &vec![0; 3 * size], strength),
            Self::Colour => blend(image, &grey(image, size).repeat(3), strength),
            Self::Contrast => {
                let grey = grey(image, size);
                let sum: u64 = grey.iter().map(|&v| u64::from(v)).sum();
                let mean = (sum as f64 / size as f64 + 0.5) as u8;
                blend(image, &vec![mean; 3 * size], strength);
            }
            Self::Sharpness => {
                let smooth: Vec<u8> =
                    image.chunks_exact(size).flat_map(|plane| smoothed(plane, cols)).collect();
                blend(image, &smooth, strength);
            }
            Self::Rotate => {
                let (sine, cosine) = sine_and_cosine(-strength.to_radians());
                let (x, y) = (cols as f64 / 2., rows as f64 / 2.);
                let matrix = [
                    cosine,
                    sine,
                    x - cosine * x - sine * y,
                    -sine,
                    cosine,
                    y + sine * x - cosine * y,
                ];
                affine(image, (rows, cols), matrix);
            }
            Self::ShearX => affine(image, (rows, cols), [1., strength, 0., 0., 1., 0.]),
            Self::ShearY => affine(image, (rows, cols), [1., 0., 0., strength, 1., 0.]),
            Self::TranslateX => {
                affine(image, (rows, cols), [1., 0., strength * cols as f64, 0., 1., 0.]);
            }
            Self::TranslateY => {
                affine(image, (rows, cols), [1., 0., 0., 0., 1., strength * rows as f64]);
            }
        }
        Ok(())
    }
}

impl StrongView {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Bad input that names the field, what it must be and what it is.
    pub fn check(&self) -> Result<()> {
        Error::unless_within("view.operations", self.operations, 0..=64)?;
        if (0. ..=1.).contains(&self.cutout) {
            return Ok(());
        }
        Err(Error::bad_input(format!(
            "view.cutout: expected a number from 0 to 1, got {}",
            self.cutout
        )))
    }

    /// Makes the image at this position of a step's batch, three planes of rows × cols bytes, a
    /// strong view of itself: a function of the step's draws and the position alone.
    ///
    /// # Errors
    /// As [`Operation::apply`].
    pub fn apply(
        &self,
        image: &mut [u8],
        (rows, cols): (usize, usize),
        draws: StepSeed,
        position: usize,
    ) -> Result<()> {
        let (which, strength) =
            (draws.stream("augment.operation"), draws.stream("augment.strength"));
        for k in 0..self.operations {
            let i = (position * self.operations + k) as u64;
            let operation = Operation::ALL[which.below(i, Operation::ALL.len() as u64) as usize];
            let range = operation.strengths();
            let share = f64::from(strength.uniform_at(i));
            operation.apply(
                image,
                (rows, cols),
                range.start + (range.end - range.start) * share,
            )?;
        }
        let hole = draws.stream("augment.hole");
        let draw = |k: u64| f64::from(hole.uniform_at(3 * position as u64 + k));
        let side = self.cutout * draw(0) * cols as f64;
        if side > 0. {
            let span = |middle: f64, of: usize| {
                let first = (middle - side / 2.).max(0.) as usize;
                // The last one is inside, as Pillow draws a rectangle.
                first..(((first as f64 + side).min(of as f64) as usize) + 1).min(of)
            };
            let (columns, lines) =
                (span(draw(1) * cols as f64, cols), span(draw(2) * rows as f64, rows));
            for (plane, colour) in image.chunks_exact_mut(rows * cols).zip(HOLE) {
                for line in lines.clone() {
                    plane[line * cols..][columns.clone()].fill(colour);
                }
            }
        }
        Ok(())
    }
}

/// Replaces the values of each channel by what `table` makes of their frequencies.
fn by_channel(image: &mut [u8], size: usize, table: fn(&[u32; 256]) -> Option<[u8; 256]>) {
    for plane in image.chunks_exact_mut(size) {
        let mut counts = [0u32; 256];
        plane.iter().for_each(|&v| counts[usize::from(v)] += 1);
        if let Some(table) = table(&counts) {
            plane.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
        }
    }
}

/// From the least value to 0, from the largest to 255; nothing where there is one value.
fn stretched(counts: &[u32; 256]) -> Option<[u8; 256]> {
    let lowest = counts.iter().position(|&n| n > 0)?;
    let highest = counts.iter().rposition(|&n| n > 0)?;
    if highest <= lowest {
        return None;
    }
    let scale = 255. / (highest - lowest) as f64;
    let offset = -(lowest as f64) * scale;
    // A cast cuts off what is not whole, and what lies outside of 0 to 255.
    Some(std::array::from_fn(|v| (v as f64 * scale + offset) as u8))
}

/// To the share of the values below; nothing where there are too few of them.
fn equalised(counts: &[u32; 256]) -> Option<[u8; 256]> {
    let present = counts.iter().filter(|&&n| n > 0);
    let last = counts.iter().rev().find(|&&n| n > 0)?;
    let step = (counts.iter().sum::<u32>() - last) / 255;
    if present.count() <= 1 || step == 0 {
        return None;
    }
    let mut below = step / 2;
    Some(std::array::from_fn(|v| {
        let share = (below / step).min(255) as u8;
        below += counts[v];
        share
    }))
}

/// Luminance, 0.299 red + 0.587 green + 0.114 blue in fixed point, rounded.
fn grey(image: &[u8], size: usize) -> Vec<u8> {
    let value = |i: usize, plane: usize| u32::from(image[plane * size + i]);
    let luminance =
        |i| (value(i, 0) * 19_595 + value(i, 1) * 38_470 + value(i, 2) * 7_471 + 0x8000) >> 16;
    (0..size).map(|i| luminance(i) as u8).collect()
}

/// from + strength · (image − from), in float32, cut off.
fn blend(image: &mut [u8], from: &[u8], strength: f64) {
    let strength = strength as f32;
    for (v, &from) in image.iter_mut().zip(from) {
        *v = (f32::from(from) + strength * (f32::from(*v) - f32::from(from))) as u8;
    }
}

/// Means over windows of 3×3 in which the middle counts five times, rounded; the outermost values
/// stay.
fn smoothed(plane: &[u8], cols: usize) -> Vec<u8> {
    let mut out = plane.to_vec();
    let rows = plane.len() / cols;
    for y in 1..rows.saturating_sub(1) {
        for x in 1..cols.saturating_sub(1) {
            let window = (y - 1..=y + 1).flat_map(|y| &plane[y * cols + x - 1..=y * cols + x + 1]);
            let sum =
                window.map(|&v| u32::from(v)).sum::<u32>() + 4 * u32::from(plane[y * cols + x]);
            out[y * cols + x] = ((2 * sum + 13) / 26) as u8;
        }
    }
    out
}

/// Each pixel takes the value of the one that `matrix` sends its middle into, of six numbers: x' =
/// m₀·x + m₁·y + m₂, y' = m₃·x + m₄·y + m₅. In fixed point of 16 bits, as Pillow does.
fn affine(image: &mut [u8], (rows, cols): (usize, usize), matrix: [f64; 6]) {
    let fixed = |v: f64| (v * 65_536. + 0.5).floor() as i64;
    let [a, b, c, d, e, f] = matrix;
    let (x_step, y_step) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
    let first = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    for plane in image.chunks_exact_mut(rows * cols) {
        let old = plane.to_vec();
        for (i, v) in plane.iter_mut().enumerate() {
            let (x, y) = ((i % cols) as i64, (i / cols) as i64);
            let at = |k: usize| (first[k] + x * x_step[k] + y * y_step[k]) >> 16;
            let inside = |at: i64, size: usize| usize::try_from(at).ok().filter(|&at| at < size);
            *v = match (inside(at(0), cols), inside(at(1), rows)) {
                (Some(x), Some(y)) => old[y * cols + x],
                _ => 0,
            };
        }
    }
}

/// Sine and cosine of an angle of at most a radian, by their series: sums and products alone, so
/// that they are the same on every machine.
fn sine_and_cosine(angle: f64) -> (f64, f64) {
    let square = -angle * angle;
    let series = |first: f64, from: u32| {
        let (mut term, mut sum) = (first, first);
        for k in 0..10 {
            let n = f64::from(from + 2 * k);
            term = term * square / (n * (n + 1.));
            sum += term;
        }
        sum
    };
    (series(angle, 2), series(1., 1))
}

#[cfg(test)]
mod tests;
