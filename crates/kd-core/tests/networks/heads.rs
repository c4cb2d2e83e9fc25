//! Networks with another head: what they compute beside PyTorch
//! (`scripts/oracles/newer_features.py`), their descriptions, and branches that are folded.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use kd_core::frozen::Frozen;
use kd_core::model::{Activated, EXPANDED, HeadSpec, LAST, Mode, Model, NetworkSpec};
use kd_core::params::{Params, is_buffer};
use kd_core::seed::StepSeed;
use kd_core::{Result, Seed, exchange};
use serde_json::Value;

use super::pytorch::{check, compare};
use super::{fill, formula};

const TRAIN: Mode = Mode::Train(StepSeed { seed: Seed(0), epoch: 0, step: 0 });

fn golden() -> Value {
    let all: Value = serde_json::from_str(include_str!("../golden/newer_features.json"))
        .expect("the golden file is JSON");
    all["heads"].clone()
}

fn heads() -> [HeadSpec; 4] {
    [
        HeadSpec::Projected { channels: 256, side: 8, reduction: 2 },
        HeadSpec::Expanded { channels: 64, copies: 3, logit_scale: None },
        HeadSpec::Expanded { channels: 32, copies: 2, logit_scale: Some(2.5) },
        HeadSpec::Standardised { logit_scale: 2.5 },
    ]
}

/// A network of each family.
fn families() -> Vec<NetworkSpec> {
    let names = [
        "resnet8",
        "wrn-16-1",
        "vgg8",
        "mobilenet-v2",
        "shufflenet-v1",
        "shufflenet-v2",
        "resnet50",
    ];
    names.map(|name| NetworkSpec::from_name(name, 10).expect("a network")).to_vec()
}

/// The network with its parameters, all of them formulas.
fn built(spec: &NetworkSpec) -> Result<(Params, Box<dyn Model>)> {
    let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
    let model = spec.build(vb)?;
    fill(&params)?;
    Ok((params, model))
}

#[test]
fn logits_taps_and_moved_statistics_are_pytorchs() -> Result<()> {
    let xs = formula::images(3, "images", 0)?;
    let golden = golden();
    for (head, expected) in golden.as_object().expect("heads") {
        let spec = NetworkSpec::from_name(&format!("resnet8+{head}"), 10)?;
        let (params, model) = built(&spec)?;
        let shapes: BTreeMap<String, Vec<usize>> = params
            .named()
            .into_iter()
            .chain(params.buffers())
            .map(|(name, var)| (name, var.dims().to_vec()))
            .collect();
        let state = expected["state"].as_object().expect("a state dict").iter();
        let state: BTreeMap<_, _> = state
            .map(|(n, d)| (n.clone(), formula::numbers(d).iter().map(|d| *d as usize).collect()))
            .collect();
        assert_eq!(shapes, state, "{head}");
        let own: Vec<&str> = model
            .taps()
            .iter()
            .map(|tap| tap.name.as_str())
            .filter(|name| [EXPANDED, LAST, "pooled"].contains(name))
            .collect();
        check(&*model, &own, &xs, Mode::Evaluate, &expected["evaluate"], head)?;
        check(&*model, &own, &xs, TRAIN, &expected["train"], head)?;
        let mut moved = Vec::new();
        for (_, var) in params.buffers() {
            moved.extend(formula::values(&var)?);
        }
        compare(&moved, "running", &expected["running"], 5e-4, head);
    }
    Ok(())
}

#[test]
fn a_network_of_each_family_takes_every_head_and_its_name_and_description_are_read_back()
-> Result<()> {
    for network in families() {
        for head in heads() {
            let head = match head {
                // Not smaller than the maps of all networks.
                HeadSpec::Projected { channels, reduction, .. } => {
                    HeadSpec::Projected { channels, side: 2, reduction }
                }
                other => other,
            };
            let spec = network.clone().with_head(head)?;
            assert_eq!(NetworkSpec::from_name(&spec.name(), 10)?, spec);
            let text = serde_json::to_string(&spec).expect("JSON");
            assert_eq!(serde_json::from_str::<NetworkSpec>(&text).expect("a network"), spec);
            assert_eq!((spec.classes(), spec.clone().with_head(head).is_err()), (10, true));
            let (_, model) = built(&spec)?;
            let names: Vec<&str> = model.taps().iter().map(|tap| tap.name.as_str()).collect();
            let xs = formula::images(2, "heads", 0)?;
            let out = model.forward(&xs, &names, Mode::Evaluate)?;
            for (tap, tensor) in model.taps().iter().zip(&out.taps) {
                let dims = tensor.dims();
                assert_eq!(dims[..2], [2, tap.channels], "{}: {}", spec.name(), tap.name);
                assert!(dims.len() == 2 || dims[2] == tap.side(), "{}: {}", spec.name(), tap.name);
                let least = tensor.min_all()?.to_scalar::<f32>()?;
                let signed = tap.activated == Activated::Before;
                assert!(signed || least >= 0., "{}: {} has {least}", spec.name(), tap.name);
            }
            let last = out.taps[names.iter().position(|name| *name == LAST).expect("a tap")]
                .mean((2, 3))?;
            let Some(classifier) = model.classifier() else {
                assert!(out.logits.mean(1)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-4);
                continue;
            };
            let logits = last.matmul(&classifier.weight.t()?)?.broadcast_add(&classifier.bias)?;
            let far = (logits - &out.logits)?.abs()?.max_all()?.to_scalar::<f32>()?;
            let size = out.logits.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(far < 1e-4 * size, "{}: off by {far} of {size}", spec.name());
        }
    }
    Ok(())
}

