//! The exponential and the row reductions that softmax and the losses share, written so that the compiler can vectorise them.
//!
//! Sums are taken in f64: softened losses multiply by T², which would raise f32 rounding by the same factor.

/// Lanes of one step of a reduction. Fixed, so that sums have one order on every machine.
const LANES: usize = 8;

/// e^x for x <= 0, to about 1e-14 of its value; 0 below -700; NaN for NaN.
///
/// x = n·ln 2 + r with |r| <= ln(2)/2, and e^r by its Taylor series to r^11, whose next term is below 7e-15.
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

/// The largest value of a row; NaN is passed over (the terms of [`exp_sum`] then carry it).
#[inline(always)]
pub(crate) fn row_max(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = xs.as_chunks::<16>();
    for chunk in chunks {
        for (m, &x) in lanes.iter_mut().zip(chunk) {
            *m = if x > *m { x } else { *m };
        }
    }
    for (m, &x) in lanes.iter_mut().zip(rest) {
        *m = if x > *m { x } else { *m };
    }
    lanes.iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m })
}

/// Writes e^((x_j − max)·scale) to `terms` and returns the sum. `max` must be the row's largest value, and scale >= 0.
#[inline(always)]
pub(crate) fn exp_sum(xs: &[f32], max: f32, scale: f64, terms: &mut [f64]) -> f64 {
    let mut lanes = [0f64; LANES];
    let max = max as f64;
    let (chunks, rest) = xs.as_chunks::<LANES>();
    let (outs, out_rest) = terms.as_chunks_mut::<LANES>();
    for (chunk, out) in chunks.iter().zip(outs) {
        for l in 0..LANES {
            out[l] = exp_nonpos((chunk[l] as f64 - max) * scale);
            lanes[l] += out[l];
        }
    }
    if !rest.is_empty() {
        // The tail goes through the same lanes, filled up with values whose exponential is 0.
        let mut padded = [f64::NEG_INFINITY; LANES];
        for (p, &x) in padded.iter_mut().zip(rest) {
            *p = (x as f64 - max) * scale;
        }
        for (lane, p) in lanes.iter_mut().zip(&mut padded) {
            *p = exp_nonpos(*p);
            *lane += *p;
        }
        out_rest[..rest.len()].copy_from_slice(&padded[..rest.len()]);
    }
    sum_lanes(lanes)
}

/// Σ_j f(j) over 0..n, in lanes of a fixed number.
#[inline(always)]
pub(crate) fn lane_sum(n: usize, f: impl Fn(usize) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += f(start + l);
        }
    }
    for (lane, j) in lanes.iter_mut().zip(whole..n) {
        *lane += f(j);
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn sum_lanes(lanes: [f64; LANES]) -> f64 {
    lanes.iter().sum()
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
    fn exp_nonpos_at_the_edges() {
        assert_eq!(exp_nonpos(0.0), 1.0);
        assert_eq!(exp_nonpos(-701.0), 0.0);
        assert_eq!(exp_nonpos(f64::NEG_INFINITY), 0.0);
        assert!(exp_nonpos(f64::NAN).is_nan());
    }

    #[test]
    fn row_reductions_agree_with_the_plain_loop_at_every_length() {
        for n in 1..70 {
            let xs: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            let max = xs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(row_max(&xs), max);
            let mut terms = vec![0.0; n];
            let sum = exp_sum(&xs, max, 0.25, &mut terms);
            let want: Vec<f64> = xs.iter().map(|&x| ((x as f64 - max as f64) * 0.25).exp()).collect();
            for (got, want) in terms.iter().zip(&want) {
                assert!((got - want).abs() < 1e-14);
            }
            assert!((sum - want.iter().sum::<f64>()).abs() < 1e-12);
            assert!((lane_sum(n, |j| terms[j]) - sum).abs() < 1e-12);
        }
    }

    #[test]
    fn a_nan_in_a_row_reaches_the_sum() {
        let mut xs = [0.5f32; 19];
        xs[17] = f32::NAN;
        let mut terms = [0.0; 19];
        assert!(exp_sum(&xs, row_max(&xs), 1.0, &mut terms).is_nan());
    }
}
