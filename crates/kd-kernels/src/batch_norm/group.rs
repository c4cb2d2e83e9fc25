//! A task's channels, and what the loops over them are given.

use std::ops::Range;

use crate::output::Parts;

/// Mean and factors of one channel: y = (x − mean) · scale + shift.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub mean: f32,
    pub scale: f32,
    pub shift: f32,
}

/// Factors of the gradient of x in one channel: dx = g′ · scale + (x − mean) · slope + offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct GradientFactors {
    pub mean: f32,
    pub scale: f32,
    pub slope: f32,
    pub offset: f32,
}

/// Where a group of channels lies: runs of `channels.len() * pixels` values, one an image.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub images: usize,
    pub channels: Range<usize>,
    pub pixels: usize,
    /// Values of an image.
    pub stride: usize,
}

impl Group {
    /// Values of a run.
    #[inline(always)]
    pub(super) fn run(&self) -> usize {
        self.channels.len() * self.pixels
    }

    /// The first value of image `i`.
    #[inline(always)]
    pub(super) fn start(&self, i: usize) -> usize {
        i * self.stride + self.channels.start * self.pixels
    }
}

/// How the gradient passes the activation.
#[derive(Clone, Copy)]
pub(super) enum Mask<'a> {
    /// There is none.
    None,
    /// Where y, here recomputed from x, is not 0 or less.
    FromX,
    /// Where y is not 0 or less.
    FromY(&'a [f32]),
}

/// The gradient of the result: what may be written over, and what is to be added to it.
pub(super) struct OutputGradient<'a> {
    pub over: Parts<'a, f32>,
    pub add: Option<&'a [f32]>,
}
