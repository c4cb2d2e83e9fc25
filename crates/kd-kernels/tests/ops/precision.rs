//! Ops that follow the precision: what is rounded in bfloat16, forward and backward, and what is
//! not.

use crate::common::{assert_close, bits, flat, wave32};
use candle_core::{DType, Result, Tensor, Var};
use kd_kernels::feed_forward::feed_forward;
use kd_kernels::linear::linear;
use kd_kernels::smoothed_cross_entropy::{label_smoothed_cross_entropy, projected_cross_entropy};
use kd_kernels::{Activation, Precision, backward};

/// `x` rounded to bfloat16, by Candle.
fn rounded(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::BF16)?.to_dtype(DType::F32)
}

/// ‖got − want‖ / ‖want‖.
fn distance(got: &Tensor, want: &Tensor) -> Result<f64> {
    let norm = |x: &Tensor| flat(x).iter().map(|x| x * x).sum::<f64>().sqrt();
    Ok(norm(&(got - want)?) / norm(want))
}

/// A dense layer of 40 to 33 units on 20 rows, and a gradient of its result.
fn layer() -> (Var, Var, Var, Tensor) {
    let var = |t: Tensor| Var::from_tensor(&t).unwrap();
    let (x, w, b) = (
        wave32(&[20, 40], 1.0, 0.37, 0.1),
        wave32(&[33, 40], 0.3, 0.53, 0.7),
        wave32(&[33], 0.2, 0.9, 0.3),
    );
    (var(x), var(w), var(b), wave32(&[20, 33], 1.0, 0.71, 0.2))
}

#[test]
fn a_layer_rounds_the_operands_of_its_three_products_and_nothing_else() -> Result<()> {
    let (x, w, b, upstream) = layer();
    let y = Precision::Bfloat16.during(|| linear(&x, &w, Some(&b), Activation::None))?;
    // The backward pass runs after the stretch, and is in bfloat16 all the same.
    let grads = backward(&(&y * &upstream)?.sum_all()?)?;
    let (rx, rw, rg) = (rounded(&x)?, rounded(&w)?, rounded(&upstream)?);
    // The twins round their results as well.
    let most = if kd_kernels::kernels_enabled() { 1e-5 } else { 4e-2 };
    let close = |got: &Tensor, want: &Tensor, what: &str| {
        assert_close(&flat(got), &flat(want), most, 1e-5, what)
    };
    close(&y, &rx.matmul(&rw.t()?)?.broadcast_add(&b)?, "y");
    close(grads.get(&x).unwrap(), &rg.matmul(&rw)?, "dx");
    close(grads.get(&w).unwrap(), &rg.t()?.matmul(&rx)?, "dw");
    close(grads.get(&b).unwrap(), &upstream.sum(0)?, "db");
    Ok(())
}

#[test]
fn a_layer_recorded_in_float32_stays_so_where_bfloat16_is_in_force_later() -> Result<()> {
    let (x, w, b, upstream) = layer();
    let y = linear(&x, &w, Some(&b), Activation::Relu)?;
    let loss = (&y * &upstream)?.sum_all()?;
    let later = Precision::Bfloat16.during(|| backward(&loss))?;
    let now = backward(&loss)?;
    assert_eq!(bits(later.get(&w).unwrap()), bits(now.get(&w).unwrap()));
    Ok(())
}

#[test]
fn results_in_bfloat16_are_near_those_in_float32_but_not_the_same() -> Result<()> {
    let (x, w, b, _) = layer();
    let (w2, b2) = (wave32(&[12, 33], 0.3, 0.41, 0.6), wave32(&[12], 0.2, 0.8, 0.3));
    let targets = Tensor::new((0..20u32).map(|i| i % 33).collect::<Vec<_>>(), x.device())?;
    let layers = || linear(&x, &w, Some(&b), Activation::Relu);
    let feed_forward = || feed_forward(&x, &w, &b, &w2, &b2, None);
    let projected = || Ok(projected_cross_entropy(&x, &w, &targets, 0.1, None)?.loss);
    let ops: [(&str, &dyn Fn() -> Result<Tensor>); 3] = [
        ("linear", &layers),
        ("feed-forward", &feed_forward),
        ("projected cross-entropy", &projected),
    ];
    for (name, op) in ops {
        let gradient = |y: Tensor| -> Result<(Tensor, Tensor)> {
            Ok((y.detach(), backward(&y.sqr()?.sum_all()?)?.get(&w).unwrap().clone()))
        };
        let (exact, coarse) = (gradient(op()?)?, gradient(Precision::Bfloat16.during(op)?)?);
        for (coarse, exact, what) in [(coarse.0, exact.0, "value"), (coarse.1, exact.1, "gradient")]
        {
            let distance = distance(&coarse, &exact)?;
            assert!((1e-7..2e-2).contains(&distance), "{name}: the {what} is off by {distance:e}");
        }
    }
    Ok(())
}

#[test]
fn a_projected_loss_in_bfloat16_is_that_of_a_layer_in_bfloat16() -> Result<()> {
    let (x, w, _, _) = layer();
    let targets = Tensor::new((0..20u32).map(|i| i % 33).collect::<Vec<_>>(), x.device())?;
    let (fused, apart) = Precision::Bfloat16.during(|| -> Result<_> {
        let fused = projected_cross_entropy(&x, &w, &targets, 0.1, None)?.loss;
        let logits = linear(&x, &w, None, Activation::None)?;
        Ok((fused, label_smoothed_cross_entropy(&logits, &targets, 0.1, None)?.loss))
    })?;
    assert_close(&flat(&fused), &flat(&apart), 0.0, 1e-6, "loss");
    let (fused, apart) = (backward(&fused)?, backward(&apart)?);
    for (name, var) in [("hidden", &x), ("table", &w)] {
        // A gradient that differs in its last bit may round the other way.
        let distance = distance(fused.get(var).unwrap(), apart.get(var).unwrap())?;
        assert!(distance < 1e-3, "{name}: off by {distance:e}");
    }
    Ok(())
}
