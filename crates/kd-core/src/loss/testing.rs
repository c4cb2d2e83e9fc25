//! What the tests of losses share.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::Seed;

/// Normal numbers in f32.
pub fn noise(dims: &[usize], seed: u64) -> Result<Tensor> {
    let mut values = vec![0f32; dims.iter().product()];
    Seed(seed).stream("noise", 0, 0).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// The value of a scalar.
pub fn scalar(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).and_then(|x| x.to_scalar()).expect("a scalar")
}

/// All values, row-major.
pub fn flat(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The gradient of `f` at `x`, the same from either backward pass; `None` where no graph leads to
/// `x`.
pub fn gradient(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Option<Vec<f64>> {
    let x = Var::from_tensor(&x.contiguous().expect("a tensor")).expect("a variable");
    let candle = f(&x)
        .expect("a loss")
        .backward()
        .expect("a backward pass")
        .get(&x)
        .map(|g| flat(g).expect("numbers"));
    let ours = kd_kernels::backward(&f(&x).expect("a loss"))
        .expect("a backward pass")
        .get(&x)
        .map(|g| flat(g).expect("numbers"));
    assert!(ours == candle, "{ours:?} from our backward pass, {candle:?} from Candle's");
    candle
}

/// Checks that value and gradient of `f` at `x` are numbers, and returns both.
#[track_caller]
pub fn finite(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> (f64, Vec<f64>) {
    let value = scalar(&f(x).expect("a loss"));
    let gradient = gradient(x, f).expect("a gradient");
    assert!(
        value.is_finite() && gradient.iter().all(|g| g.is_finite()),
        "value {value}, gradient {gradient:?}"
    );
    (value, gradient)
}

/// Checks every `stride`-th element of the gradient of `f` at `x` against central differences, in
/// f64.
#[track_caller]
pub fn differences_agree(x: &Tensor, stride: usize, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let x = x.to_dtype(DType::F64).expect("a tensor");
    let (values, gradient) = (flat(&x).expect("numbers"), gradient(&x, &f).expect("a gradient"));
    let largest = gradient.iter().fold(0f64, |m, g| m.max(g.abs()));
    assert!(largest > 0., "the gradient is 0");
    let at = |i: usize, step: f64| {
        let mut moved = values.clone();
        moved[i] += step;
        scalar(
            &f(&Tensor::from_vec(moved, x.dims(), &Device::Cpu).expect("a tensor"))
                .expect("a loss"),
        )
    };
    for i in (0..values.len()).step_by(stride) {
        let difference = (at(i, 1e-5) - at(i, -1e-5)) / 2e-5;
        assert!(
            (difference - gradient[i]).abs() < 1e-6 * largest,
            "element {i}: gradient {}, differences {difference}",
            gradient[i]
        );
    }
}

/// Checks that this is an error whose line begins so. With RUST_BACKTRACE set Candle appends a
/// trace to the line.
#[track_caller]
pub fn refused(result: Result<Tensor>, start: &str) {
    let error = result.expect_err("it does not fit").to_string();
    let line = error.lines().next().unwrap_or_default();
    assert!(line.starts_with(start), "{error}");
}
