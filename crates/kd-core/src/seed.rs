//! Randomness as a function: every draw is f(seed, purpose, epoch, step), so nothing has generator
//! state to save, a resumed run is bit for bit the same, and results depend neither on the number
//! of threads nor on the order in which things are made.

use kd_kernels::stream::Stream;

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream for one purpose at one step. Different purposes (`"shuffle"`, `"dropout.0"`, a
    /// parameter's name) have unrelated streams, and so have different epochs and steps below
    /// 2³² of each.
    pub fn stream(self, purpose: &str, epoch: usize, step: usize) -> Stream {
        Stream::new(
            split_mix(self.0 ^ split_mix(fnv1a(purpose.as_bytes()))),
            ((epoch as u64) << 32) | step as u64,
        )
    }

    /// The order in which an epoch shows `examples` training examples: the row at each place.
    pub fn order(self, epoch: usize, examples: usize) -> Vec<u32> {
        let order = self.stream("shuffle", epoch, 0).permutation(examples);
        order.into_iter().map(|row| row as u32).collect()
    }
}

/// FNV-1a of some bytes, 64 bits: short names get well separated words, and the value is fixed for
/// ever, which committed results rely on.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that
/// spreads every input bit over the whole word, so different inputs never collide.
pub const fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The draws of one training step: the seed with its epoch and step filled in.
#[derive(Clone, Copy, Debug)]
pub struct StepSeed {
    /// The run's seed.
    pub seed: Seed,
    /// Epoch, counted from 0.
    pub epoch: usize,
    /// Step within the epoch, counted from 0.
    pub step: usize,
}

impl StepSeed {
    /// The draws of a second view of the step's images: streams that have nothing to do with those
    /// of the first.
    pub fn of_second_view(&self) -> Self {
        let seed = Seed(split_mix(self.seed.0 ^ split_mix(fnv1a(b"second view"))));
        Self { seed, ..*self }
    }

    /// The stream for `purpose` at this step.
    pub fn stream(&self, purpose: &str) -> Stream {
        self.seed.stream(purpose, self.epoch, self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_published_test_vectors() {
        // Noll's test suite of FNV-1a.
        assert_eq!(
            [fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")],
            [0xcbf29ce484222325, 0xaf63dc4c8601ec8c, 0x85944171f73967e8]
        );
        // The first outputs of SplitMix64 with seed 0, whose state grows by the golden ratio.
        let outputs = [1, 2].map(|n: u64| split_mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        assert_eq!(outputs, [0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4]);
    }

    #[test]
    fn streams_differ_by_seed_purpose_epoch_and_step_and_repeat_otherwise() {
        let first = |s: Stream| (0..4).map(|i| s.u32_at(i)).collect::<Vec<_>>();
        let base = first(Seed(1).stream("shuffle", 2, 3));
        assert_eq!(base, first(Seed(1).stream("shuffle", 2, 3)));
        for other in [
            Seed(2).stream("shuffle", 2, 3),
            Seed(1).stream("dropout", 2, 3),
            Seed(1).stream("shuffle", 3, 2),
            Seed(1).stream("shuffle", 2, 4),
        ] {
            assert_ne!(base, first(other));
        }
    }

    #[test]
    fn a_second_view_has_draws_of_its_own_at_each_step() {
        let step = |seed, step| StepSeed { seed: Seed(seed), epoch: 2, step };
        let first = |s: StepSeed| (0..4).map(|i| s.stream("crop").u32_at(i)).collect::<Vec<_>>();
        let second = first(step(1, 3).of_second_view());
        assert_eq!(second, first(step(1, 3).of_second_view()));
        for other in [step(1, 3), step(1, 4).of_second_view(), step(2, 3).of_second_view()] {
            assert_ne!(second, first(other));
        }
    }
}
