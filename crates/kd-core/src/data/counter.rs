//! Random numbers as a function: the n-th draw of a named stream, with no state to save.

use crate::seed::split_mix;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Draw number `index` of stream `purpose` under `seed`.
///
/// For a fixed seed and purpose this is injective in `index`, so sorting by it is a permutation
/// without ties.
pub(crate) const fn draw(seed: u64, purpose: u64, index: u64) -> u64 {
    let key = split_mix(split_mix(seed.wrapping_add(GOLDEN)) ^ purpose.wrapping_mul(GOLDEN));
    split_mix(key.wrapping_add(index.wrapping_mul(GOLDEN)))
}

/// The draws of one stream in order.
///
/// Only additions, multiplications and shifts are used, so the numbers are the same bits on every
/// platform.
pub(crate) struct Counter {
    state: u64,
}

impl Counter {
    /// The stream of one `(seed, purpose, index)`.
    pub(crate) const fn new(seed: u64, purpose: u64, index: u64) -> Self {
        Self { state: draw(seed, purpose, index) }
    }

    /// The next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        split_mix(self.state)
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻²⁴.
    pub(crate) const fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub(crate) const fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Mean 0 and variance 1, close to normal: four uniforms summed (Irwin-Hall), hence within
    /// ±3.47. Box-Muller would need a logarithm and a cosine, whose last bits differ between
    /// platforms.
    pub(crate) const fn gauss(&mut self) -> f32 {
        // Variance of the sum is 4/12.
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732_050_8
    }

    /// Uniform in `0..n`; the bias of the multiplication is below n/2⁶⁴.
    pub(crate) const fn below(&mut self, n: u64) -> u64 {
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_seed_purpose_or_index_differ() {
        let base = draw(1, 2, 3);
        assert_ne!(base, draw(2, 2, 3));
        assert_ne!(base, draw(1, 3, 3));
        assert_ne!(base, draw(1, 2, 4));
    }

    #[test]
    fn gauss_has_mean_zero_and_variance_one() {
        let mut c = Counter::new(7, 0, 0);
        let n = 100_000;
        let xs: Vec<f64> = (0..n).map(|_| f64::from(c.gauss())).collect();
        let mean = xs.iter().sum::<f64>() / f64::from(n);
        let var = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Standard errors are 0.003 and 0.004.
        assert!(mean.abs() < 0.015, "{mean}");
        assert!((var - 1.0).abs() < 0.02, "{var}");
    }

    #[test]
    fn below_reaches_each_value_about_equally_often() {
        let mut c = Counter::new(7, 1, 0);
        let mut counts = [0u32; 5];
        for _ in 0..50_000 {
            counts[c.below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 500), "{counts:?}");
    }
}
