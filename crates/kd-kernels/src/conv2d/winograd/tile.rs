//! The one-dimensional transforms of F(2, 3) and F(4, 3). With Bᵀ, G and Aᵀ as below, a row of M
//! outputs of a kernel of three is y = Aᵀ [(G g) ⊙ (Bᵀ d)] for N = M + 2 inputs d; in two
//! dimensions each is applied to rows and to columns.
//!
//! They come from evaluating polynomials at points: 0, ±1 and ∞ for F(2, 3); 0, ±√½, ±√2 and ∞ for
//! F(4, 3). The row of Bᵀ of a point p is the product of (x − q) over the other points q, that of G
//! is (1, p, p²) / Π (p − q), and the column of Aᵀ (1, p, p², p³). Any points will do in exact
//! arithmetic. With 64 channels of normal numbers, the largest error of the usual ±1, ±2 was 4.3
//! times as large in the forward pass and 3.1 times in the gradient of the weights; ±√½, ±√2 need
//! as many operations, because their product is 1.

use crate::vector::Sixteen;

/// A tile's edge: enough for the larger one. The smaller one leaves the rest of its arrays alone.
pub(super) const EDGE: usize = 6;

/// The transforms of one tile size.
///
/// # Safety
/// As for [`Sixteen`].
pub(super) trait Tile: Copy + Send + Sync + 'static {
    /// Outputs on an edge.
    const M: usize;
    /// Inputs on an edge: M + 2.
    const N: usize;
    /// Positions of a transformed tile: N².
    const POSITIONS: usize = Self::N * Self::N;

    /// Bᵀ d.
    unsafe fn input<V: Sixteen>(d: &[V; EDGE]) -> [V; EDGE];
    /// Aᵀ m: the first M.
    unsafe fn output<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE];
    /// A y, of the first M.
    unsafe fn gradient<V: Sixteen>(y: &[V; EDGE]) -> [V; EDGE];
    /// G g, of the first three.
    unsafe fn weight<V: Sixteen>(g: &[V; EDGE]) -> [V; EDGE];
    /// Gᵀ m: the first three.
    unsafe fn weight_gradient<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE];

    /// The tile to which lane `lane` belongs after [`Tile::phases`] of M vectors of 16 pixels.
    fn tile_of(lane: usize) -> usize;
    /// From M vectors of 16 pixels in a row: for each place within a tile, that pixel of all 16
    /// tiles.
    unsafe fn phases<V: Sixteen>(row: &[V; EDGE]) -> [V; EDGE];
    /// The inverse of [`Tile::phases`].
    unsafe fn pixels<V: Sixteen>(phases: &[V; EDGE]) -> [V; EDGE];
}

/// F(2×2, 3×3): 16 multiplications for 4 outputs.
#[derive(Clone, Copy)]
pub(super) struct F2;

/// F(4×4, 3×3): 36 multiplications for 16 outputs.
#[derive(Clone, Copy)]
pub(super) struct F4;

impl Tile for F2 {
    const M: usize = 2;
    const N: usize = 4;

    #[inline(always)]
    unsafe fn input<V: Sixteen>(d: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe { [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[3].sub(d[1]), d[0], d[0]] }
    }

    #[inline(always)]
    unsafe fn output<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe { [m[0].add(m[1].add(m[2])), m[1].sub(m[2]).add(m[3]), m[0], m[0], m[0], m[0]] }
    }

    #[inline(always)]
    unsafe fn gradient<V: Sixteen>(y: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe { [y[0], y[0].add(y[1]), y[0].sub(y[1]), y[1], y[0], y[0]] }
    }

    #[inline(always)]
    unsafe fn weight<V: Sixteen>(g: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let half = V::splat(0.5);
            let (even, odd) = (g[0].add(g[2]).mul(half), g[1].mul(half));
            [g[0], even.add(odd), even.sub(odd), g[2], g[0], g[0]]
        }
    }

    #[inline(always)]
    unsafe fn weight_gradient<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let half = V::splat(0.5);
            let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
            [
                sum.mul_add(half, m[0]),
                difference.mul(half),
                sum.mul_add(half, m[3]),
                m[0],
                m[0],
                m[0],
            ]
        }
    }

    #[inline(always)]
    fn tile_of(lane: usize) -> usize {
        8 * (lane / 2 % 2) + 2 * (lane / 4) + lane % 2
    }

    #[inline(always)]
    unsafe fn phases<V: Sixteen>(row: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let [even, odd] = V::split(row[0], row[1]);
            [even, odd, even, even, even, even]
        }
    }

    #[inline(always)]
    unsafe fn pixels<V: Sixteen>(phases: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, b] = V::join(phases[0], phases[1]);
            [a, b, a, a, a, a]
        }
    }
}

