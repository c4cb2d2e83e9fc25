//! The innermost block: 32 rows by 32 columns of C, held in four tile registers while k runs.
//!
//! The instructions are written as assembly, since Rust's intrinsics for them are not stable yet.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Rows, and columns, of a block.
pub(super) const SIDE: usize = 32;
/// Bytes of a tile: 16 rows of one cache line.
pub(super) const TILE: usize = 1024;

/// What happens to a block when k has run through.
#[derive(Clone, Copy)]
pub(super) struct TileEpilogue {
    /// Go on from the sums in C, and not from 0.
    pub accumulate: bool,
    /// Bias of the first column, or null.
    pub bias: *const f32,
    /// Negative values become 0.
    pub relu: bool,
}

/// Where a block goes.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub c: *mut f32,
    pub ldc: usize,
    /// 1 to [`SIDE`].
    pub rows: usize,
    /// 1 to [`SIDE`].
    pub cols: usize,
}

/// The shapes of the tile registers, as the processor reads them.
#[repr(C, align(64))]
struct Palette([u8; 64]);

const PALETTE: Palette = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut register = 0;
    while register < 8 {
        bytes[16 + 2 * register] = 64;
        bytes[48 + register] = 16;
        register += 1;
    }
    Palette(bytes)
};

/// This thread's tile registers, all of 16 rows by 64 bytes, until it is dropped.
pub(super) struct Tiles {
    /// The registers are those of one thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: they were configured. Released registers cost nothing when threads are switched.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }
}

impl Tiles {
    /// # Safety
    /// `crate::level::amx` has said yes.
    pub unsafe fn configure() -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &PALETTE, options(nostack, readonly, preserves_flags))
        };
        Self { not_send: PhantomData }
    }

    /// Computes one block from `steps` packed steps of 32 k of A and of B.
    ///
    /// # Safety
    /// The processor has AVX-512F. `a` and `b` are readable for two tiles a step, `out` is writable
    /// for its rows and columns, and readable if it is accumulated to, and the bias, if there
    /// is one, is readable for its columns.
    pub unsafe fn block(
        &self,
        steps: usize,
        a: *const u8,
        b: *const u8,
        out: Out,
        finish: TileEpilogue,
    ) {
        let plain = finish.bias.is_null() && !finish.relu;
        // SAFETY: the caller's promise; the buffer has room for a whole block.
        unsafe {
            if plain && out.rows == SIDE && out.cols == SIDE {
                return self.sum(steps, a, b, out.c, out.ldc, finish.accumulate);
            }
            // Not cleared: the sums overwrite it, or it is cleared below.
            let mut buffer = MaybeUninit::<Buffer>::uninit();
            let buffer = buffer.as_mut_ptr().cast::<f32>();
            if finish.accumulate {
                buffer.write_bytes(0, SIDE * SIDE);
                for i in 0..out.rows {
                    std::ptr::copy_nonoverlapping(
                        out.c.add(i * out.ldc),
                        buffer.add(i * SIDE),
                        out.cols,
                    );
                }
            }
            self.sum(steps, a, b, buffer, SIDE, finish.accumulate);
            write(buffer, out, finish);
        }
    }

    /// The sums over k, from 0 or from what is in `c`.
    unsafe fn sum(
        &self,
        steps: usize,
        a: *const u8,
        b: *const u8,
        c: *mut f32,
        ldc: usize,
        accumulate: bool,
    ) {
        // SAFETY: the tiles are configured; the addresses are the caller's promise.
        unsafe {
            asm!(
                "test {accumulate}, {accumulate}",
                "jz 2f",
                "tileloadd tmm0, [{c} + {stride}]",
                "tileloadd tmm1, [{c} + {stride} + 64]",
                "tileloadd tmm2, [{down} + {stride}]",
                "tileloadd tmm3, [{down} + {stride} + 64]",
                "jmp 3f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                "test {steps}, {steps}",
                "jz 5f",
                "4:",
                "tileloadd tmm4, [{a} + {line}]",
                "tileloadd tmm6, [{b} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {line} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {line} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 4b",
                "5:",
                "tilestored [{c} + {stride}], tmm0",
                "tilestored [{c} + {stride} + 64], tmm1",
                "tilestored [{down} + {stride}], tmm2",
                "tilestored [{down} + {stride} + 64], tmm3",
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                line = in(reg) 64usize,
                c = in(reg) c,
                down = in(reg) c.wrapping_add(16 * ldc),
                stride = in(reg) ldc * size_of::<f32>(),
                accumulate = in(reg) usize::from(accumulate),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// A whole block.
#[repr(C, align(64))]
struct Buffer {
    _sums: [f32; SIDE * SIDE],
}

/// Writes a block with its bias and activation.
#[target_feature(enable = "avx512f")]
unsafe fn write(buffer: *const f32, out: Out, finish: TileEpilogue) {
    for first in (0..out.cols).step_by(16) {
        let lanes = (out.cols - first).min(16);
        let mask: __mmask16 = if lanes == 16 { !0 } else { (1 << lanes) - 1 };
        // SAFETY: masked lanes are neither read nor written; the rest is the caller's promise.
        unsafe {
            let bias = if finish.bias.is_null() {
                None
            } else {
                Some(_mm512_maskz_loadu_ps(mask, finish.bias.add(first)))
            };
            for i in 0..out.rows {
                let mut x = _mm512_load_ps(buffer.add(i * SIDE + first));
                if let Some(bias) = bias {
                    x = _mm512_add_ps(x, bias);
                }
                if finish.relu {
                    // The order of the operands matters: the second one is returned when it is NaN.
                    x = _mm512_max_ps(_mm512_setzero_ps(), x);
                }
                _mm512_mask_storeu_ps(out.c.add(i * out.ldc + first), mask, x);
            }
        }
    }
}
