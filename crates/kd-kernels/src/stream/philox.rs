//! Philox-4x32-10: one block at a time, and many in one loop for bulk.

use super::Stream;
use crate::multiversion::multiversioned;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Blocks computed in one loop, long enough to be vectorised.
const BLOCKS: usize = 64;
/// Words of [`BLOCKS`] blocks.
pub(crate) const WORDS: usize = 4 * BLOCKS;

/// The four words for one counter and key.
pub(super) fn block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let product0 = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let product1 = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (product1 >> 32) as u32 ^ counter[1] ^ key[0],
            product1 as u32,
            (product0 >> 32) as u32 ^ counter[3] ^ key[1],
            product0 as u32,
        ];
    }
    counter
}

/// Writes the words of blocks `first .. first + 64`, in order.
///
/// Each counter word has a 64-bit lane of which only the lower half counts: a round is then two
/// vector products, two shifts and four exclusive ors, without repacking.
#[inline(always)]
pub(super) fn words(key: [u32; 2], counter_hi: [u32; 2], first: u64, out: &mut [u32; WORDS]) {
    const LOW: u64 = 0xFFFF_FFFF;
    let keys: [[u64; 2]; ROUNDS] = std::array::from_fn(|r| {
        std::array::from_fn(|k| u64::from(key[k].wrapping_add(WEYL[k].wrapping_mul(r as u32))))
    });
    for (l, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let counter = first.wrapping_add(l as u64);
        let (mut c0, mut c1, mut c2, mut c3) =
            (counter, counter >> 32, u64::from(counter_hi[0]), u64::from(counter_hi[1]));
        for key in &keys {
            let product0 = (c0 & LOW) * u64::from(MULTIPLIERS[0]);
            let product1 = (c2 & LOW) * u64::from(MULTIPLIERS[1]);
            (c0, c1, c2, c3) = (
                (product1 >> 32) ^ c1 ^ key[0],
                product1,
                (product0 >> 32) ^ c3 ^ key[1],
                product0,
            );
        }
        *out = [c0 as u32, c1 as u32, c2 as u32, c3 as u32];
    }
}

multiversioned! {
    /// Fills `out` with the words of the stream from block `first` on.
    pub(super) fn fill(stream: &Stream, first: u64, out: &mut [u32]) {
        let (groups, rest) = out.as_chunks_mut::<WORDS>();
        let mut at = first;
        for group in groups {
            words(stream.key, stream.counter_hi, at, group);
            at = at.wrapping_add(BLOCKS as u64);
        }
        if !rest.is_empty() {
            let mut group = [0; WORDS];
            words(stream.key, stream.counter_hi, at, &mut group);
            rest.copy_from_slice(&group[..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_known_answers_of_random123() {
        assert_eq!(block([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            block([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
    }

    #[test]
    fn blocks_computed_in_one_loop_are_the_single_blocks() {
        for first in [0, 5, u64::from(u32::MAX) - 3, u64::MAX - 2] {
            let stream = Stream::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
            let mut got = [0; WORDS];
            words(stream.key, stream.counter_hi, first, &mut got);
            for l in 0..BLOCKS {
                assert_eq!(
                    got[4 * l..4 * l + 4],
                    stream.block(first.wrapping_add(l as u64)),
                    "first {first}, block {l}"
                );
            }
        }
    }
}
