//! The backward pass with a sink against Candle's own.

use candle_core::{Device, Result, Tensor, Var};
use kd_kernels::backward;
use kd_kernels::{Activation, linear::linear};

fn ramp(shape: &[usize], scale: f32) -> Tensor {
    let n: usize = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) * scale).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn var(shape: &[usize], scale: f32) -> Var {
    Var::from_tensor(&ramp(shape, scale)).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_same(loss: &Tensor, vars: &[&Var]) -> Result<()> {
    let ours = backward(loss)?;
    let candle = loss.backward()?;
    for (i, var) in vars.iter().enumerate() {
        let (got, want) = (ours.get(var), candle.get(var));
        assert_eq!(got.map(flat), want.map(flat), "variable {i}");
        assert!(got.is_some(), "variable {i} has no gradient");
    }
    Ok(())
}

#[test]
fn gradients_of_a_chain_of_layers_are_those_of_candle() -> Result<()> {
    let x = ramp(&[6, 8], 0.01);
    let (w1, b1, w2, b2) =
        (var(&[7, 8], 0.02), var(&[7], 0.01), var(&[3, 7], 0.03), var(&[3], 0.01));
    let h = linear(&x, &w1, Some(&b1), Activation::Relu)?;
    let loss = linear(&h, &w2, Some(&b2), Activation::None)?.sqr()?.sum_all()?;
    assert_same(&loss, &[&w1, &b1, &w2, &b2])
}

#[test]
fn variable_used_twice_gets_the_sum() -> Result<()> {
    let x = ramp(&[6, 8], 0.01);
    let (w, b) = (var(&[8, 8], 0.02), var(&[8], 0.01));
    let h = linear(&x, &w, Some(&b), Activation::Relu)?;
    let loss = linear(&h, &w, Some(&b), Activation::None)?.sqr()?.sum_all()?;
    assert_same(&loss, &[&w, &b])
}

#[test]
fn variable_that_stock_ops_use_too_gets_both_parts() -> Result<()> {
    let x = ramp(&[6, 8], 0.01);
    let w = var(&[5, 8], 0.02);
    let decay = w.sqr()?.sum_all()?;
    let loss = (linear(&x, &w, None, Activation::None)?.sqr()?.sum_all()? + decay)?;
    assert_same(&loss, &[&w])?;
    let mut grads = backward(&loss)?;
    assert!(grads.remove(&w).is_some());
    assert!(grads.get(&w).is_none() && grads.remove(&w).is_none());
    Ok(())
}

#[test]
fn weights_computed_from_variables_pass_their_gradient_on() -> Result<()> {
    let x = ramp(&[6, 8], 0.01);
    let (v, b) = (var(&[8, 5], 0.02), var(&[5], 0.1));
    let loss = linear(&x, &v.t()?.affine(2.0, 0.0)?, Some(&b.sqr()?), Activation::Relu)?
        .sqr()?
        .sum_all()?;
    assert_same(&loss, &[&v, &b])
}

#[test]
fn gradient_of_an_input_that_is_a_variable_is_there() -> Result<()> {
    let (x, w) = (var(&[6, 8], 0.01), var(&[5, 8], 0.02));
    assert_same(&linear(&x, &w, None, Activation::None)?.sqr()?.sum_all()?, &[&x, &w])
}

#[test]
fn gradients_have_no_graph() -> Result<()> {
    let (x, w) = (var(&[6, 8], 0.01), var(&[5, 8], 0.02));
    let h = linear(&x, &w, None, Activation::None)?;
    let grads =
        backward(&(linear(&h, &w.t()?, None, Activation::None)?.sum_all()? + w.sum_all()?)?)?;
    assert!(!grads.get(&x).unwrap().track_op() && !grads.get(&w).unwrap().track_op());
    Ok(())
}

#[test]
fn failed_pass_leaves_no_sink_behind() -> Result<()> {
    let w = var(&[5, 8], 0.02);
    let x = ramp(&[6, 8], 0.01);
    // A pool whose windows overlap has no backward pass in Candle.
    let y = linear(&x, &w, None, Activation::None)?
        .reshape((1, 1, 6, 5))?
        .max_pool2d_with_stride(2, 1)?;
    assert!(backward(&y.sum_all()?).is_err());
    let loss = linear(&x, &w, None, Activation::None)?.sum_all()?;
    assert!(loss.backward()?.get(&w).is_some(), "the plain pass must not deposit");
    Ok(())
}

#[test]
fn loss_without_variables_has_no_gradients() -> Result<()> {
    let w = ramp(&[5, 8], 0.02);
    let loss = linear(&ramp(&[6, 8], 0.01), &w, None, Activation::None)?.sum_all()?;
    assert!(backward(&loss)?.get(&w).is_none());
    Ok(())
}
