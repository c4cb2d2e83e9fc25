//! A frozen network in evaluation, whose batch-norms are folded into its convolutions, against the
//! same network without: the twins of the kernels fold nothing. A binary of its own, because the
//! switch is the process's.

#[path = "formula/mod.rs"]
mod formula;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::frozen::Frozen;
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::{Result, Seed};
use kd_kernels::{Kernels, set_kernels};

/// All values, as f64.
fn flat(t: &Tensor) -> Result<Vec<f64>> {
    let values: Vec<f32> = t.flatten_all()?.to_vec1()?;
    Ok(values.into_iter().map(f64::from).collect())
}

#[test]
fn a_frozen_network_computes_what_it_computed_before_its_batch_norms_were_folded() -> Result<()> {
    for name in ["resnet20", "resnet8x4", "wrn-16-2", "vgg8", "mobilenet-v2", "shufflenet-v2"] {
        let spec = NetworkSpec::from_name(name, 100)?;
        let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
        spec.build(vb)?;
        let all = params.named().into_iter().chain(params.buffers());
        let values = all.map(|(name, var)| Ok((name.clone(), formula::value(&name, var.dims())?)));
        let values = values.collect::<Result<BTreeMap<String, Tensor>>>()?;
        let teacher = Frozen::build(values, &Device::Cpu, |vb| spec.build(vb))?;
        let names: Vec<&str> =
            teacher.model().about().taps.iter().map(|tap| tap.name.as_str()).collect();
        let xs =
            Tensor::from_iter((0..3 * 3 * 32 * 32).map(|i| (0.13 * i as f32).sin()), &Device::Cpu)?
                .reshape((3, 3, 32, 32))?;
        let mut outputs = Vec::new();
        for kernels in [Kernels::Best, Kernels::Off] {
            set_kernels(kernels);
            let out = teacher.forward(&xs, &names)?;
            outputs.push([vec![out.logits], out.taps].concat());
        }
        for ((folded, unfolded), tap) in
            outputs[0].iter().zip(&outputs[1]).zip(["logits"].iter().chain(&names))
        {
            let (folded, unfolded) = (flat(folded)?, flat(unfolded)?);
            let size = unfolded.iter().fold(0f64, |m, v| m.max(v.abs()));
            let off = folded.iter().zip(&unfolded).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(size > 0.0 && off <= 2e-5 * size, "{name}, {tap}: off by {off} of {size}");
        }
    }
    Ok(())
}
