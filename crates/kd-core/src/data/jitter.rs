//! Batches of images as `f32` rows, optionally moved by a few pixels.

use super::counter::draw;
use super::{DataError, LabelledImages};

/// Keeps these draws apart from every other use of the same seed.
const PURPOSE: u64 = 0x6A69_7474;

/// Writes the images at `idx` to `out`: `out[b, p] = images[idx[b], p] / 255`, shape `[idx.len(), rows × cols]`, in `[0, 1]`.
///
/// # Errors
/// [`DataError::Index`] for an index without an image, [`DataError::Length`] for an `out` of another size.
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

/// As [`gather`], each image moved by its `(dx, dy)` with zeros behind it: `out[b, y, x] = images[idx[b], y − dy, x − dx] / 255`,
/// and 0 where that lies outside. Positive `dx` moves to the right, positive `dy` down.
///
/// The jitter of Hinton, Vinyals and Dean (2015), section 3: "jittered by up to two pixels in any direction".
///
/// # Errors
/// [`DataError::Index`] for an index without an image, [`DataError::Length`] for `shifts` or `out` of another size.
pub fn gather_jittered(images: &LabelledImages, idx: &[u32], shifts: &[(i8, i8)], out: &mut [f32]) -> Result<(), DataError> {
    let (rows, cols, d) = (images.rows, images.cols, images.pixels());
    images.check(idx)?;
    check_len("shifts", idx.len(), shifts.len())?;
    check_len("batch buffer", idx.len() * d, out.len())?;
    for ((&i, &(dx, dy)), image) in idx.iter().zip(shifts).zip(out.chunks_exact_mut(d.max(1))) {
        let source = &images.images[i as usize * d..(i as usize + 1) * d];
        // Columns x of the output with 0 <= x - dx < cols; empty when the shift is wider than the image.
        let left = usize::try_from(dx).unwrap_or(0).min(cols);
        let cut = usize::from(dx.unsigned_abs()) - usize::try_from(dx).unwrap_or(0);
        let width = cols.saturating_sub(usize::from(dx.unsigned_abs()));
        for (y, row) in image.chunks_exact_mut(cols.max(1)).enumerate() {
            let from = y.checked_add_signed(-isize::from(dy)).filter(|&y| y < rows && width > 0);
            match from {
                None => row.fill(0.0),
                Some(y) => {
                    row[..left].fill(0.0);
                    scale(&source[y * cols + cut..][..width], &mut row[left..][..width]);
                    row[left + width..].fill(0.0);
                }
            }
        }
    }
    Ok(())
}

/// The moves of one batch: for each image independently and uniformly one of the `(2·radius + 1)²` pairs `(dx, dy)` with
/// `|dx|, |dy| <= radius`, a function of `(seed, epoch, image index)` and of nothing else, so it does not depend on the batch that an
/// image is in. Replaces what is in `out`.
pub fn draw_shifts(seed: u64, epoch: u64, idx: &[u32], radius: u8, out: &mut Vec<(i8, i8)>) {
    // i8 is enough up to a radius of 127; images are smaller than that, and a wider shift than the image blanks it anyway.
    let radius = radius.min(127) as i8;
    let side = 2 * radius as u64 + 1;
    out.clear();
    out.extend(idx.iter().map(|&i| {
        let bits = draw(seed, PURPOSE ^ (epoch << 32), u64::from(i));
        // Two 32-bit halves scaled to 0..side; the bias is below side/2³².
        let pick = |half: u64| (((half & 0xFFFF_FFFF) * side) >> 32) as i64 - i64::from(radius);
        (pick(bits) as i8, pick(bits >> 32) as i8)
    }));
}

fn scale(from: &[u8], to: &mut [f32]) {
    for (to, &from) in to.iter_mut().zip(from) {
        // Correctly rounded from / 255 for each of the 256 bytes, which a test checks, and without the division. Multiplying by 1/255 once
        // is off by one bit for 126 of them.
        *to = f32::from(from) * 3.0 * (1.0 / 765.0);
    }
}

fn check_len(what: &'static str, expected: usize, got: usize) -> Result<(), DataError> {
    if expected == got { Ok(()) } else { Err(DataError::Length { what, expected, got }) }
}
