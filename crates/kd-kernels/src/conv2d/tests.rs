//! Each algorithm with each instruction set of this machine, against plain sums in f64.

use super::epilogue::Epilogue;
use super::shape::Shape;
use super::{Geometry, depthwise, implicit};
use crate::Activation;
use crate::stream::Stream;
use crate::vector::Isa;

/// n, in, height, width, out, kernel height and width, stride, padding, groups.
type Sizes = [usize; 10];

fn shape([n, cin, h, w, cout, kh, kw, stride, padding, groups]: Sizes) -> Shape {
    let out = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
    Shape {
        n,
        cin,
        h,
        w,
        cout,
        kh,
        kw,
        ho: out(h, kh),
        wo: out(w, kw),
        geometry: Geometry { stride, padding, groups },
    }
}

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0f32; len];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    values
}

/// Calls `f` with the places in x, w and y of each product in the definition of the convolution.
fn products(s: &Shape, mut f: impl FnMut(usize, usize, usize)) {
    let (channels, out) = (s.cin / s.geometry.groups, s.cout / s.geometry.groups);
    let under = |i: usize, k: usize, size: usize| {
        (i * s.geometry.stride + k).checked_sub(s.geometry.padding).filter(|&p| p < size)
    };
    for image in 0..s.n {
        for o in 0..s.cout {
            for c in 0..channels {
                let from = image * s.cin + o / out * channels + c;
                for (i, j) in (0..s.ho * s.wo).map(|p| (p / s.wo, p % s.wo)) {
                    for (k, l) in (0..s.kh * s.kw).map(|t| (t / s.kw, t % s.kw)) {
                        if let (Some(y), Some(x)) = (under(i, k, s.h), under(j, l, s.w)) {
                            let w = ((o * channels + c) * s.kh + k) * s.kw + l;
                            f(
                                (from * s.h + y) * s.w + x,
                                w,
                                ((image * s.cout + o) * s.ho + i) * s.wo + j,
                            );
                        }
                    }
                }
            }
        }
    }
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    // Not the largest error by `max`, which passes over NaN.
    let off = got
        .iter()
        .zip(want)
        .map(|(g, w)| (*g as f64 - w).abs() / size)
        .find(|off| off.is_nan() || *off > 5e-6);
    assert_eq!(off, None, "{what}: off by so much of the largest value");
}

type Forward = fn(Isa, &Shape, &[f32], &[f32], Epilogue) -> Vec<f32>;
type Gradient = fn(Isa, &Shape, &[f32], &[f32]) -> Vec<f32>;

/// Compares the three passes with their sums, for every instruction set.
fn check(sizes: &[Sizes], forward: Forward, input_gradient: Gradient, weight_gradient: Gradient) {
    for &sizes in sizes {
        let s = shape(sizes);
        let (x, w, b, g) =
            (random(1, s.x_len()), random(2, s.w_len()), random(3, s.cout), random(4, s.y_len()));
        let pixels = s.ho * s.wo;
        let (mut y, mut dx, mut dw) =
            (vec![0f64; s.y_len()], vec![0f64; s.x_len()], vec![0f64; s.w_len()]);
        products(&s, |at_x, at_w, at_y| {
            y[at_y] += x[at_x] as f64 * w[at_w] as f64;
            dx[at_x] += g[at_y] as f64 * w[at_w] as f64;
            dw[at_w] += x[at_x] as f64 * g[at_y] as f64;
        });
        let with_bias: Vec<f64> =
            y.iter().enumerate().map(|(i, y)| y + b[i / pixels % s.cout] as f64).collect();
        let with_residual: Vec<f64> =
            with_bias.iter().zip(&g).map(|(y, r)| y + f64::from(*r)).collect();
        let rectified: Vec<f64> = with_residual.iter().map(|y| y.max(0.0)).collect();
        for isa in Isa::available() {
            let y_of = |epilogue| forward(isa, &s, &x, &w, epilogue);
            assert_near(&y_of(Epilogue::bias(None)), &y, &format!("{isa:?} y of {sizes:?}"));
            assert_near(
                &y_of(Epilogue::bias(Some(&b))),
                &with_bias,
                &format!("{isa:?} y with bias of {sizes:?}"),
            );
            let all = Epilogue { bias: Some(&b), residual: Some(&g), act: Activation::Relu };
            assert_near(&y_of(all), &rectified, &format!("{isa:?} act(y) of {sizes:?}"));
            let sum = Epilogue { act: Activation::None, ..all };
            assert_near(&y_of(sum), &with_residual, &format!("{isa:?} y + r of {sizes:?}"));
            assert_near(&input_gradient(isa, &s, &g, &w), &dx, &format!("{isa:?} dx of {sizes:?}"));
            assert_near(
                &weight_gradient(isa, &s, &x, &g),
                &dw,
                &format!("{isa:?} dw of {sizes:?}"),
            );
        }
    }
}

#[test]
fn the_implicit_product_is_the_sum_on_every_instruction_set() {
    let sizes = [
        [5, 3, 32, 32, 16, 3, 3, 1, 1, 1],
        [3, 16, 32, 32, 32, 3, 3, 2, 1, 1],
        [3, 9, 15, 13, 20, 3, 3, 2, 1, 1],
        [2, 7, 8, 12, 33, 3, 3, 3, 0, 1],
        [40, 6, 2, 2, 17, 1, 1, 1, 0, 1],
        [9, 24, 4, 4, 54, 1, 1, 1, 0, 3],
        [4, 8, 8, 8, 5, 1, 1, 2, 0, 1],
        [3, 4, 9, 7, 6, 5, 2, 1, 2, 2],
        [2, 300, 4, 4, 30, 3, 3, 1, 1, 1],
        [17, 1, 1, 1, 1, 3, 3, 2, 1, 1],
        [7, 6, 5, 1, 6, 3, 3, 2, 2, 6],
        [1, 2, 3, 40, 3, 1, 7, 1, 3, 1],
    ];
    check(&sizes, implicit::forward, implicit::input_gradient, implicit::weight_gradient);
}

#[test]
fn depthwise_is_the_sum_on_every_instruction_set() {
    let sizes = [
        [3, 5, 16, 16, 5, 3, 3, 1, 1, 5],
        [3, 40, 16, 16, 40, 3, 3, 2, 1, 40],
        [2, 3, 32, 32, 3, 3, 3, 2, 1, 3],
        [20, 3, 8, 8, 3, 3, 3, 1, 1, 3],
        [20, 3, 8, 8, 3, 3, 3, 2, 1, 3],
        [5, 35, 4, 4, 35, 3, 3, 2, 1, 35],
        [5, 7, 2, 2, 7, 3, 3, 1, 1, 7],
        [3, 4, 9, 13, 4, 3, 3, 2, 1, 4],
        [2, 3, 12, 7, 3, 5, 2, 3, 2, 3],
        [4, 2, 5, 5, 2, 1, 1, 1, 0, 2],
        [1, 1, 1, 1, 1, 3, 3, 1, 1, 1],
    ];
    check(&sizes, depthwise::forward, depthwise::input_gradient, depthwise::weight_gradient);
}
