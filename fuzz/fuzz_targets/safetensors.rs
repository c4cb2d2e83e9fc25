//! Safetensors files: networks with a description, and networks from other programs.

#![no_main]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::exchange::import;
use kd_core::frozen::Saved;
use kd_core::model::NetworkSpec;
use kd_core::train::checkpoint::{load, save};
use kd_translation::SavedTransformer;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let tensor = |n: u32| {
        Tensor::arange(0, n, &Device::Cpu).and_then(|t| t.to_dtype(candle_core::DType::F32))
    };
    let tensors: BTreeMap<String, Tensor> = [("a.weight", 6), ("a.running_mean", 3)]
        .into_iter()
        .map(|(name, n)| (name.to_string(), tensor(n).expect("a tensor")))
        .collect();
    let path = kd_fuzz::folder().join("seed.safetensors");
    save(
        &path,
        &tensors,
        &serde_json::json!({ "kind": "resnet", "depth": 8, "width": 1, "classes": 10 }),
    )
    .expect("a file with a description");
    let described = std::fs::read(&path).expect("the file");
    let exported = kd_core::exchange::export(&tensors).expect("a file for PyTorch");
    vec![("described", described), ("exported", exported)]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let path = kd_fuzz::file("input.safetensors", bytes);
    let _ = load::<Value>(&path, &Device::Cpu);
    let _ = Saved::load(&path, &Device::Cpu);
    let _ = SavedTransformer::load(&path, &Device::Cpu);
    // To compare its shapes, the network is built, which takes far longer than to read the file.
    if bytes.len().is_multiple_of(64) {
        let _ = NetworkSpec::named(100).first().map(|network| import(&path, network));
    }
}));
