//! Values and gradients of a function of several tensors, by the graph and by finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::stream::Stream;

use super::flat;

/// Standard normal values that are a function of the seed.
pub fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// The largest difference relative to the largest value of `want`; infinite where one is NaN and
/// the other is not.
pub fn distance(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let size = want.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    // `max` passes over NaN.
    let apart = |(g, w): (&f64, &f64)| match (g.is_nan(), w.is_nan()) {
        (false, false) => (g - w).abs() / size,
        (true, true) => 0.0,
        _ => f64::INFINITY,
    };
    got.iter().zip(&want).map(apart).fold(0.0, f64::max)
}

/// y = f(inputs) in `dtype`, followed by the gradient of Σ up ⊙ y with respect to each input, for
/// one fixed random `up`.
pub fn passes(
    inputs: &[Tensor],
    dtype: DType,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Vec<Tensor> {
    let vars: Vec<Var> =
        inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()).collect();
    let y = f(&vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>()).unwrap();
    let up = random(99, y.dims()).to_dtype(dtype).unwrap();
    let grads = kd_kernels::backward(&(&y * up).unwrap().sum_all().unwrap()).unwrap();
    let mut all = vec![y];
    all.extend(vars.iter().map(|v| grads.get(v).unwrap().clone()));
    all
}

/// Asserts that value and gradients in f32 are those of `twin` in f64, to `tolerance` of the
/// largest value.
#[track_caller]
pub fn assert_twins(
    inputs: &[Tensor],
    tolerance: f64,
    kernel: impl Fn(&[Tensor]) -> Result<Tensor>,
    twin: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let (got, want) = (passes(inputs, DType::F32, kernel), passes(inputs, DType::F64, twin));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let what = if i == 0 { "value".into() } else { format!("gradient {}", i - 1) };
        assert!(
            distance(got, want) <= tolerance,
            "{what} differs by {}: got {got}, expected {want}",
            distance(got, want)
        );
    }
}

/// Asserts that the gradients of `f` in f64 are its central differences.
#[track_caller]
pub fn assert_finite_differences(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f64 = 1e-5;
    let got = passes(inputs, DType::F64, &f);
    let up = flat(&random(99, got[0].dims()));
    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
    for (which, input) in inputs.iter().enumerate() {
        let gradient = flat(&got[which + 1]);
        for (i, gradient) in gradient.iter().enumerate() {
            let at = |step: f64| -> f64 {
                let mut values = flat(input);
                values[i] += step;
                let mut moved = inputs.clone();
                moved[which] = Tensor::from_vec(values, input.dims(), &Device::Cpu).unwrap();
                flat(&f(&moved).unwrap()).iter().zip(&up).map(|(y, up)| y * up).sum()
            };
            let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!(
                (difference - gradient).abs() < 1e-6,
                "input {which} at {i}: gradient {gradient}, difference {difference}"
            );
        }
    }
}

/// The same values as the image `t`, laid out in one of three ways: contiguous, with channels last,
/// cut out of a larger batch.
pub fn image_laid_out(t: &Tensor, how: usize) -> Tensor {
    match how % 3 {
        0 => t.clone(),
        1 => t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap().permute((0, 3, 1, 2)).unwrap(),
        _ => Tensor::cat(&[t, t], 0)
            .unwrap()
            .narrow(0, t.dim(0).unwrap(), t.dim(0).unwrap())
            .unwrap(),
    }
}

/// Asserts that `f` gives the same bits, values and gradients, on 1, 2 and 3 threads.
#[track_caller]
pub fn assert_threads(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| passes(inputs, DType::F32, &f).iter().map(super::bits).collect::<Vec<_>>())
    };
    let one = run(1);
    for threads in [2, 3] {
        assert!(run(threads) == one, "{threads} threads differ from one");
    }
}
