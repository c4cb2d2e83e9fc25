//! The dense layer against its twin from stock Candle ops, finite differences, and itself on other
//! numbers of threads.

use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::backward;
use kd_kernels::linear::{linear, reference};
use proptest::prelude::*;

/// Values in [-1, 1) from a fixed sequence.
fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let data: Vec<f32> = std::iter::repeat_with(next).take(shape.iter().product()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(t: &Tensor) -> Vec<u32> {
    flat(t).into_iter().map(f32::to_bits).collect()
}

fn assert_close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!(got.dims(), want.dims(), "shape of {what}");
    for (i, (g, w)) in flat(got).iter().zip(flat(want)).enumerate() {
        assert!((g - w).abs() <= 2e-5 * (1.0 + w.abs()), "{what}[{i}]: got {g}, expected {w}");
    }
}

/// How a view of the wanted shape is made out of a variable, so that gradients flow through the
/// view.
#[derive(Clone, Copy, Debug)]
enum View {
    Plain,
    Transposed,
    Narrowed,
    Broadcast,
}

fn view() -> impl Strategy<Value = View> {
    prop::sample::select(vec![View::Plain, View::Transposed, View::Narrowed, View::Broadcast])
}

/// A variable and the `rows` x `cols` view of it.
fn viewed(view: View, rows: usize, cols: usize, seed: u64) -> Result<(Var, Tensor)> {
    let dims = match view {
        View::Plain => [rows, cols],
        View::Transposed => [cols, rows],
        View::Narrowed => [rows + 2, cols + 3],
        View::Broadcast => [1, cols],
    };
    let var = Var::from_tensor(&values(&dims, seed))?;
    let view = match view {
        View::Plain => var.as_tensor().clone(),
        View::Transposed => var.t()?,
        View::Narrowed => var.narrow(0, 1, rows)?.narrow(1, 2, cols)?,
        View::Broadcast => var.broadcast_as((rows, cols))?,
    };
    Ok((var, view))
}

type Layer = fn(&Tensor, &Tensor, Option<&Tensor>, Activation) -> Result<Tensor>;

