//! Convolution against its twin, in f64, on random shapes; finite differences; threads.

use crate::common::conv2d_precise;
use crate::common::graph::{distance, random};
use candle_core::{DType, Tensor, Var};
use kd_kernels::conv2d::{Geometry, reference};
use proptest::prelude::*;

type Op = fn(&Tensor, &Tensor, Option<&Tensor>, Geometry) -> candle_core::Result<Tensor>;

/// y and the gradients of Σ up ⊙ y with respect to x, w and b.
fn passes(
    op: Op,
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    geometry: Geometry,
    dtype: DType,
) -> Vec<Tensor> {
    let var = |t: &Tensor| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap();
    let (x, w, b) = (var(x), var(w), b.map(var));
    let y = op(&x, &w, b.as_ref().map(|b| b.as_tensor()), geometry).unwrap();
    let up = random(99, y.dims()).to_dtype(dtype).unwrap();
    let grads = kd_kernels::backward(&(&y * up).unwrap().sum_all().unwrap()).unwrap();
    let mut all = vec![y];
    all.extend(
        [Some(&x), Some(&w), b.as_ref()]
            .into_iter()
            .flatten()
            .map(|v| grads.get(v).unwrap().clone()),
    );
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_shape_agrees_with_the_twin(
        seed: u64, n in 1usize..4, groups in 1usize..4, cin in 1usize..5, cout in 1usize..5, h in 1usize..12, w in 1usize..12,
        kh in 1usize..5, kw in 1usize..5, stride in 1usize..4, padding in 0usize..3, bias: bool,
    ) {
        prop_assume!(h + 2 * padding >= kh && w + 2 * padding >= kw);
        let geometry = Geometry { stride, padding, groups };
        let x = random(seed, &[n, cin * groups, h, w]);
        let weight = random(seed ^ 1, &[cout * groups, cin, kh, kw]);
        let b = bias.then(|| random(seed ^ 2, &[cout * groups]));
        let got = passes(conv2d_precise, &x, &weight, b.as_ref(), geometry, DType::F32);
        let want = passes(reference::conv2d, &x, &weight, b.as_ref(), geometry, DType::F64);
        for (what, (got, want)) in ["y", "dx", "dw", "db"].iter().zip(got.iter().zip(&want)) {
            prop_assert!(distance(got, want) < 1e-5, "{}: {}", what, distance(got, want));
        }
    }
}
