//! What a step costs at the least: operations at the machine's matrix rate, bytes at its bandwidth.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kd_core::memory::Allocator;
use kd_kernels::Precision;
use kd_kernels::gemm::{Epilogue, MatRef, gemm_into};
use rayon::prelude::*;

use crate::Arguments;

/// Milliseconds of each timed step, and the work of one.
pub struct Timed {
    pub times: Vec<f64>,
    /// Operations of its products, two for each multiply-add, in 10^9.
    pub gflop: f64,
    /// Bytes that it allocates, in 10^9. Each is written once and read at least once.
    pub gbytes: f64,
}

impl Timed {
    /// Takes `warmup` untimed and `steps` timed steps, each of so many multiply-adds. A step ends
    /// when the device has done it.
    pub fn run(
        arguments: &Arguments,
        multiply_adds: f64,
        mut step: impl FnMut(usize) -> kd_core::Result<()>,
    ) -> kd_core::Result<Self> {
        let (warmup, steps, device) = (arguments.warmup, arguments.steps, arguments.device()?);
        let mut times = Vec::with_capacity(steps);
        let mut before = 0;
        for i in 0..warmup + steps {
            if i == warmup {
                before = ALLOCATED.load(Ordering::Relaxed);
            }
            let started = Instant::now();
            step(i)?;
            device.synchronize()?;
            if i >= warmup {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        let bytes = (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / steps.max(1) as f64;
        Ok(Self { times, gflop: 2e-9 * multiply_adds, gbytes: 1e-9 * bytes })
    }
}

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// The allocator of the binaries, counting what it hands out.
pub struct CountingAllocator;

// SAFETY: every call goes to `Allocator` as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Allocator.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Allocator.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Allocator.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { Allocator.realloc(at, layout, size) }
    }
}

/// The least of eleven repetitions of a product of two 2048 x 2048 matrices, as 10^9 operations a
/// second.
pub fn matrix_rate() -> candle_core::Result<f64> {
    const N: usize = 2048;
    let (a, b, mut c) = (vec![1f32; N * N], vec![1f32; N * N], vec![0f32; N * N]);
    let mut least = f64::INFINITY;
    for _ in 0..11 {
        let started = Instant::now();
        gemm_into(
            MatRef::row_major(&a, N, N)?,
            MatRef::row_major(&b, N, N)?,
            Epilogue::Identity,
            Precision::Float32,
            &mut c,
        )?;
        least = least.min(started.elapsed().as_secs_f64());
    }
    std::hint::black_box(&c);
    Ok(2e-9 * (N * N * N) as f64 / least)
}

/// The least of eleven copies of 512 MiB by all threads, as 10^9 bytes read and written a second.
pub fn bandwidth() -> f64 {
    const LEN: usize = 1 << 27;
    let (from, mut to) = (vec![1f32; LEN], vec![0f32; LEN]);
    let mut least = f64::INFINITY;
    for _ in 0..11 {
        let started = Instant::now();
        to.par_chunks_mut(1 << 20)
            .zip(from.par_chunks(1 << 20))
            .for_each(|(to, from)| to.copy_from_slice(from));
        least = least.min(started.elapsed().as_secs_f64());
    }
    std::hint::black_box(&to);
    8e-9 * LEN as f64 / least
}
