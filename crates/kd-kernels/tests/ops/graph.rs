//! Gradients that travel beside Candle's store: through mixed graphs, in both kinds of backward
//! pass, more than once, and freed.

use crate::common::bits;
use crate::common::conv2d_precise;
use crate::common::graph::{assert_finite_differences, assert_threads, assert_twins, random};
use candle_core::{DType, Result, Tensor, Var};
use kd_kernels::Activation;
use kd_kernels::add::{self, add};
use kd_kernels::batch_norm::{self, Statistics, batch_norm};
use kd_kernels::conv2d::{self, Geometry};
use kd_kernels::pool::global_avg_pool;
use kd_kernels::relu::{self, relu};

const SAME: Geometry = Geometry { stride: 1, padding: 1, groups: 1 };

/// x, the weight of a convolution, weight and bias of a normalisation.
fn inputs() -> Vec<Tensor> {
    vec![random(1, &[3, 4, 5, 6]), random(2, &[4, 4, 3, 3]), random(3, &[4]), random(4, &[4])]
}

/// Two residual blocks with a stock op inside, a stock op on a tap, and a tensor with three
/// consumers.
fn kernels(t: &[Tensor]) -> Result<Tensor> {
    let norm = |x: &Tensor, r: Option<&Tensor>| {
        batch_norm(x, &t[2], &t[3], 1e-5, Statistics::Batch(None), r, Activation::Relu)
    };
    let first = norm(&conv2d_precise(&t[0], &t[1], None, SAME)?, None)?;
    let tap = conv2d_precise(&first, &t[1], Some(&t[3]), SAME)?;
    let second = norm(&tap, Some(&first))?;
    let third = add(&relu(&tap.affine(0.5, 0.1)?)?, &add(&second, &first)?)?;
    global_avg_pool(&third)? + tap.sqr()?.sum((2, 3))?
}

fn twins(t: &[Tensor]) -> Result<Tensor> {
    let norm = |x: &Tensor, r: Option<&Tensor>| {
        batch_norm::reference::batch_norm(
            x,
            &t[2],
            &t[3],
            1e-5,
            Statistics::Batch(None),
            r,
            Activation::Relu,
        )
    };
    let conv = conv2d::reference::conv2d;
    let first = norm(&conv(&t[0], &t[1], None, SAME)?, None)?;
    let tap = conv(&first, &t[1], Some(&t[3]), SAME)?;
    let second = norm(&tap, Some(&first))?;
    let third = add::reference::add(
        &relu::reference::relu(&tap.affine(0.5, 0.1)?)?,
        &add::reference::add(&second, &first)?,
    )?;
    kd_kernels::pool::reference::global_avg_pool(&third)? + tap.sqr()?.sum((2, 3))?
}

#[test]
fn a_graph_of_kernels_and_stock_ops_has_the_gradients_of_its_twins() {
    assert_finite_differences(&inputs(), twins);
    assert_twins(&inputs(), 1e-5, kernels, twins);
    assert_threads(&inputs(), kernels);
}

#[test]
fn candles_own_pass_gives_the_same_gradients_and_may_be_repeated() {
    let vars: Vec<Var> = inputs().iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let loss = kernels(&vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>())
        .unwrap()
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap();
    let stock = |loss: &Tensor| {
        let grads = loss.backward().unwrap();
        vars.iter().map(|v| bits(grads.get(v).unwrap())).collect::<Vec<_>>()
    };
    let first = stock(&loss);
    assert_eq!(first, stock(&loss));
    let ours = kd_kernels::backward(&loss).unwrap();
    for (var, first) in vars.iter().zip(&first) {
        let first: Vec<f64> = first.iter().map(|b| f64::from(f32::from_bits(*b))).collect();
        crate::common::assert_close(
            &crate::common::flat(ours.get(var).unwrap()),
            &first,
            1e-3,
            1e-5,
            "gradient",
        );
    }
}

#[test]
fn a_second_pass_that_frees_says_that_the_graph_is_gone() {
    let x = Var::from_tensor(&random(1, &[2, 3])).unwrap();
    let loss = relu(&x).unwrap().sum_all().unwrap();
    kd_kernels::backward(&loss).unwrap();
    let again = kd_kernels::backward(&loss);
    if kd_kernels::kernels_enabled() {
        let error = again.unwrap_err().to_string();
        assert!(error.contains("walked before"), "{error}");
    } else {
        assert!(again.unwrap().get(&x).is_some(), "stock ops keep their graph");
    }
}

#[test]
fn results_without_a_variable_have_no_graph() {
    let x = random(1, &[2, 3]);
    assert!(!relu(&x).unwrap().track_op());
    assert!(!add(&x, &x).unwrap().track_op());
    let var = Var::from_tensor(&x).unwrap();
    assert!(relu(&var).unwrap().track_op());
    assert!(!relu(&var.detach()).unwrap().track_op());
}

#[test]
fn an_input_given_twice_has_both_gradients() {
    let x = Var::from_tensor(&random(1, &[2, 3])).unwrap();
    let y = add(&x, &x).unwrap();
    let y = add(&y, &y).unwrap().sum_all().unwrap();
    assert_eq!(crate::common::flat(kd_kernels::backward(&y).unwrap().get(&x).unwrap()), [4.0; 6]);
}

#[test]
fn a_gradient_that_two_share_is_not_written_over() {
    // The sum hands one gradient to both; the normalisation would write over its own.
    let f = |t: &[Tensor]| {
        let y =
            batch_norm(&t[0], &t[1], &t[2], 1e-5, Statistics::Batch(None), None, Activation::None)?;
        let z =
            batch_norm(&t[0], &t[2], &t[1], 1e-5, Statistics::Batch(None), None, Activation::None)?;
        add(&y, &z)
    };
    let twin = |t: &[Tensor]| {
        let norm = batch_norm::reference::batch_norm;
        let y = norm(&t[0], &t[1], &t[2], 1e-5, Statistics::Batch(None), None, Activation::None)?;
        y + norm(&t[0], &t[2], &t[1], 1e-5, Statistics::Batch(None), None, Activation::None)?
    };
    assert_twins(&[random(1, &[9, 4, 5, 5]), random(2, &[4]), random(3, &[4])], 1e-5, f, twin);
}

#[test]
fn other_types_run_the_twins() {
    let x = random(1, &[2, 3]).to_dtype(DType::F64).unwrap();
    assert_eq!(
        crate::common::flat(&add(&x, &x).unwrap()),
        crate::common::flat(&(&x * 2.0).unwrap())
    );
    assert!(
        add(&x, &x.narrow(0, 0, 1).unwrap())
            .unwrap_err()
            .to_string()
            .contains("add: y has shape [1, 3]")
    );
}
