//! The smallest model distillation: 10 numbers, 5 hidden units, 2 outputs, on random vectors.
//!
//! A student of its teacher's shape first learns the teacher's outputs by the squared error of the
//! logits. Then the teacher's parameters are copied into it, and the two are one function. A student
//! of 3 hidden units shows what the other ways of migration leave of it.
//!
//! `cargo run -p kd-recipes --example ten_five_two`

use candle_core::{Device, Tensor};
use kd_core::loss::logit_regression;
use kd_core::migration::Migration;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::model::{Mode, Model};
use kd_core::params::{self, Params};
use kd_core::train::{Optimizer, OptimizerSpec};
use kd_core::{Result, Seed};

const STEPS: usize = 200;

fn shape(hidden: usize) -> MlpSpec {
    MlpSpec {
        inputs: 10,
        hidden: vec![hidden],
        classes: 2,
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    }
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let stream = Seed(1).stream("vectors", 0, 0);
    let values: Vec<f32> = (0..64 * 10).map(|i| stream.normal_at(i)).collect();
    let xs = Tensor::from_vec(values, (64, 10), &device)?;

    let (teacher, vb) = Params::seeded(Seed(2), &device);
    let outputs = Mlp::new(&shape(5), vb)?.forward(&xs, &[], Mode::Evaluate)?.logits.detach();

    let (student, vb) = Params::seeded(Seed(3), &device);
    let network = Mlp::new(&shape(5), vb)?;
    let distance = || -> Result<Tensor> {
        let logits = network.forward(&xs, &[], Mode::Evaluate)?.logits;
        Ok(logit_regression(&logits, &outputs)?)
    };
    println!("before            {:.6}", distance()?.to_scalar::<f32>()?);
    let adam = OptimizerSpec::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.,
        decoupled: false,
    };
    let mut optimizer = Optimizer::over(&adam, None, student.named())?;
    for _ in 0..STEPS {
        optimizer.step(&kd_kernels::backward(&distance()?)?, 0.01)?;
    }
    println!("after {STEPS} steps   {:.6}", distance()?.to_scalar::<f32>()?);

    let tensors = teacher.snapshot()?;
    student.set(&Migration::Copy.apply(&tensors, &shape(5), &shape(5))?)?;
    println!("after copying     {:.6}", distance()?.to_scalar::<f32>()?);

    for way in [Migration::Truncate, Migration::Strongest, Migration::Average] {
        let moved = way.apply(&tensors, &shape(5), &shape(3))?;
        let small = params::build_frozen(moved, &device, |vb| Mlp::new(&shape(3), vb))?;
        let logits = small.forward(&xs, &[], Mode::Evaluate)?.logits;
        let left = logit_regression(&logits, &outputs)?.to_scalar::<f32>()?;
        println!("3 units, {:<9} {left:.6}", format!("{way:?}").to_lowercase());
    }
    Ok(())
}
