//! Every op on an accelerator against the same op here: values and gradients. There the ops are
//! their twins, made of stock Candle ops.
//!
//! `KD_DEVICE=cuda cargo test -p kd-kernels --features cuda --test on_device -- --ignored`, or
//! `metal`; `cpu` tries the test itself.

mod common;

use candle_core::{Device, Result, Tensor, Var};
use common::every_op;
use common::graph::{distance, random};

fn device() -> Device {
    match std::env::var("KD_DEVICE").as_deref() {
        Ok("cuda") => Device::new_cuda(0).unwrap(),
        Ok("metal") => Device::new_metal(0).unwrap(),
        Ok("cpu") => Device::Cpu,
        other => panic!("KD_DEVICE: expected cuda, metal or cpu, got {other:?}"),
    }
}

/// The value and the gradients of the inputs for one fixed random upstream gradient, brought here;
/// none for an input that takes no part.
fn passes(
    device: &Device,
    dims: &[&[usize]],
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    let vars =
        (0..).zip(dims).map(|(i, dims)| Var::from_tensor(&random(i, dims).to_device(device)?));
    let vars = vars.collect::<Result<Vec<Var>>>()?;
    let y = f(&vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>())?;
    let up = random(99, y.dims()).to_device(device)?;
    let grads = kd_kernels::backward(&(&y * up)?.sum_all()?)?;
    let here = |t: Option<&Tensor>| t.map(|t| t.to_device(&Device::Cpu)).transpose();
    std::iter::once(Some(&y)).chain(vars.iter().map(|v| grads.get(v))).map(here).collect()
}

#[test]
#[ignore = "needs an accelerator, which KD_DEVICE names"]
fn every_op_has_on_an_accelerator_the_values_and_gradients_that_it_has_here() {
    let device = device();
    let (mut ops, mut wrong) = (0, Vec::new());
    let mut check = |name: &str, dims: &[&[usize]], f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        ops += 1;
        let here = passes(&Device::Cpu, dims, f).unwrap();
        match passes(&device, dims, f) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(there) => {
                for (i, pair) in here.iter().zip(&there).enumerate() {
                    let what = if i == 0 { "value".into() } else { format!("gradient {i}") };
                    let apart = match pair {
                        (Some(here), Some(there)) => distance(there, here),
                        (None, None) => 0.0,
                        _ => f64::INFINITY,
                    };
                    if apart > 1e-4 {
                        wrong.push(format!("{name} {dims:?}: {what} is off by {apart:.1e}"));
                    }
                }
            }
        }
    };
    every_op::convolutions(&mut check);
    every_op::images(&mut check);
    every_op::sequences(&mut check);
    every_op::dense(&mut check);
    assert!(wrong.is_empty(), "{} of {ops} checks:\n{}", wrong.len(), wrong.join("\n"));
    println!("{ops} checks on {:?}", device.location());
}