#[test]
fn a_folded_branch_leaves_a_plain_network_that_says_the_same() -> Result<()> {
    let xs = formula::images(3, "folded", 0)?;
    for network in families() {
        for logit_scale in [None, Some(2.5)] {
            let head = HeadSpec::Expanded { channels: 24, copies: 2, logit_scale };
            let spec = network.clone().with_head(head)?;
            let (params, model) = built(&spec)?;
            let expected = formula::values(&model.forward(&xs, &[], Mode::Evaluate)?.logits)?;
            let (folded, tensors) = spec.folded(params.snapshot()?)?;
            match logit_scale {
                None => assert_eq!(folded, network),
                Some(logit_scale) => assert_eq!(
                    folded,
                    network.clone().with_head(HeadSpec::Standardised { logit_scale })?
                ),
            }
            let (plain, _) = built(&network)?;
            let names: BTreeSet<String> = tensors.keys().cloned().collect();
            assert_eq!(names, plain.snapshot()?.into_keys().collect());
            let weights: usize = tensors
                .iter()
                .filter(|(name, _)| !is_buffer(name))
                .map(|(_, tensor)| tensor.elem_count())
                .sum();
            assert_eq!(weights, plain.count(), "{}", spec.name());
            let deployed = Frozen::build(tensors, &Device::Cpu, |vb| folded.build(vb))?;
            let got = formula::values(&deployed.forward(&xs, &[])?.logits)?;
            let size = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 2e-5 * size, "{}: {got} {expected}", spec.name());
            }
            // The branch does something: without it the logits are others.
            let mut bare = params.snapshot()?;
            bare.retain(|name, _| !name.starts_with("expand.") && !name.starts_with("reduce."));
            let bare = Frozen::build(bare, &Device::Cpu, |vb| folded.build(vb))?;
            let bare = formula::values(&bare.forward(&xs, &[])?.logits)?;
            let far = bare.iter().zip(&expected).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(far > 1e-2 * size, "{}: {far}", spec.name());
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_folded_stays_as_it_is_and_a_missing_tensor_is_named() -> Result<()> {
    for spec in ["resnet8", "resnet8+projected-256-8-2", "resnet8+standardised-2.5"] {
        let spec = NetworkSpec::from_name(spec, 10)?;
        let (params, _) = built(&spec)?;
        let (same, tensors) = spec.folded(params.snapshot()?)?;
        assert_eq!(same, spec);
        assert!(tensors.keys().eq(params.snapshot()?.keys()));
    }
    let spec = NetworkSpec::from_name("resnet8+expanded-64-2", 10)?;
    let (params, _) = built(&spec)?;
    let mut tensors = params.snapshot()?;
    tensors.remove("reduce.1.running_var");
    let error = spec.folded(tensors).expect_err("a tensor is missing");
    assert_eq!(error.to_string(), "the network has no tensor 'reduce.1.running_var' to fold");
    Ok(())
}

#[test]
fn a_projector_takes_the_place_of_a_last_convolution_and_its_dense_layer_is_a_constant()
-> Result<()> {
    for (network, conv) in [("mobilenet-v2", "conv2."), ("shufflenet-v2", "conv2.")] {
        let plain = built(&NetworkSpec::from_name(network, 10)?)?.0;
        let headed = built(&NetworkSpec::from_name(&format!("{network}+projected-64-4-2"), 10)?)?.0;
        let has = |params: &Params| params.named().iter().any(|(name, _)| name.starts_with(conv));
        assert!(has(&plain) && !has(&headed), "{network}");
    }
    for (head, trains) in [("projected-256-8-2", false), ("expanded-64-2", true)] {
        let (params, model) = built(&NetworkSpec::from_name(&format!("resnet8+{head}"), 10)?)?;
        let out = model.forward(&formula::images(2, "constant", 0)?, &[], TRAIN)?;
        let gradients = kd_kernels::backward(&out.logits.sqr()?.sum_all()?)?;
        for (name, var) in params.named() {
            let moved = gradients.get(&var).is_some();
            assert_eq!(moved, trains || !name.starts_with("fc."), "{head}: {name}");
        }
    }
    Ok(())
}

#[test]
fn a_network_with_another_head_is_told_from_a_file_by_its_description() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["resnet8", "resnet8+projected-256-8-2", "vgg8+standardised-2.5"] {
        let spec = NetworkSpec::from_name(name, 10)?;
        let (params, _) = built(&spec)?;
        let path = dir.path().join("network.safetensors");
        kd_core::train::checkpoint::save(&path, &params.snapshot()?, &spec)?;
        assert_eq!(exchange::recognise(&path, None)?, spec);
        assert_eq!(exchange::recognise(&path, Some(name))?, spec);
        assert_eq!(exchange::import(&path, &spec)?.tensors.len(), params.snapshot()?.len());
    }
    // A description of other tensors than there are.
    let (params, _) = built(&NetworkSpec::from_name("resnet8", 10)?)?;
    let path = dir.path().join("forged.safetensors");
    let forged = NetworkSpec::from_name("resnet8+projected-256-8-2", 10)?;
    kd_core::train::checkpoint::save(&path, &params.snapshot()?, &forged)?;
    let error = exchange::recognise(&path, None).expect_err("another network").to_string();
    assert!(
        error.contains("are not those of a resnet8+projected-256-8-2 of 10 classes"),
        "{error}"
    );
    Ok(())
}