/// The result and the gradients of x, w and b under a loss that weighs every output differently.
fn run(
    layer: Layer,
    x: (&Var, &Tensor),
    w: (&Var, &Tensor),
    b: Option<&Var>,
    act: Activation,
) -> Result<Vec<Tensor>> {
    let y = layer(x.1, w.1, b.map(|b| b.as_tensor()), act)?;
    let loss = (&y * values(y.dims(), 99))?.sum_all()?;
    let grads = backward(&loss)?;
    let mut all = vec![y.detach()];
    for var in [Some(x.0), Some(w.0), b].into_iter().flatten() {
        all.push(grads.get(var).expect("a gradient for each variable").clone());
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn values_and_gradients_are_those_of_the_twin(
        rows in prop::sample::select(vec![1usize, 2, 13, 33]),
        inner in prop::sample::select(vec![1usize, 3, 16, 50]),
        out in prop::sample::select(vec![1usize, 10, 31, 33, 64]),
        vx in view(), vw in view(), with_bias: bool, relu: bool, seed in 1u64..1000,
    ) {
        let (xv, x) = viewed(vx, rows, inner, seed).unwrap();
        let (wv, w) = viewed(vw, out, inner, seed + 1).unwrap();
        let b = with_bias.then(|| Var::from_tensor(&values(&[out], seed + 2)).unwrap());
        let act = if relu { Activation::Relu } else { Activation::None };
        let got = run(linear, (&xv, &x), (&wv, &w), b.as_ref(), act).unwrap();
        let want = run(reference::linear, (&xv, &x), (&wv, &w), b.as_ref(), act).unwrap();
        for ((g, w), what) in got.iter().zip(&want).zip(["y", "dx", "dw", "db"]) {
            assert_close(g, w, what);
        }
    }
}

#[test]
fn batch_dimensions_and_vectors_keep_their_shape() -> Result<()> {
    let (w, b) = (values(&[5, 4], 1), values(&[5], 2));
    for x in [
        values(&[4], 3),
        values(&[2, 3, 4], 4),
        values(&[3, 2, 4], 5).transpose(0, 1)?,
        values(&[2, 4, 3], 6).transpose(1, 2)?,
        values(&[2, 1, 4], 7).broadcast_as((2, 3, 4))?,
    ] {
        let y = linear(&x, &w, Some(&b), Activation::None)?;
        assert_close(&y, &reference::linear(&x, &w, Some(&b), Activation::None)?, "y");
        assert_eq!(*y.dims().last().unwrap(), 5);
    }
    Ok(())
}

#[test]
fn strided_bias_is_read_through_its_stride() -> Result<()> {
    let (x, w) = (values(&[3, 4], 1), values(&[5, 4], 2));
    let b = values(&[5, 2], 3).narrow(1, 1, 1)?.squeeze(1)?;
    let y = linear(&x, &w, Some(&b), Activation::None)?;
    assert_close(&y, &reference::linear(&x, &w, Some(&b), Activation::None)?, "y");
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    let x = Var::from_tensor(&values(&[3, 4], 1))?;
    let w = Var::from_tensor(&values(&[5, 4], 2))?;
    let b = Var::from_tensor(&values(&[5], 3))?;
    let weigh = values(&[3, 5], 4);
    let loss = |x: &Tensor, w: &Tensor, b: &Tensor| -> Result<Tensor> {
        (linear(x, w, Some(b), Activation::Relu)? * &weigh)?.sum_all()
    };
    let grads = backward(&loss(&x, &w, &b)?)?;
    let eps = 1e-2f32;
    for (which, var) in [&x, &w, &b].into_iter().enumerate() {
        let analytic = flat(grads.get(var).unwrap());
        let base = flat(var);
        for (i, analytic) in analytic.iter().enumerate() {
            let at = |delta: f32| -> Result<f32> {
                let mut moved = base.clone();
                moved[i] += delta;
                let moved = Tensor::from_vec(moved, var.shape(), &Device::Cpu)?;
                let mut args =
                    [x.as_detached_tensor(), w.as_detached_tensor(), b.as_detached_tensor()];
                args[which] = moved;
                loss(&args[0], &args[1], &args[2])?.to_scalar()
            };
            let (up, here, down) = (at(eps)?, at(0.0)?, at(-eps)?);
            // The loss is linear in each value but for kinks; a kink inside the step says nothing
            // about the gradient.
            if (up + down - 2.0 * here).abs() < 1e-4 {
                let numeric = (up - down) / (2.0 * eps);
                assert!(
                    (numeric - analytic).abs() < 2e-3,
                    "argument {which}[{i}]: {analytic}, numerically {numeric}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn results_are_bitwise_the_same_on_one_two_and_three_threads() -> Result<()> {
    let x = Var::from_tensor(&values(&[100, 300], 1))?;
    let w = Var::from_tensor(&values(&[210, 300], 2))?;
    let b = Var::from_tensor(&values(&[210], 3))?;
    let mut runs = Vec::new();
    for threads in 1..=3 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = pool.install(|| run(linear, (&x, &x), (&w, &w), Some(&b), Activation::Relu))?;
        runs.push(out.iter().map(bits).collect::<Vec<_>>());
    }
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
    Ok(())
}

#[test]
fn relu_passes_no_gradient_at_zero() -> Result<()> {
    let x = Var::from_tensor(&Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?)?;
    let w = values(&[4, 3], 1);
    for layer in [linear as Layer, reference::linear] {
        let grads = backward(&layer(&x, &w, None, Activation::Relu)?.sum_all()?)?;
        assert!(flat(grads.get(&x).unwrap()).iter().all(|g| *g == 0.0));
    }
    Ok(())
}

#[test]
fn nan_reaches_the_output_through_relu() -> Result<()> {
    let x = Tensor::new(&[[f32::NAN, 1.0]], &Device::Cpu)?;
    for layer in [linear as Layer, reference::linear] {
        assert!(
            flat(&layer(&x, &values(&[3, 2], 1), None, Activation::Relu)?)
                .iter()
                .all(|y| y.is_nan())
        );
    }
    Ok(())
}

#[test]
fn empty_batch_gives_an_empty_result_and_no_gradient_but_zero() -> Result<()> {
    let x = Tensor::zeros((0, 4), DType::F32, &Device::Cpu)?;
    let w = Var::from_tensor(&values(&[5, 4], 1))?;
    let b = Var::from_tensor(&values(&[5], 2))?;
    let y = linear(&x, &w, Some(&b), Activation::Relu)?;
    assert_eq!(y.dims(), [0, 5]);
    let grads = backward(&y.sum_all()?)?;
    for var in [&w, &b] {
        match grads.get(var) {
            Some(grad) => assert_eq!(flat(grad), vec![0.0; var.elem_count()]),
            None => assert!(!kd_kernels::kernels_enabled(), "only the twin may leave it out"),
        }
    }
    Ok(())
}

#[test]
fn frozen_arguments_get_no_gradient_and_cut_no_other() -> Result<()> {
    let x = Var::from_tensor(&values(&[3, 4], 1))?;
    let (w, b) = (values(&[5, 4], 2), values(&[5], 3));
    let grads = backward(&linear(&x, &w, Some(&b), Activation::None)?.sum_all()?)?;
    assert!(grads.get(&x).is_some() && grads.get(&w).is_none() && grads.get(&b).is_none());
    Ok(())
}

#[test]
fn other_types_run_the_twin() -> Result<()> {
    let (x, w) =
        (values(&[3, 4], 1).to_dtype(DType::F64)?, values(&[5, 4], 2).to_dtype(DType::F64)?);
    let y = linear(&x, &w, None, Activation::Relu)?;
    assert_eq!(y.dtype(), DType::F64);
    assert_eq!(
        y.flatten_all()?.to_vec1::<f64>()?,
        reference::linear(&x, &w, None, Activation::Relu)?.flatten_all()?.to_vec1::<f64>()?
    );
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_say_which() {
    let (x, w, b) = (values(&[3, 4], 1), values(&[5, 6], 2), values(&[4], 3));
    let message = |r: Result<Tensor>| r.unwrap_err().to_string();
    assert!(
        message(linear(&x, &w, None, Activation::None))
            .contains("x has shape [3, 4], expected [.., 6]")
    );
    let w = values(&[5, 4], 2);
    assert!(
        message(linear(&x, &w, Some(&b), Activation::None))
            .contains("b has shape [4], expected [5]")
    );
    assert!(message(linear(&x, &b, None, Activation::None)).contains("w has shape [4]"));
}
