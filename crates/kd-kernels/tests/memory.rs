//! Every kernel once, forward and backward: what an interpreter that watches memory (Miri, in
//! `scripts/check-memory.sh`) can get through. Elsewhere it shows that no result is left unwritten,
//! by a second run.

mod common;

use candle_core::{Result, Tensor, Var};
use common::graph::random;
use common::{every_op, flat};

/// Value and gradients are finite, which memory that nobody wrote need not be, and twice the same,
/// which it rarely is.
fn check(name: &str, dims: &[&[usize]], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) {
    let run = || {
        let vars: Vec<Var> = dims
            .iter()
            .enumerate()
            .map(|(i, dims)| Var::from_tensor(&random(i as u64, dims)).unwrap())
            .collect();
        let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&inputs).unwrap();
        let grads = kd_kernels::backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
        let mut all = flat(&y);
        vars.iter().for_each(|v| all.extend(grads.get(v).map(flat).unwrap_or_default()));
        all
    };
    let values = run();
    assert!(values.iter().all(|v| v.is_finite()), "{name}: {values:?}");
    if cfg!(miri) {
        // It sees by itself what was not written, and takes minutes: say how far it is.
        eprintln!("{name}");
    } else {
        assert_eq!(values, run(), "{name}");
    }
}

#[test]
fn convolutions_write_all_of_their_results() {
    every_op::convolutions(&mut check);
}

#[test]
fn ops_on_images_write_all_of_their_results() {
    every_op::images(&mut check);
}

#[test]
fn ops_on_sequences_write_all_of_their_results() {
    every_op::sequences(&mut check);
}

#[test]
fn dense_ops_and_losses_write_all_of_their_results() {
    every_op::dense(&mut check);
}