#[test]
fn heads_that_make_no_sense_are_refused_in_one_line() {
    let refused = |spec: &str, part: &str| {
        let error = NetworkSpec::from_name(spec, 10).expect_err("refused");
        assert!(error.is_bad_input() && error.to_string().contains(part), "{spec}: {error}");
    };
    for (spec, part) in [
        ("resnet8+", "head: expected projected-CHANNELS-SIDE-REDUCTION"),
        ("resnet8+projected-256-8", "head: expected projected-CHANNELS-SIDE-REDUCTION"),
        ("resnet8+projected-256-8-x", "head: expected projected-CHANNELS-SIDE-REDUCTION"),
        ("resnet8+projected-256-8-257", "reduction: expected 1 to 256, got 257"),
        ("resnet8+projected-256-0-2", "head.side: expected 1 to"),
        ("resnet8+expanded-0-2", "head.channels: expected 1 to"),
        ("resnet8+standardised-0", "logit-scale: expected a number from 0.001 to 1000, got 0"),
        ("resnet8+standardised-NaN", "logit-scale: expected a number from 0.001 to 1000, got NaN"),
        ("resnet8+standardised-1+standardised-1", "head: expected"),
        ("resnet9+standardised-1", "network: expected one of"),
    ] {
        refused(spec, part);
    }
    let build = |spec: NetworkSpec| {
        let (_, vb) = Params::seeded(Seed(0), &Device::Cpu);
        let error = spec.build(vb).err().expect("refused");
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let head = HeadSpec::Projected { channels: 256, side: 3, reduction: 2 };
    let spec = NetworkSpec::from_name("resnet8", 10).and_then(|spec| spec.with_head(head));
    let error = build(spec.expect("a network"));
    assert!(error.starts_with("head.side: "), "{error}");
    // Of a file, a description may nest heads, or ask for more than there is memory.
    let inner = NetworkSpec::from_name("resnet8+standardised-1", 10).expect("a network");
    let nested = NetworkSpec::Headed { network: Box::new(inner), head };
    assert!(build(nested).starts_with("head: expected an image network"));
    let wide = HeadSpec::Expanded { channels: 1 << 16, copies: 1 << 16, logit_scale: None };
    let plain = || Box::new(NetworkSpec::from_name("resnet8", 10).expect("a network"));
    assert!(build(NetworkSpec::Headed { network: plain(), head: wide }).contains("2^31 weights"));
    let mlp = "{\"kind\":\"mlp\",\"inputs\":4,\"hidden\":[],\"classes\":3,\"dropout-input\":0.0,\"dropout-hidden\":0.0,\"init\":\"he-normal\"}";
    let mlp = Box::new(serde_json::from_str(mlp).expect("a network"));
    assert!(build(NetworkSpec::Headed { network: mlp, head }).starts_with("head: expected"));
}
