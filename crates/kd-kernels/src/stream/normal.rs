//! The transform of Box and Muller from basic arithmetic, so that its bits are the same on every
//! machine.

use crate::multiversion::multiversioned;

/// Two independent standard normals from two words: the first gives the radius, the second the
/// angle.
#[inline(always)]
pub(super) fn pair(radius: u32, angle: u32) -> (f32, f32) {
    let r = (-2.0 * ln_unit(radius)).sqrt();
    let (cos, sin) = cos_sin_turn(angle);
    ((r * cos) as f32, (r * sin) as f32)
}

multiversioned! {
    /// Fills `out` with the normals of `words`, pair by pair; `words` is as long as `out`, rounded up to even.
    pub(super) fn fill(words: &[u32], out: &mut [f32]) {
        let (out_groups, out_rest) = out.as_chunks_mut::<16>();
        let (words, word_rest) = words.split_at(16 * out_groups.len());
        for (w, o) in words.as_chunks::<16>().0.iter().zip(out_groups) {
            for l in 0..8 {
                (o[2 * l], o[2 * l + 1]) = pair(w[2 * l], w[2 * l + 1]);
            }
        }
        for (w, o) in word_rest.chunks(2).zip(out_rest.chunks_mut(2)) {
            let (cos, sin) = pair(w[0], w[1]);
            o[0] = cos;
            if let Some(second) = o.get_mut(1) {
                *second = sin;
            }
        }
    }
}

/// ln((w + ½)·2^-32), to about 1e-13.
///
/// The argument is m·2^e with m in [√½, √2), and ln m = 2·artanh(s), s = (m − 1)/(m + 1), by its
/// series to s^15.
#[inline(always)]
fn ln_unit(w: u32) -> f64 {
    let u = f64::from(w) + 0.5;
    let bits = u.to_bits();
    // Moves the border between two exponents from 1 to √2.
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let e = (bits.wrapping_sub(SQRT_HALF) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((e as u64) << 52));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let mut p = 1.0 / 15.0;
    p = p * s2 + 1.0 / 13.0;
    p = p * s2 + 1.0 / 11.0;
    p = p * s2 + 1.0 / 9.0;
    p = p * s2 + 1.0 / 7.0;
    p = p * s2 + 1.0 / 5.0;
    p = p * s2 + 1.0 / 3.0;
    p = p * s2 + 1.0;
    2.0 * s * p + ((e as i32) - 32) as f64 * std::f64::consts::LN_2
}

/// (cos, sin) of w·2^-32 turns, to about 1e-13: the nearest quarter turn exactly, and Taylor series
/// over the rest, at most an eighth.
#[inline(always)]
fn cos_sin_turn(w: u32) -> (f64, f64) {
    let quarter = w.wrapping_add(1 << 29) >> 30;
    let rest = w.wrapping_sub(quarter << 30) as i32;
    let t = f64::from(rest) * (std::f64::consts::TAU / 4294967296.0);
    let t2 = t * t;
    let mut sin = 1.0 / 6227020800.0;
    sin = sin * t2 - 1.0 / 39916800.0;
    sin = sin * t2 + 1.0 / 362880.0;
    sin = sin * t2 - 1.0 / 5040.0;
    sin = sin * t2 + 1.0 / 120.0;
    sin = sin * t2 - 1.0 / 6.0;
    sin = (sin * t2 + 1.0) * t;
    let mut cos = -1.0 / 87178291200.0;
    cos = cos * t2 + 1.0 / 479001600.0;
    cos = cos * t2 - 1.0 / 3628800.0;
    cos = cos * t2 + 1.0 / 40320.0;
    cos = cos * t2 - 1.0 / 720.0;
    cos = cos * t2 + 1.0 / 24.0;
    cos = cos * t2 - 0.5;
    cos = cos * t2 + 1.0;
    let (a, b) = if quarter & 1 == 0 { (cos, sin) } else { (sin, cos) };
    let cos_sign = if (quarter + 1) & 2 == 0 { 1.0 } else { -1.0 };
    let sin_sign = if quarter & 2 == 0 { 1.0 } else { -1.0 };
    (cos_sign * a, sin_sign * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> impl Iterator<Item = u32> {
        let borders =
            (0..=16u32).flat_map(|k| (-2i32..=2).map(move |d| (k << 28).wrapping_add_signed(d)));
        borders.chain((0..100_000u32).map(|i| i.wrapping_mul(0x9E37_79B9)))
    }

    #[test]
    fn the_logarithm_agrees_with_the_standard_library() {
        for w in words() {
            let (got, want) = (ln_unit(w), ((f64::from(w) + 0.5) / 4294967296.0).ln());
            assert!(
                (got - want).abs() <= 1e-12 * want.abs().max(1e-9),
                "word {w}: got {got}, expected {want}"
            );
        }
    }

    #[test]
    fn the_angle_agrees_with_the_standard_library() {
        for w in words() {
            let (cos, sin) = cos_sin_turn(w);
            let (want_sin, want_cos) =
                (f64::from(w) * (std::f64::consts::TAU / 4294967296.0)).sin_cos();
            assert!((cos - want_cos).abs() < 1e-12 && (sin - want_sin).abs() < 1e-12, "word {w}");
        }
    }
}
