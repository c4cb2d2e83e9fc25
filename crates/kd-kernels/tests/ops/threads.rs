//! Results are the same bits whatever the number of threads.

use crate::common::{bits, value_and_grad, wave32};
use candle_core::{Device, Tensor, Var};
use kd_kernels::adam::{AdamConfig, AdamState};
use kd_kernels::sgd::{SgdConfig, SgdState};
use kd_kernels::stream::Stream;
use kd_kernels::{cross_entropy, dropout, max_norm, softened_kl, softmax};

/// Large enough for several tasks, and not a multiple of one.
const DIMS: [usize; 2] = [211, 389];

#[track_caller]
fn same_on_any_number_of_threads(f: impl Fn() -> Vec<Vec<u32>> + Sync) {
    let run =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f);
    let one = run(1);
    assert!(one.iter().all(|v| !v.is_empty()));
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads differ from one");
    }
}

fn both((y, grad): (Tensor, Tensor)) -> Vec<Vec<u32>> {
    vec![bits(&y), bits(&grad)]
}

#[test]
fn row_wise_ops() {
    let (x, up) = (wave32(&DIMS, 5.0, 0.7, 0.1), wave32(&DIMS, 1.0, 1.9, 0.3));
    same_on_any_number_of_threads(|| both(value_and_grad(&x, Some(&up), softmax::softmax)));
    same_on_any_number_of_threads(|| both(value_and_grad(&x, Some(&up), softmax::log_softmax)));
    same_on_any_number_of_threads(|| vec![bits(&softmax::log_sum_exp(&x).unwrap())]);
}

#[test]
fn losses() {
    let (z, v) = (wave32(&DIMS, 5.0, 0.7, 0.1), wave32(&DIMS, 4.0, 1.3, 0.5));
    let labels: Vec<u32> = (0..DIMS[0] as u32).map(|i| i * 7 % DIMS[1] as u32).collect();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    same_on_any_number_of_threads(|| {
        both(value_and_grad(&z, None, |z| cross_entropy::cross_entropy(z, &labels)))
    });
    same_on_any_number_of_threads(|| {
        both(value_and_grad(&z, None, |z| softened_kl::softened_kl(z, &v, 3.0)))
    });
}

#[test]
fn losses_without_a_graph_are_those_with_one() {
    let (z, v) = (wave32(&DIMS, 5.0, 0.7, 0.1), wave32(&DIMS, 4.0, 1.3, 0.5));
    let labels = Tensor::new(vec![3u32; DIMS[0]], &Device::Cpu).unwrap();
    let var = Var::from_tensor(&z).unwrap();
    let ce = |z: &Tensor| bits(&cross_entropy::cross_entropy(z, &labels).unwrap());
    let kl = |z: &Tensor| bits(&softened_kl::softened_kl(z, &v, 3.0).unwrap());
    assert_eq!(ce(&z), ce(&var));
    assert_eq!(kl(&z), kl(&var));
}

#[test]
fn dropout_mask() {
    let x = wave32(&DIMS, 1.0, 0.7, 0.1);
    same_on_any_number_of_threads(|| {
        both(value_and_grad(&x, Some(&x), |x| dropout::dropout(x, 0.5, Stream::new(1, 2))))
    });
}

#[test]
fn optimisers() {
    let (w, grad) = (wave32(&DIMS, 1.0, 0.7, 0.1), wave32(&DIMS, 1.0, 1.9, 0.3));
    for max_norm in [None, Some(4.0)] {
        let cfg = SgdConfig { momentum: 0.9, weight_decay: 1e-3, max_norm, ..SgdConfig::new(0.1) };
        same_on_any_number_of_threads(|| {
            let (var, mut state) = (Var::from_tensor(&w).unwrap(), SgdState::new());
            for _ in 0..2 {
                state.step(&var, &grad, &cfg).unwrap();
            }
            vec![bits(&var), bits(&state.momentum().unwrap().unwrap())]
        });
    }
    same_on_any_number_of_threads(|| {
        let (var, mut state) = (Var::from_tensor(&w).unwrap(), AdamState::new());
        state.step(&var, &grad, &AdamConfig::adamw(0.01)).unwrap();
        max_norm::max_norm(&var, 3.0).unwrap();
        vec![bits(&var), bits(&state.m().unwrap().unwrap()), bits(&state.v().unwrap().unwrap())]
    });
}