/// The points of F(4, 3), a and b, and their powers.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
const A2: f32 = 0.5;
const B2: f32 = 2.0;
/// Π (p − q) for ±a and ±b; it is 1 for 0.
const NA: f32 = 2.0 * A2 * (A2 - B2);
const NB: f32 = 2.0 * B2 * (B2 - A2);

impl Tile for F4 {
    const M: usize = 4;
    const N: usize = 6;

    #[inline(always)]
    unsafe fn input<V: Sixteen>(d: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b, middle) = (V::splat(A), V::splat(B), V::splat(-(A2 + B2)));
            let (minus_a2, minus_b2) = (V::splat(-A2), V::splat(-B2));
            let (even_a, odd_a) =
                (d[2].mul_add(minus_b2, d[4]), d[1].mul_add(minus_b2, d[3]).mul(a));
            let (even_b, odd_b) =
                (d[2].mul_add(minus_a2, d[4]), d[1].mul_add(minus_a2, d[3]).mul(b));
            [
                d[2].mul_add(middle, d[0].add(d[4])),
                even_a.add(odd_a),
                even_a.sub(odd_a),
                even_b.add(odd_b),
                even_b.sub(odd_b),
                d[3].mul_add(middle, d[1].add(d[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
            [
                m[0].add(sum_a.add(sum_b)),
                difference_a.mul_add(V::splat(A), difference_b.mul(V::splat(B))),
                sum_a.mul_add(V::splat(A2), sum_b.mul(V::splat(B2))),
                difference_a
                    .mul_add(V::splat(A * A2), difference_b.mul_add(V::splat(B * B2), m[5])),
                m[0],
                m[0],
            ]
        }
    }

    #[inline(always)]
    unsafe fn gradient<V: Sixteen>(y: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let (even_a, odd_a) = (
                y[2].mul_add(V::splat(A2), y[0]),
                y[3].mul_add(V::splat(A2), y[1]).mul(V::splat(A)),
            );
            let (even_b, odd_b) = (
                y[2].mul_add(V::splat(B2), y[0]),
                y[3].mul_add(V::splat(B2), y[1]).mul(V::splat(B)),
            );
            [y[0], even_a.add(odd_a), even_a.sub(odd_a), even_b.add(odd_b), even_b.sub(odd_b), y[3]]
        }
    }

    #[inline(always)]
    unsafe fn weight<V: Sixteen>(g: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let even_a = g[2].mul_add(V::splat(A2 / NA), g[0].mul(V::splat(1.0 / NA)));
            let even_b = g[2].mul_add(V::splat(B2 / NB), g[0].mul(V::splat(1.0 / NB)));
            let (odd_a, odd_b) = (g[1].mul(V::splat(A / NA)), g[1].mul(V::splat(B / NB)));
            [g[0], even_a.add(odd_a), even_a.sub(odd_a), even_b.add(odd_b), even_b.sub(odd_b), g[2]]
        }
    }

    #[inline(always)]
    unsafe fn weight_gradient<V: Sixteen>(m: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
            [
                sum_a.mul_add(V::splat(1.0 / NA), sum_b.mul_add(V::splat(1.0 / NB), m[0])),
                difference_a.mul_add(V::splat(A / NA), difference_b.mul(V::splat(B / NB))),
                sum_a.mul_add(V::splat(A2 / NA), sum_b.mul_add(V::splat(B2 / NB), m[5])),
                m[0],
                m[0],
                m[0],
            ]
        }
    }

    #[inline(always)]
    fn tile_of(lane: usize) -> usize {
        4 * (lane % 4) + lane / 4
    }

    #[inline(always)]
    unsafe fn phases<V: Sixteen>(row: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, b, c, d] = V::transpose4([row[0], row[1], row[2], row[3]]);
            [a, b, c, d, a, a]
        }
    }

    #[inline(always)]
    unsafe fn pixels<V: Sixteen>(phases: &[V; EDGE]) -> [V; EDGE] {
        // SAFETY: the caller's promise; transposing is its own inverse.
        unsafe { Self::phases(phases) }
    }
}
