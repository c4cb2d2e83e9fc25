//! Seeded random numbers as pure functions of (stream, index).
//!
//! Candle's CPU generator cannot be seeded, and a generator with state ties its numbers to the
//! order of the draws. Here a number is a function of a 64-bit key, the upper 64 bits of a counter,
//! and its own index, so that there is nothing to save for a resumed run and nothing that the
//! number of threads could change. One stream serves one purpose: integers, uniforms and normals of
//! one stream are made of the same bits.

mod normal;
mod philox;

/// A stream of random numbers: Philox-4x32-10 with a key and the upper half of its counter fixed.
///
/// Word `i` of the stream is word `i mod 4` of the block whose counter is `(i / 4, counter_hi)`.
///
/// Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
///
/// ```
/// use kd_kernels::stream::Stream;
/// let stream = Stream::new(7, 0);
/// let mut words = [0; 10];
/// stream.fill_u32(5, &mut words);
/// assert_eq!(words[2], stream.u32_at(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    key: [u32; 2],
    counter_hi: [u32; 2],
}

/// Draw `i` of [`Stream::below`] retries at block `i + a·2^48` for its attempt `a`.
const ATTEMPT_STRIDE: u64 = 1 << 48;

impl Stream {
    /// The stream of this key and upper counter half. Any two distinct pairs give streams that
    /// share no block.
    pub const fn new(key: u64, counter_hi: u64) -> Self {
        Self { key: halves(key), counter_hi: halves(counter_hi) }
    }

    /// The four words of block `block`, that is words `4·block .. 4·block + 4`.
    pub fn block(&self, block: u64) -> [u32; 4] {
        let [c0, c1] = halves(block);
        philox::block([c0, c1, self.counter_hi[0], self.counter_hi[1]], self.key)
    }

    /// Word `i`, uniform over all u32.
    pub fn u32_at(&self, i: u64) -> u32 {
        self.block(i / 4)[(i % 4) as usize]
    }

    /// Fills `out` with words `start .. start + out.len()`, as [`Stream::u32_at`] gives them.
    pub fn fill_u32(&self, start: u64, out: &mut [u32]) {
        let lead = ((4 - start % 4) % 4).min(out.len() as u64) as usize;
        let (head, rest) = out.split_at_mut(lead);
        for (i, word) in (start..).zip(head) {
            *word = self.u32_at(i);
        }
        philox::fill(self, (start + lead as u64) / 4, rest);
    }

    /// Number `i`, uniform in [0, 1): the upper 24 bits of word `i`, times 2^-24.
    pub fn uniform_at(&self, i: u64) -> f32 {
        unit(self.u32_at(i))
    }

    /// Fills `out` with uniforms `start .. start + out.len()`, as [`Stream::uniform_at`] gives
    /// them.
    pub fn fill_uniform(&self, start: u64, out: &mut [f32]) {
        let mut words = [0u32; 1024];
        for (at, chunk) in (start..).step_by(words.len()).zip(out.chunks_mut(words.len())) {
            let words = &mut words[..chunk.len()];
            self.fill_u32(at, words);
            for (x, &word) in chunk.iter_mut().zip(&*words) {
                *x = unit(word);
            }
        }
    }

    /// Number `i`, standard normal, by the transform of Box and Muller in f64, rounded to f32.
    ///
    /// Numbers `2k` and `2k + 1` are r·cos t and r·sin t, with r = √(−2 ln((w + ½)·2^-32)) of word
    /// w = `2k` and t = 2π·w'·2^-32 of word w' = `2k + 1`. The largest absolute value is 6.77.
    /// Only operations that IEEE 754 rounds exactly are used, so that the numbers are
    /// the same on every machine.
    pub fn normal_at(&self, i: u64) -> f32 {
        let words = self.block(i / 4);
        let pair = (i % 4 / 2) as usize * 2;
        let (cos, sin) = normal::pair(words[pair], words[pair + 1]);
        if i.is_multiple_of(2) { cos } else { sin }
    }

    /// Fills `out` with normals `start .. start + out.len()`, as [`Stream::normal_at`] gives them.
    pub fn fill_normal(&self, start: u64, out: &mut [f32]) {
        let lead = ((4 - start % 4) % 4).min(out.len() as u64) as usize;
        let (head, rest) = out.split_at_mut(lead);
        for (i, x) in (start..).zip(head) {
            *x = self.normal_at(i);
        }
        let start = start + lead as u64;
        let mut words = [0u32; 1024];
        for (at, chunk) in (start..).step_by(words.len()).zip(rest.chunks_mut(words.len())) {
            // A last odd number needs the words of its whole pair.
            let words = &mut words[..chunk.len().next_multiple_of(2)];
            self.fill_u32(at, words);
            normal::fill(words, chunk);
        }
    }

    /// Draw `i`, uniform over `0 .. n` without bias. `n` = 0 is taken as 1, whose only value is 0.
    /// `i` must be below 2^48.
    ///
    /// A draw owns block `i`: a 64-bit word is scaled by n, and rejected where it would favour a
    /// value (Lemire, "Fast random integer generation in an interval", 2019). A block holds two
    /// words; a draw whose both words were rejected goes on at a block of its own far off.
    pub fn below(&self, i: u64, n: u64) -> u64 {
        let n = n.max(1);
        let reject = n.wrapping_neg() % n;
        let mut block = i;
        loop {
            let w = self.block(block);
            for word in [join(w[0], w[1]), join(w[2], w[3])] {
                let scaled = u128::from(word) * u128::from(n);
                if scaled as u64 >= reject {
                    return (scaled >> 64) as u64;
                }
            }
            block = block.wrapping_add(ATTEMPT_STRIDE);
        }
    }

    /// A permutation of `0 .. n`, each equally likely: Fisher and Yates, position `k` from the end
    /// swapping with draw `k` of [`Stream::below`].
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for k in (1..n).rev() {
            order.swap(k, self.below(k as u64, k as u64 + 1) as usize);
        }
        order
    }
}

const fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

fn join(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi) << 32
}

fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16777216.0)
}
