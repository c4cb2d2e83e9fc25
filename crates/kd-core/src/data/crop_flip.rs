//! The augmentation of CIFAR training: zero padding, a random crop of the old size, a random
//! horizontal flip.
//!
//! He, Zhang, Ren and Sun (2016), section 4.2, and every script of the distillation literature
//! since. Padding comes before normalisation, so a padded pixel is black: `(0 − mean) / std`.

use kd_kernels::stream::Stream;
use serde::{Deserialize, Serialize};

use super::normalisation::{Table, colour};
use super::{DataError, LabelledImages};
use crate::seed::StepSeed;

/// What is done to an image each time it is shown, as an experiment file writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CropFlip {
    /// Black pixels added on each side before the crop; 4 in the papers, 0 for no crop.
    pub padding: u8,
    /// Whether half of the images are mirrored, left to right, after the crop.
    pub flip: bool,
}

/// Where one image is cut from its padded self: `top` and `left` in `0 ..= 2 × padding`, `padding`
/// twice being the image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First row of the crop in the padded image.
    pub top: u16,
    /// First column of the crop in the padded image.
    pub left: u16,
    /// Whether the crop is mirrored.
    pub flip: bool,
}

impl Crop {
    /// The whole of an image without padding.
    pub const WHOLE: Self = Self { top: 0, left: 0, flip: false };
}

impl CropFlip {
    /// Neither crop nor flip.
    pub const NONE: Self = Self { padding: 0, flip: false };

    /// The crops of the `n` positions of a batch, a function of the step and the position alone.
    pub fn crops(self, step: StepSeed, n: usize) -> Vec<Crop> {
        let (crop, mirror) = (step.stream("crop"), step.stream("flip"));
        (0..n as u64).map(|position| self.drawn(&crop, &mirror, position)).collect()
    }

    /// The crop of one position of a batch: that of [`CropFlip::crops`].
    pub fn crop(self, step: StepSeed, position: usize) -> Crop {
        self.drawn(&step.stream("crop"), &step.stream("flip"), position as u64)
    }

    fn drawn(self, crop: &Stream, mirror: &Stream, position: u64) -> Crop {
        let places = 2 * u64::from(self.padding) + 1;
        // At most 510.
        let offset = |i: u64| crop.below(i, places) as u16;
        Crop {
            top: offset(2 * position),
            left: offset(2 * position + 1),
            flip: self.flip && mirror.u32_at(position) >> 31 == 1,
        }
    }
}

/// Writes the images at `idx`, padded, cropped and normalised, to `out` of shape
/// `[idx.len(), 3, rows, cols]`:
///
/// `out[b, c, y, x] = table[c][padded[c, y + top, x' + left]]` with `x' = cols − 1 − x` where the
/// crop is mirrored and `x` elsewhere, and `padded` the image `idx[b]` with `padding` zeros on each
/// side.
///
/// # Errors
/// [`DataError::Argument`] for images that are not of three channels; [`DataError::Index`] for an
/// index without an image; [`DataError::Length`] for `crops` or `out` of another size.
pub fn gather(
    images: &LabelledImages,
    idx: &[u32],
    padding: u8,
    crops: &[Crop],
    table: &Table,
    out: &mut [f32],
) -> Result<(), DataError> {
    let (rows, cols, d) = (images.rows, images.cols, images.pixels());
    colour(images)?;
    images.check(idx)?;
    check_len("crops", idx.len(), crops.len())?;
    check_len("batch buffer", idx.len() * d, out.len())?;
    if d == 0 {
        return Ok(());
    }
    for ((&i, crop), image) in idx.iter().zip(crops).zip(out.chunks_exact_mut(d)) {
        let source = &images.images[i as usize * d..][..d];
        let dx = crop.left as isize - isize::from(padding);
        let dy = crop.top as isize - isize::from(padding);
        // Columns of the crop that lie inside of the image, before mirroring: from `begin` on,
        // `width` of them.
        let width = cols.saturating_sub(dx.unsigned_abs());
        let begin = if dx < 0 { cols - width } else { 0 };
        let first = if dx < 0 { 0 } else { cols - width };
        for (line, to) in image.chunks_exact_mut(cols).enumerate() {
            let (channel, y) = (line / rows, line % rows);
            let table = &table[channel];
            let from = y.checked_add_signed(dy).filter(|&y| y < rows && width > 0);
            let Some(y) = from else {
                to.fill(table[0]);
                continue;
            };
            let from = &source[(channel * rows + y) * cols + first..][..width];
            if crop.flip {
                let end = cols - begin;
                to[end..].fill(table[0]);
                to[..end - width].fill(table[0]);
                to[end - width..end]
                    .iter_mut()
                    .rev()
                    .zip(from)
                    .for_each(|(to, &from)| *to = table[usize::from(from)]);
            } else {
                to[..begin].fill(table[0]);
                to[begin + width..].fill(table[0]);
                to[begin..][..width]
                    .iter_mut()
                    .zip(from)
                    .for_each(|(to, &from)| *to = table[usize::from(from)]);
            }
        }
    }
    Ok(())
}

fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), DataError> {
    if expected == got { Ok(()) } else { Err(DataError::Length { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Seed;
    use crate::data::normalisation::Normalisation;

    fn images(n: usize, rows: usize, cols: usize) -> LabelledImages {
        let stream = Seed(0).stream("test", 0, 0);
        let images = (0..n * 3 * rows * cols).map(|i| stream.u32_at(i as u64) as u8).collect();
        LabelledImages { channels: 3, ..LabelledImages::grey(images, vec![0; n], rows, cols, 1) }
    }

    /// The definition: pad, crop, mirror, normalise.
    fn naive(
        set: &LabelledImages,
        idx: &[u32],
        padding: usize,
        crops: &[Crop],
        table: &Table,
    ) -> Vec<f32> {
        let (rows, cols) = (set.rows, set.cols);
        let mut out = Vec::new();
        for (&i, crop) in idx.iter().zip(crops) {
            for (c, table) in table.iter().enumerate() {
                let mut padded = vec![vec![0u8; cols + 2 * padding]; rows + 2 * padding];
                for y in 0..rows {
                    for x in 0..cols {
                        padded[y + padding][x + padding] =
                            set.images[((i as usize * 3 + c) * rows + y) * cols + x];
                    }
                }
                for y in 0..rows {
                    let mut line: Vec<u8> = (0..cols)
                        .map(|x| padded[y + usize::from(crop.top)][x + usize::from(crop.left)])
                        .collect();
                    if crop.flip {
                        line.reverse();
                    }
                    out.extend(line.iter().map(|&byte| table[usize::from(byte)]));
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn a_cut_is_the_naive_one_for_any_place_and_size(
            rows in 1usize..9, cols in 1usize..9, padding in 0u8..12,
            picks in prop::collection::vec((0u32..5, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6)
        ) {
            let set = images(5, rows, cols);
            let idx: Vec<u32> = picks.iter().map(|p| p.0).collect();
            let places = 2 * usize::from(padding) + 1;
            let crop = |p: &(u32, prop::sample::Index, prop::sample::Index, bool)| {
                Crop { top: p.1.index(places) as u16, left: p.2.index(places) as u16, flip: p.3 }
            };
            let crops: Vec<Crop> = picks.iter().map(crop).collect();
            let table = Normalisation::Crd.table();
            let mut out = vec![f32::NAN; idx.len() * set.pixels()];
            gather(&set, &idx, padding, &crops, &table, &mut out).unwrap();
            prop_assert_eq!(out, naive(&set, &idx, usize::from(padding), &crops, &table));
        }
    }

    #[test]
    fn padding_is_black_before_it_is_normalised() {
        let white =
            LabelledImages { channels: 3, ..LabelledImages::grey(vec![255; 12], vec![0], 2, 2, 1) };
        let table = Normalisation::Reviewkd.table();
        let mut out = [0.0; 12];
        gather(&white, &[0], 4, &[Crop { top: 3, left: 4, flip: false }], &table, &mut out)
            .unwrap();
        for c in 0..3 {
            let black =
                (0.0 - Normalisation::Reviewkd.mean()[c]) / Normalisation::Reviewkd.std()[c];
            assert_eq!(out[c * 4..][..4], [black, black, table[c][255], table[c][255]]);
        }
    }

    #[test]
    fn cuts_are_even_over_all_places_and_a_function_of_seed_epoch_step_and_position() {
        let step = |seed, epoch, step| StepSeed { seed: Seed(seed), epoch, step };
        let n = 81_000;
        let crops = CropFlip { padding: 4, flip: true }.crops(step(1, 2, 3), n);
        let mut counts = [[0usize; 9]; 9];
        crops.iter().for_each(|c| counts[usize::from(c.top)][usize::from(c.left)] += 1);
        // 1000 expected at each place, deviation 31; half mirrored, deviation 142.
        assert!(counts.iter().flatten().all(|n| n.abs_diff(1000) < 150), "{counts:?}");
        let mirrored = crops.iter().filter(|c| c.flip).count();
        assert!(mirrored.abs_diff(n / 2) < 700, "{mirrored}");
        // A shorter batch begins with the same crops; another seed, epoch or step has others.
        let some = |s: StepSeed| CropFlip { padding: 4, flip: true }.crops(s, 100);
        assert_eq!(some(step(1, 2, 3)), crops[..100]);
        for other in [step(2, 2, 3), step(1, 3, 3), step(1, 2, 4)] {
            assert_ne!(some(other), crops[..100]);
        }
        let none = CropFlip::NONE.crops(step(1, 2, 3), 100);
        assert_eq!(none, [Crop { top: 0, left: 0, flip: false }; 100]);
    }

    #[test]
    fn wrong_lengths_indices_and_grey_images_are_errors() {
        let (set, table) = (images(2, 2, 2), Normalisation::Crd.table());
        let crop = [Crop { top: 0, left: 0, flip: false }];
        let message = |r: Result<(), DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(gather(&set, &[2], 0, &crop, &table, &mut [0.0; 12])),
            "image index: expected less than 2, got 2"
        );
        assert_eq!(
            message(gather(&set, &[1], 0, &crop, &table, &mut [0.0; 11])),
            "batch buffer: expected 12 elements, got 11"
        );
        assert_eq!(
            message(gather(&set, &[1], 0, &[], &table, &mut [0.0; 12])),
            "crops: expected 1 elements, got 0"
        );
        let grey = LabelledImages::grey(vec![0; 4], vec![0], 2, 2, 1);
        let error = message(gather(&grey, &[0], 0, &crop, &table, &mut [0.0; 4]));
        assert_eq!(error, "channels of normalised images: expected 3, got 1");
    }
}
