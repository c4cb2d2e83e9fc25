//! The exponential and the row reductions that softmax and the losses share, written so that the
//! compiler can vectorise them.
//!
//! Sums are taken in f64: softened losses multiply by T², which would raise f32 rounding by the
//! same factor.

/// Lanes of one step of a reduction. Fixed, so that sums have one order on every machine.
const LANES: usize = 16;

/// e^x for x <= 0, to about 1e-14 of its value; 0 below -700; NaN for NaN.
///
/// x = n·ln 2 + r with |r| <= ln(2)/2, and e^r by its Taylor series to r^11, whose next term is
/// below 7e-15.
#[inline(always)]
pub(crate) fn exp_nonpos(x: f64) -> f64 {
    // Adding 1.5·2^52 leaves the nearest integer in the low bits of the mantissa.
    const SHIFT: f64 = 6755399441055744.0;
    const LN_2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x * std::f64::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    let mut p = 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let two_to_n = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    if x < -700.0 { 0.0 } else { p * two_to_n }
}

/// e^x for x <= 0 in f32, to about 2e-7 of its value; 0 below -87; NaN for NaN.
///
/// As [`exp_nonpos`], with the polynomial of Cephes' `expf`. Half the time a lane and twice the
/// lanes: for weights and gradients that are rounded to f32 next, where nothing raises the
/// rounding.
#[inline(always)]
pub(crate) fn exp32_nonpos(x: f32) -> f32 {
    // Adding 1.5·2^23 leaves the nearest integer in the low bits of the mantissa.
    const SHIFT: f32 = 12582912.0;
    const LN_2_HI: f32 = 0.693_359_4;
    const LN_2_LO: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    let two_to_n = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * two_to_n }
}

/// The largest value of a row; NaN is passed over (the terms of [`exp_rows`] then carry it).
#[inline(always)]
pub(crate) fn row_max(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for (m, &x) in lanes.iter_mut().zip(chunk) {
            *m = if x > *m { x } else { *m };
        }
    }
    for (m, &x) in lanes.iter_mut().zip(rest) {
        *m = if x > *m { x } else { *m };
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] = if lanes[l + half] > lanes[l] { lanes[l + half] } else { lanes[l] };
        }
    }
    lanes[0]
}

/// For each row of `row` values: its largest to `maxes`, and e^((x_j − max)·scale) to `terms`, with
/// scale >= 0.
///
/// The exponential runs over all rows in one loop, because a loop over ten classes is too short to
/// be vectorised.
#[inline(always)]
pub(crate) fn exp_rows(xs: &[f32], row: usize, scale: f64, maxes: &mut [f32], terms: &mut [f64]) {
    for ((xs, terms), max) in xs.chunks_exact(row).zip(terms.chunks_exact_mut(row)).zip(maxes) {
        *max = row_max(xs);
        let max = f64::from(*max);
        for (t, &x) in terms.iter_mut().zip(xs) {
            *t = (f64::from(x) - max) * scale;
        }
    }
    for t in terms {
        *t = exp_nonpos(*t);
    }
}

/// How many rows go through [`exp_rows`] at once: enough for a long loop, few enough that their
/// terms stay in the first cache.
pub(crate) fn block_rows(row: usize) -> usize {
    (1024 / row).max(1)
}

/// Σ_j x_j, in lanes of a fixed number.
#[inline(always)]
pub(crate) fn sum(xs: &[f64]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (chunks, rest) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] += chunk[l];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    fold(lanes)
}

/// Σ_j x_j·y_j in f64, in lanes of a fixed number; `ys` is as long as `xs`.
#[inline(always)]
pub(crate) fn dot(xs: &[f32], ys: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (x_chunks, x_rest) = xs.as_chunks::<LANES>();
    let (y_chunks, y_rest) = ys.as_chunks::<LANES>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for l in 0..LANES {
            lanes[l] += f64::from(x[l]) * f64::from(y[l]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane += f64::from(x) * f64::from(y);
    }
    fold(lanes)
}

/// The lanes' sum by halves: four additions deep rather than sixteen.
#[inline(always)]
fn fold(mut lanes: [f64; LANES]) -> f64 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_nonpos_agrees_with_the_standard_library() {
        for i in 0..200_000 {
            let x = -(i as f64) * 0.0035;
            let (got, want) = (exp_nonpos(x), x.exp());
            assert!((got - want).abs() <= 2e-14 * want, "x {x}: got {got}, expected {want}");
        }
    }

    #[test]
    fn exp32_nonpos_agrees_with_the_standard_library() {
        for i in 0..200_000 {
            let x = -(i as f32) * 0.000435;
            let (got, want) = (f64::from(exp32_nonpos(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 2.5e-7 * want, "x {x}: got {got}, expected {want}");
        }
        assert_eq!(exp32_nonpos(0.0), 1.0);
        assert_eq!(exp32_nonpos(-88.0), 0.0);
        assert_eq!(exp32_nonpos(f32::NEG_INFINITY), 0.0);
        assert!(exp32_nonpos(f32::NAN).is_nan());
    }

    #[test]
    fn exp_nonpos_at_the_edges() {
        assert_eq!(exp_nonpos(0.0), 1.0);
        assert_eq!(exp_nonpos(-701.0), 0.0);
        assert_eq!(exp_nonpos(f64::NEG_INFINITY), 0.0);
        assert!(exp_nonpos(f64::NAN).is_nan());
    }

    #[test]
    fn row_reductions_agree_with_the_plain_loop_at_every_length() {
        for n in 1..70 {
            let xs: Vec<f32> = (0..2 * n).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            let (mut terms, mut maxes) = (vec![0.0; 2 * n], [0.0; 2]);
            exp_rows(&xs, n, 0.25, &mut maxes, &mut terms);
            for r in 0..2 {
                let (xs, terms) = (&xs[r * n..][..n], &terms[r * n..][..n]);
                let max = xs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(maxes[r], max);
                let want: Vec<f64> =
                    xs.iter().map(|&x| ((f64::from(x) - f64::from(max)) * 0.25).exp()).collect();
                assert!(terms.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-14));
                assert!((sum(terms) - want.iter().sum::<f64>()).abs() < 1e-12);
                let squares: f64 = xs.iter().map(|&x| f64::from(x).powi(2)).sum();
                assert!((dot(xs, xs) - squares).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_nan_in_a_row_reaches_the_sum_of_that_row_only() {
        let mut xs = [0.5f32; 38];
        xs[17] = f32::NAN;
        let (mut terms, mut maxes) = ([0.0; 38], [0.0; 2]);
        exp_rows(&xs, 19, 1.0, &mut maxes, &mut terms);
        assert!(sum(&terms[..19]).is_nan());
        assert_eq!(sum(&terms[19..]), 19.0);
    }
}
