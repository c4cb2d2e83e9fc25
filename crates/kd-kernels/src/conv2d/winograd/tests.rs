//! Every instruction set against direct sums in f64, on random shapes.

use super::plan::{Images, Plan};
use super::tile::{F2, F4, Tile};
use super::weights::Kernels;
use super::{forward, gradient};
use crate::Activation;
use crate::conv2d::epilogue::Epilogue;
use crate::stream::Stream;
use crate::vector::Isa;
use proptest::prelude::*;

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0f32; len];
    Stream::new(seed, 3).fill_normal(0, &mut values);
    values
}

/// Calls `f` with the flat indices in y, x and w of every product of the sums.
fn products(i: Images, outs: usize, mut f: impl FnMut(usize, usize, usize)) {
    let Images { count, channels, height, width } = i;
    for (n, o, y, x) in (0..count * outs * height * width).map(|k| {
        (k / (outs * height * width), k / (height * width) % outs, k / width % height, k % width)
    }) {
        let at = ((n * outs + o) * height + y) * width + x;
        for (c, k) in (0..channels * 9).map(|q| (q / 9, q % 9)) {
            let (Some(row), Some(column)) =
                ((y + k / 3).checked_sub(1), (x + k % 3).checked_sub(1))
            else {
                continue;
            };
            if row < height && column < width {
                f(
                    at,
                    ((n * channels + c) * height + row) * width + column,
                    (o * channels + c) * 9 + k,
                );
            }
        }
    }
}

fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    got.iter()
        .zip(want)
        .map(|(g, w)| if g.is_nan() { f64::INFINITY } else { (f64::from(*g) - w).abs() / size })
        .fold(0.0, f64::max)
}

/// The errors of y, with bias, residual and activation where it is `fused`, of dx and of dw.
fn errors<F: Tile>(isa: Isa, images: Images, outs: usize, seed: u64, fused: bool) -> [f64; 3] {
    let pixels = images.height * images.width;
    let x = random(seed, images.count * images.channels * pixels);
    let g = random(seed ^ 1, images.count * outs * pixels);
    let w = random(seed ^ 2, outs * images.channels * 9);
    let b = random(seed ^ 3, outs);
    let start = |k: usize| {
        if fused { f64::from(b[k / pixels % outs]) + f64::from(g[k]) } else { 0.0 }
    };
    let mut y: Vec<f64> = (0..g.len()).map(start).collect();
    let (mut dx, mut dw) = (vec![0f64; x.len()], vec![0f64; w.len()]);
    products(images, outs, |at, from, k| {
        y[at] += f64::from(x[from]) * f64::from(w[k]);
        dx[from] += f64::from(g[at]) * f64::from(w[k]);
        dw[k] += f64::from(g[at]) * f64::from(x[from]);
    });
    let mut epilogue = Epilogue::bias(None);
    if fused {
        y.iter_mut().for_each(|y| *y = y.max(0.0));
        epilogue = Epilogue { bias: Some(&b), residual: Some(&g), act: Activation::Relu };
    }
    let kernels = Kernels::new(&w, outs, images.channels);
    [
        distance(&forward::convolve::<F>(isa, images, kernels, &x, epilogue), &y),
        distance(
            &forward::convolve::<F>(
                isa,
                Images { channels: outs, ..images },
                kernels.adjoint(),
                &g,
                Epilogue::bias(None),
            ),
            &dx,
        ),
        distance(&gradient::weight_gradient::<F>(isa, images, outs, &x, &g), &dw),
    ]
}

#[test]
fn a_unit_holds_the_widest_row() {
    let images = |width| Images { count: 1, channels: 1, height: 4, width };
    assert_eq!(Plan::new::<F4>(images(Plan::widest(4))).units, 1);
    assert_eq!(Plan::new::<F2>(images(Plan::widest(2))).units, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_instruction_set_agrees_with_direct_sums(
        seed: u64, count in 1usize..6, channels in 1usize..20, outs in 1usize..20, height in 1usize..11,
        width in prop_oneof![1usize..12, Just(16), Just(17), Just(31), Just(32)], fused: bool,
    ) {
        let images = Images { count, channels, height, width };
        for isa in Isa::available() {
            for (what, error) in ["y", "dx", "dw"].iter().zip(errors::<F2>(isa, images, outs, seed, fused)) {
                prop_assert!(error < 2e-6, "F(2x2) on {:?}: {} is off by {}", isa, what, error);
            }
            for (what, error) in ["y", "dx", "dw"].iter().zip(errors::<F4>(isa, images, outs, seed, fused)) {
                prop_assert!(error < 1e-5, "F(4x4) on {:?}: {} is off by {}", isa, what, error);
            }
        }
    }
}
