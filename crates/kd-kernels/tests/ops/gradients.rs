//! Every backward against central finite differences, in f32 (the kernels) and in f64 (the twins).

use crate::common::{flat, value_and_grad, wave};
use candle_core::{DType, Device, Result, Tensor};
use kd_kernels::cross_entropy::cross_entropy;
use kd_kernels::dropout::dropout;
use kd_kernels::softened_kl::softened_kl;
use kd_kernels::softmax::{log_softmax, log_sum_exp, softmax};
use kd_kernels::stream::Stream;

fn check(name: &str, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let dims = [3, 11];
    for (dtype, h, eps) in [(DType::F32, 1e-2, 2e-3), (DType::F64, 1e-5, 1e-8)] {
        let x = wave(&dims, 2.0, 0.7, 0.1).to_dtype(dtype).unwrap();
        let up = f(&x).unwrap();
        let up = wave(up.dims(), 1.0, 1.9, 0.3).to_dtype(dtype).unwrap();
        let (_, grad) = value_and_grad(&x, Some(&up), &f);
        let at = |x: &Tensor| flat(&(f(x).unwrap() * &up).unwrap()).iter().sum::<f64>();
        let values = flat(&x);
        for (i, got) in flat(&grad).into_iter().enumerate() {
            let moved = |d: f64| {
                let mut values = values.clone();
                values[i] += d;
                Tensor::from_vec(values, &dims, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let want = (at(&moved(h)) - at(&moved(-h))) / (2.0 * h);
            assert!(
                (got - want).abs() <= eps * (1.0 + want.abs()),
                "{name} {dtype:?}, element {i}: got {got}, expected {want}"
            );
        }
    }
}

#[test]
fn softmax_backward_is_the_derivative() {
    check("softmax", softmax);
}

#[test]
fn log_softmax_backward_is_the_derivative() {
    check("log_softmax", log_softmax);
}

#[test]
fn log_sum_exp_backward_is_the_derivative() {
    check("log_sum_exp", log_sum_exp);
}

#[test]
fn cross_entropy_backward_is_the_derivative() {
    let labels = Tensor::new(&[10u32, 0, 4], &Device::Cpu).unwrap();
    check("cross_entropy", |x| cross_entropy(x, &labels));
}

#[test]
fn softened_kl_backward_is_the_derivative() {
    for t in [0.7, 1.0, 4.0] {
        check("softened_kl", |x| {
            softened_kl(x, &wave(&[3, 11], 3.0, 1.3, 0.5).to_dtype(x.dtype())?, t)
        });
    }
}

#[test]
fn dropout_backward_is_the_derivative() {
    check("dropout", |x| dropout(x, 0.3, Stream::new(5, 6)));
}

#[test]
fn a_gradient_scales_with_the_loss_and_reaches_through_both_losses_of_a_step() {
    let labels = Tensor::new(&[1u32, 2, 3], &Device::Cpu).unwrap();
    check("0.3 CE + 0.7 KL", |x| {
        let teacher = wave(&[3, 11], 3.0, 1.3, 0.5).to_dtype(x.dtype())?;
        (cross_entropy(x, &labels)? * 0.3)? + (softened_kl(x, &teacher, 2.0)? * 0.7)?
    });
}

#[test]
fn backward_twice_on_one_graph_gives_the_same_gradient() {
    let x = candle_core::Var::from_tensor(&crate::common::wave32(&[3, 11], 2.0, 0.7, 0.1)).unwrap();
    let labels = Tensor::new(&[1u32, 2, 3], &Device::Cpu).unwrap();
    let loss = cross_entropy(&x, &labels).unwrap();
    let [first, second] =
        [0, 1].map(|_| crate::common::bits(loss.backward().unwrap().get(&x).unwrap()));
    assert_eq!(first, second);
}
