//! Philox-4x32-10: one block at a time, and eight side by side for bulk.

use super::Stream;
use crate::multiversion::multiversioned;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Blocks computed side by side: as many 64-bit products as the widest vector holds.
const BLOCKS: usize = 8;
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

/// The words of blocks `first .. first + 8`, in order.
///
/// Each counter word has a 64-bit lane of which only the lower half counts: a round is then two vector products, two shifts and four
/// exclusive ors, without repacking.
#[inline(always)]
pub(super) fn words(key: [u32; 2], counter_hi: [u32; 2], first: u64) -> [u32; WORDS] {
    const LOW: u64 = 0xFFFF_FFFF;
    let mut c0 = [0u64; BLOCKS];
    let mut c1 = [0u64; BLOCKS];
    let mut c2 = [u64::from(counter_hi[0]); BLOCKS];
    let mut c3 = [u64::from(counter_hi[1]); BLOCKS];
    for l in 0..BLOCKS {
        let counter = first.wrapping_add(l as u64);
        c0[l] = counter;
        c1[l] = counter >> 32;
    }
    let mut key = key;
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        for l in 0..BLOCKS {
            let product0 = (c0[l] & LOW) * u64::from(MULTIPLIERS[0]);
            let product1 = (c2[l] & LOW) * u64::from(MULTIPLIERS[1]);
            c0[l] = (product1 >> 32) ^ c1[l] ^ u64::from(key[0]);
            c1[l] = product1;
            c2[l] = (product0 >> 32) ^ c3[l] ^ u64::from(key[1]);
            c3[l] = product0;
        }
    }
    let mut out = [0u32; WORDS];
    for l in 0..BLOCKS {
        out[4 * l] = c0[l] as u32;
        out[4 * l + 1] = c1[l] as u32;
        out[4 * l + 2] = c2[l] as u32;
        out[4 * l + 3] = c3[l] as u32;
    }
    out
}

multiversioned! {
    /// Fills `out` with the words of the stream from block `first` on.
    pub(super) fn fill(stream: &Stream, first: u64, out: &mut [u32]) {
        let (groups, rest) = out.as_chunks_mut::<WORDS>();
        let mut at = first;
        for group in groups {
            *group = words(stream.key, stream.counter_hi, at);
            at = at.wrapping_add(BLOCKS as u64);
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&words(stream.key, stream.counter_hi, at)[..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_known_answers_of_random123() {
        assert_eq!(block([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(block([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn eight_blocks_side_by_side_are_the_single_blocks() {
        for first in [0, 5, u64::from(u32::MAX) - 3, u64::MAX - 2] {
            let stream = Stream::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
            let got = stream.words32(first);
            for l in 0..BLOCKS {
                assert_eq!(got[4 * l..4 * l + 4], stream.block(first.wrapping_add(l as u64)), "first {first}, block {l}");
            }
        }
    }
}
