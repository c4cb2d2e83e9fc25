//! Batches of images as `f32` rows, optionally moved by a few pixels.

use super::{DataError, LabelledImages};

/// Writes the images at `idx` to `out`: `out[b, p] = images[idx[b], p] / 255`, shape `[idx.len(),
/// pixels]`, in `[0, 1]`.
///
/// # Errors
/// [`DataError::Index`] for an index without an image, [`DataError::Length`] for an `out` of
/// another size.
pub fn gather(images: &LabelledImages, idx: &[u32], out: &mut [f32]) -> Result<(), DataError> {
    let d = images.pixels();
    images.check(idx)?;
    check_len("batch buffer", idx.len() * d, out.len())?;
    for (&i, row) in idx.iter().zip(out.chunks_exact_mut(d.max(1))) {
        let i = i as usize;
        scale(&images.images[i * d..(i + 1) * d], row);
    }
    Ok(())
}

/// As [`gather`], each image moved by its `(dx, dy)` with zeros behind it: `out[b, c, y, x] =
/// images[idx[b], c, y − dy, x − dx] / 255`, and 0 where that lies outside. Positive `dx` moves to
/// the right, positive `dy` down.
///
/// The jitter of Hinton, Vinyals and Dean (2015), section 3: "jittered by up to two pixels in any
/// direction".
///
/// # Errors
/// [`DataError::Index`] for an index without an image, [`DataError::Length`] for `shifts` or `out`
/// of another size.
pub fn gather_jittered(
    images: &LabelledImages,
    idx: &[u32],
    shifts: &[(i8, i8)],
    out: &mut [f32],
) -> Result<(), DataError> {
    let (rows, cols, d) = (images.rows, images.cols, images.pixels());
    images.check(idx)?;
    check_len("shifts", idx.len(), shifts.len())?;
    check_len("batch buffer", idx.len() * d, out.len())?;
    for ((&i, &(dx, dy)), image) in idx.iter().zip(shifts).zip(out.chunks_exact_mut(d.max(1))) {
        let source = &images.images[i as usize * d..(i as usize + 1) * d];
        // Columns x of the output with 0 <= x - dx < cols; empty when the shift is wider than the
        // image.
        let left = usize::try_from(dx).unwrap_or(0).min(cols);
        let cut = usize::from(dx.unsigned_abs()) - usize::try_from(dx).unwrap_or(0);
        let width = cols.saturating_sub(usize::from(dx.unsigned_abs()));
        for (i, row) in image.chunks_exact_mut(cols.max(1)).enumerate() {
            let (plane, y) = (i / rows, i % rows);
            let from = y.checked_add_signed(-isize::from(dy)).filter(|&y| y < rows && width > 0);
            match from {
                None => row.fill(0.0),
                Some(y) => {
                    row[..left].fill(0.0);
                    scale(
                        &source[(plane * rows + y) * cols + cut..][..width],
                        &mut row[left..][..width],
                    );
                    row[left + width..].fill(0.0);
                }
            }
        }
    }
    Ok(())
}

fn scale(from: &[u8], to: &mut [f32]) {
    for (to, &from) in to.iter_mut().zip(from) {
        // Correctly rounded from / 255 for each of the 256 bytes, which a test checks, and without
        // the division. Multiplying by 1/255 once is off by one bit for 126 of them.
        *to = f32::from(from) * 3.0 * (1.0 / 765.0);
    }
}

fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), DataError> {
    if expected == got { Ok(()) } else { Err(DataError::Length { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn images(n: usize, rows: usize, cols: usize) -> LabelledImages {
        let images = (0..n * rows * cols)
            .map(|i| crate::Seed(0).stream("test", 0, 0).u32_at(i as u64) as u8)
            .collect();
        LabelledImages::grey(images, vec![0; n], rows, cols, 1)
    }

    fn naive(set: &LabelledImages, idx: &[u32], shifts: &[(i8, i8)]) -> Vec<f32> {
        let mut out = Vec::new();
        for (&i, &(dx, dy)) in idx.iter().zip(shifts) {
            for y in 0..set.rows as isize {
                for x in 0..set.cols as isize {
                    let (sy, sx) = (y - isize::from(dy), x - isize::from(dx));
                    let inside = (0..set.rows as isize).contains(&sy)
                        && (0..set.cols as isize).contains(&sx);
                    let pixel = if inside {
                        set.images[i as usize * set.pixels() + sy as usize * set.cols + sx as usize]
                    } else {
                        0
                    };
                    out.push(f32::from(pixel) / 255.0);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn jitter_is_the_naive_one_for_any_shift_and_size(
            rows in 1usize..9, cols in 1usize..9, picks in prop::collection::vec((0u32..5, any::<i8>(), any::<i8>(), any::<bool>()), 0..6)
        ) {
            let set = images(5, rows, cols);
            let idx: Vec<u32> = picks.iter().map(|p| p.0).collect();
            // Half of the shifts small enough to leave something of the image.
            let shifts: Vec<(i8, i8)> = picks.iter().map(|&(_, x, y, small)| if small { (x % 4, y % 4) } else { (x, y) }).collect();
            let mut out = vec![f32::NAN; idx.len() * rows * cols];
            gather_jittered(&set, &idx, &shifts, &mut out).unwrap();
            prop_assert_eq!(out, naive(&set, &idx, &shifts));
        }
    }

    #[test]
    fn a_pixel_moves_right_and_down() {
        let set = LabelledImages::grey(vec![255, 0, 0, 0], vec![0], 2, 2, 1);
        let mut out = [0.0; 4];
        gather_jittered(&set, &[0], &[(1, 0)], &mut out).unwrap();
        assert_eq!(out, [0.0, 1.0, 0.0, 0.0]);
        gather_jittered(&set, &[0], &[(0, 1)], &mut out).unwrap();
        assert_eq!(out, [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn scaling_is_the_correctly_rounded_quotient_for_every_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = vec![0.0; 256];
        scale(&bytes, &mut out);
        assert_eq!(out, bytes.iter().map(|&b| f32::from(b) / 255.0).collect::<Vec<_>>());
    }

    #[test]
    fn gather_equals_rows_of_the_tensor() {
        let set = images(4, 3, 2);
        let mut out = vec![0.0; 12];
        gather(&set, &[3, 1], &mut out).unwrap();
        let all = set.to_tensor(&candle_core::Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(out, [all[3].clone(), all[1].clone()].concat());
    }

    #[test]
    fn wrong_lengths_and_indices_are_errors() {
        let set = images(2, 2, 2);
        let message = |r: Result<(), DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(gather(&set, &[2], &mut [0.0; 4])),
            "image index: expected less than 2, got 2"
        );
        assert_eq!(
            message(gather(&set, &[1], &mut [0.0; 5])),
            "batch buffer: expected 4 elements, got 5"
        );
        assert_eq!(
            message(gather_jittered(&set, &[1], &[], &mut [0.0; 4])),
            "shifts: expected 1 elements, got 0"
        );
    }
}
