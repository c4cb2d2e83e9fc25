//! Images at a lower resolution.

use super::LabelledImages;
use crate::{Error, Result};

/// The images with each `factor`×`factor` square of a plane replaced by its mean, rounded to the
/// nearest byte, halves up; a factor of 1 leaves them as they are.
///
/// # Errors
/// Bad input when `factor` is 0 or does not divide height and width.
pub fn pooled(images: &LabelledImages, factor: usize) -> Result<LabelledImages> {
    if factor == 0 || !images.rows.is_multiple_of(factor) || !images.cols.is_multiple_of(factor) {
        return Err(Error::bad_input(format!(
            "pool: expected a divisor of {} and {}, got {factor}",
            images.rows, images.cols
        )));
    }
    if factor == 1 {
        return Ok(images.clone());
    }
    let (rows, cols) = (images.rows / factor, images.cols / factor);
    let area = (factor * factor) as u32;
    let mut bytes = Vec::with_capacity(images.images.len() / (factor * factor));
    for plane in images.images.chunks_exact(images.rows * images.cols) {
        for row in 0..rows {
            for col in 0..cols {
                let square = (0..factor).flat_map(|y| {
                    let start = (row * factor + y) * images.cols + col * factor;
                    &plane[start..start + factor]
                });
                let sum: u32 = square.map(|&byte| u32::from(byte)).sum();
                // A mean of bytes is a byte.
                bytes.push(((sum + area / 2) / area) as u8);
            }
        }
    }
    let LabelledImages { channels, classes, .. } = *images;
    let (labels, coarse) = (images.labels.clone(), images.coarse.clone());
    Ok(LabelledImages { images: bytes, labels, coarse, channels, rows, cols, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_square_of_every_plane_becomes_its_mean() -> Result<()> {
        let plane = |add: u8| -> Vec<u8> { (0..16).map(|i| i + add).collect() };
        let grey = LabelledImages::grey([plane(0), plane(100)].concat(), vec![0], 4, 4, 2);
        let images = LabelledImages { channels: 2, ..grey };
        let half = pooled(&images, 2)?;
        assert_eq!((half.rows, half.cols, half.channels, half.len()), (2, 2, 2, 1));
        // The mean of 0, 1, 4 and 5 is 2.5.
        assert_eq!(half.images, [3, 5, 11, 13, 103, 105, 111, 113]);
        assert_eq!(pooled(&images, 1)?, images);
        for factor in [0, 3, 8] {
            assert!(pooled(&images, factor).expect_err("no divisor").is_bad_input());
        }
        Ok(())
    }
}
