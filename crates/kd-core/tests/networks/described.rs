//! What the networks say about themselves, and how they begin.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor};
use kd_core::frozen::{Frozen, Saved};
use kd_core::model::{Activated, LAST, Mode, Model, NetworkSpec, Shortcut, Tap};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Optimizer, OptimizerSpec, checkpoint};
use kd_core::{Result, Seed};

use super::{fill, formula, network};

const TRAIN: Mode = Mode::Train(StepSeed { seed: Seed(0), epoch: 0, step: 0 });

/// Name, parameters, multiply-adds in millions, entries of the state dict without PyTorch's
/// counters: counted on the reference's networks.
const SIZES: [(&str, usize, f64, usize); 16] = [
    ("resnet8", 83_892, 12.5, 47),
    ("resnet20", 278_324, 40.8, 107),
    ("resnet32", 472_756, 69.1, 167),
    ("resnet56", 861_620, 125.8, 287),
    ("resnet110", 1_736_564, 253.2, 557),
    ("resnet8x4", 1_233_540, 177.1, 52),
    ("resnet32x4", 7_433_860, 1083., 172),
    ("wrn-16-2", 703_284, 101.1, 70),
    ("wrn-40-1", 569_780, 83.3, 189),
    ("wrn-40-2", 2_255_156, 327.6, 190),
    ("vgg8", 3_965_028, 96.2, 32),
    ("vgg13", 9_462_180, 284.9, 62),
    ("mobilenet-v2", 812_836, 6.5, 267),
    ("shufflenet-v1", 949_258, 38.7, 247),
    ("shufflenet-v2", 1_355_528, 44.5, 282),
    ("resnet50", 23_705_252, 1298., 267),
];

#[test]
fn parameters_multiply_adds_and_entries_are_those_of_the_reference() -> Result<()> {
    for (name, parameters, millions, entries) in SIZES {
        let (params, model) = network(name)?;
        assert_eq!(params.count(), parameters, "{name}");
        assert_eq!(params.named().len() + params.buffers().len(), entries, "{name}");
        let digit = if millions > 1000. { 0.5 } else { 0.05 };
        let ours = model.multiply_adds() as f64 / 1e6;
        assert!((ours - millions).abs() <= digit, "{name}: {ours} million");
    }
    Ok(())
}

#[test]
fn every_tap_comes_as_it_is_declared_and_alone_as_among_all() -> Result<()> {
    let xs = formula::images(2, "taps", 0)?;
    for spec in NetworkSpec::named(10) {
        let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
        let model = spec.build(vb)?;
        fill(&params)?;
        let names: Vec<&str> = model.taps().iter().map(|t| t.name.as_str()).collect();
        let all = model.forward(&xs, &names, Mode::Evaluate)?;
        for (tap, tensor) in model.taps().iter().zip(&all.taps) {
            let dims = match tap.stride {
                0 => vec![2, tap.channels],
                stride => vec![2, tap.channels, 32 / stride, 32 / stride],
            };
            assert_eq!(tensor.dims(), dims, "{}, {}", spec.name(), tap.name);
            let smallest = tensor.flatten_all()?.min(0)?.to_scalar::<f32>()?;
            assert_eq!(
                smallest < 0.,
                tap.activated == Activated::Before,
                "{}, {}: {smallest}",
                spec.name(),
                tap.name
            );
        }
        // Asking for one tap takes another path through the network than asking for all; both have
        // to say the same.
        for name in ["stage2", "stage2.pre"].into_iter().filter(|name| names.contains(name)) {
            let one = model.forward(&xs, &[name], Mode::Evaluate)?;
            let index = model.tap_index(name)?;
            let gap = (&one.taps[0] - &all.taps[index])?.abs()?.max_all()?.to_scalar::<f32>()?;
            let size = all.taps[index].abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(gap <= 1e-5 * size, "{}, {name}: {gap} of {size}", spec.name());
        }
    }
    Ok(())
}

/// A network, channels and side of its stem and stages, and channels of its pooled vector.
type Maps = (&'static str, &'static [(usize, usize)], usize);

#[test]
fn taps_have_the_shapes_of_the_literature() -> Result<()> {
    let cases: [Maps; 9] = [
        ("resnet20", &[(16, 32), (16, 32), (32, 16), (64, 8)], 64),
        ("resnet32x4", &[(32, 32), (64, 32), (128, 16), (256, 8)], 256),
        ("wrn-40-2", &[(16, 32), (32, 32), (64, 16), (128, 8)], 128),
        ("wrn-40-1", &[(16, 32), (16, 32), (32, 16), (64, 8)], 64),
        ("vgg13", &[(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)], 512),
        ("mobilenet-v2", &[(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)], 1280),
        ("shufflenet-v1", &[(24, 32), (240, 16), (480, 8), (960, 4)], 960),
        ("shufflenet-v2", &[(24, 32), (116, 16), (232, 8), (464, 4)], 1024),
        ("resnet50", &[(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)], 2048),
    ];
    for (name, maps, pooled) in cases {
        let (_, model) = network(name)?;
        let shape = |t: &Tap| (t.channels, 32 / t.stride.max(1));
        let stem = &model.taps()[model.tap_index("stem")?];
        let outputs: Vec<_> =
            [stem].into_iter().chain(model.stages(Activated::After)).map(shape).collect();
        assert_eq!(outputs, maps, "{name}");
        let before: Vec<&Tap> = model.stages(Activated::Before);
        assert_eq!(before.iter().copied().map(shape).collect::<Vec<_>>(), maps[1..], "{name}");
        assert!(before.iter().all(|t| t.activated == Activated::Before), "{name}");
        assert_eq!(
            before.iter().all(|t| t.name.ends_with(".pre")),
            name != "mobilenet-v2",
            "{name}"
        );
        assert_eq!(model.taps()[model.tap_index("pooled")?].channels, pooled, "{name}");
    }
    Ok(())
}

#[test]
fn the_classifier_makes_the_logits_of_the_mean_of_the_last_map() -> Result<()> {
    let xs = formula::images(2, "classifier", 0)?;
    for spec in NetworkSpec::named(10) {
        let (_, vb) = Params::seeded(Seed(1), &Device::Cpu);
        let model = spec.build(vb)?;
        let out = model.forward(&xs, &[LAST, "pooled"], Mode::Evaluate)?;
        let mean = out.taps[0].mean((2, 3))?;
        let classifier = model.classifier().expect("an image network has one");
        let logits = mean.matmul(&classifier.weight.t()?)?.broadcast_add(&classifier.bias)?;
        for (got, expected, what) in
            [(&logits, &out.logits, "logits"), (&mean, &out.taps[1], "pooled")]
        {
            let gap = (got - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            let size = expected.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(gap <= 1e-5 * size, "{}: {what} off by {gap} of {size}", spec.name());
        }
    }
    Ok(())
}

#[test]
fn the_norm_of_a_tap_is_the_one_whose_bias_shifts_it() -> Result<()> {
    for (name, named) in [
        ("resnet20", 3),
        ("wrn-16-2", 3),
        ("vgg8", 4),
        ("resnet50", 4),
        ("shufflenet-v1", 0),
        ("shufflenet-v2", 0),
        ("mobilenet-v2", 0),
    ] {
        let (params, model) = network(name)?;
        let taps: Vec<&Tap> = model.taps().iter().filter(|tap| tap.norm.is_some()).collect();
        assert_eq!(taps.len(), named, "{name}");
        if name == "resnet50" {
            // One forward pass of it is as long as those of all others.
            assert_eq!(
                taps.iter().filter_map(|t| t.norm.as_deref()).collect::<Vec<_>>(),
                ["layer1.2.bn3", "layer2.3.bn3", "layer3.5.bn3", "layer4.2.bn3"]
            );
            continue;
        }
        let images = formula::images(1, "norm", 0)?;
        for tap in taps {
            assert!(tap.name.ends_with(".pre"), "{name}: {}", tap.name);
            let value = || -> Result<Vec<f64>> {
                Ok(formula::values(&model.forward(&images, &[&tap.name], Mode::Evaluate)?.taps[0])?)
            };
            let before = value()?;
            let mut tensors = params.snapshot()?;
            let bias = format!("{}.bias", tap.norm.as_deref().unwrap_or_default());
            let shifted = (&tensors[&bias] + 1.)?;
            tensors.insert(bias, shifted);
            params.set(&tensors)?;
            assert!(
                value()?
                    .iter()
                    .zip(before)
                    .all(|(after, before)| (after - before - 1.).abs() < 1e-4),
                "{name}: {}",
                tap.name
            );
        }
    }
    Ok(())
}

fn moments(params: &Params, name: &str) -> Result<(f64, f64)> {
    let values = formula::values(&params.snapshot()?[name])?;
    let n = values.len() as f64;
    Ok((
        (values.iter().map(|v| v * v).sum::<f64>() / n).sqrt(),
        values.iter().fold(0., |m: f64, v| m.max(v.abs())),
    ))
}

#[test]
fn parameters_begin_as_in_the_reference_programs() -> Result<()> {
    let he = |fan_out: usize| (2. / fan_out as f64).sqrt();
    let uniform = |fan_in: usize| 1. / (3. * fan_in as f64).sqrt();
    let cases = [
        ("resnet20", "layer2.0.conv1.weight", he(9 * 32)),
        ("resnet20", "fc.weight", uniform(64)),
        ("resnet20", "fc.bias", uniform(64)),
        ("wrn-16-2", "block2.layer.0.convShortcut.weight", he(64)),
        ("wrn-16-2", "fc.weight", uniform(128)),
        ("wrn-16-2", "fc.bias", 0.),
        ("vgg8", "block1.0.weight", he(9 * 128)),
        ("vgg8", "block1.0.bias", 0.),
        ("vgg8", "classifier.weight", 0.01),
        ("mobilenet-v2", "blocks.5.0.conv.3.weight", he(9 * 288)),
        ("mobilenet-v2", "classifier.0.weight", 0.01),
        ("shufflenet-v1", "layer2.1.conv1.weight", uniform(480 / 3)),
        ("shufflenet-v1", "layer2.1.conv2.weight", uniform(9)),
        ("shufflenet-v2", "conv2.weight", uniform(464)),
        ("resnet50", "layer1.0.conv3.weight", he(256)),
    ];
    for (network_name, name, expected) in cases {
        let (params, _) = network(network_name)?;
        let (rms, largest) = moments(&params, name)?;
        let spread = 5. / (params.snapshot()?[name].elem_count() as f64).sqrt();
        assert!(
            (rms - expected).abs() <= expected * spread,
            "{network_name}, {name}: {rms}, expected {expected}"
        );
        if expected == uniform(464) || name.starts_with("fc") {
            assert!(largest <= expected * 3f64.sqrt(), "{network_name}, {name}: {largest}");
        }
        for (name, var) in params.named().into_iter().chain(params.buffers()) {
            let norm = var.rank() == 1
                && !["fc", "classifier", "linear"].iter().any(|head| name.starts_with(head));
            let start =
                if name.ends_with("weight") || name.ends_with("running_var") { 1. } else { 0. };
            assert!(
                !norm || formula::values(&var)?.iter().all(|v| *v == start),
                "{network_name}, {name}"
            );
        }
    }
    Ok(())
}

#[test]
fn running_statistics_move_in_training_and_no_optimiser_sees_them() -> Result<()> {
    let (params, model) = network("resnet8")?;
    let names: BTreeSet<String> = params.buffers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 18);
    let sgd = OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.5 };
    let mut optimizer = Optimizer::new(&sgd, None, &params)?;
    let buffers = || -> Result<Vec<Vec<f64>>> {
        params.buffers().iter().map(|(_, var)| Ok(formula::values(var)?)).collect()
    };
    let start = buffers()?;
    let xs = formula::images(4, "running", 0)?;
    model.forward(&xs, &[], Mode::Evaluate)?;
    model.forward(&xs, &[], Mode::BatchStatistics)?;
    assert_eq!(buffers()?, start);
    let out = model.forward(&xs, &[], TRAIN)?;
    let moved = buffers()?;
    assert!(moved.iter().zip(&start).all(|(a, b)| a.iter().zip(b).all(|(x, y)| x != y)));
    optimizer.step(&kd_kernels::backward(&out.logits.sqr()?.mean_all()?)?, 0.1)?;
    assert_eq!(buffers()?, moved);
    let state = optimizer.state()?;
    assert_eq!(state.len(), params.named().len());
    assert!(state.keys().all(|name| !names.contains(name.trim_end_matches(".momentum"))));
    Ok(())
}

#[test]
fn a_frozen_network_uses_its_running_statistics_or_those_of_the_batch_and_records_no_graph()
-> Result<()> {
    let (params, model) = network("resnet8")?;
    fill(&params)?;
    let frozen = || {
        Frozen::build(params.snapshot()?, &Device::Cpu, |vb| {
            NetworkSpec::from_name("resnet8", 100)?.build(vb)
        })
    };
    let xs = formula::images(4, "frozen", 0)?;
    let taps = ["stage2.pre", "pooled"];
    let values = |out: kd_core::model::Outputs| -> Result<Vec<Vec<f64>>> {
        assert!(!out.logits.track_op() && out.taps.iter().all(|t| !t.track_op()));
        [&out.logits].into_iter().chain(&out.taps).map(|t| Ok(formula::values(t)?)).collect()
    };
    let stored = values(frozen()?.forward(&xs, &taps)?)?;
    let batch = values(frozen()?.with_batch_statistics().forward(&xs, &taps)?)?;
    assert_eq!(stored, values(model.forward(&xs, &taps, Mode::Evaluate)?)?);
    assert_eq!(batch, values(model.forward(&xs, &taps, Mode::BatchStatistics)?)?);
    assert_ne!(stored, batch);
    let trained = model.forward(&xs, &taps, TRAIN)?;
    assert_eq!(batch[0], formula::values(&trained.logits)?);
    assert!(trained.logits.track_op());
    Ok(())
}

#[test]
fn networks_are_found_by_any_spelling_of_their_names_and_keep_them() -> Result<()> {
    for spec in NetworkSpec::named(100) {
        assert_eq!(NetworkSpec::from_name(&spec.name(), 100)?, spec);
    }
    let spellings = [
        ("wrn_40_2", "wrn-40-2"),
        ("WRN-16-1", "wrn-16-1"),
        ("MobileNetV2", "mobilenet-v2"),
        ("ShuffleV1", "shufflenet-v1"),
        ("shufflenet_v2", "shufflenet-v2"),
        ("ResNet50", "resnet50"),
        ("resnet8x4", "resnet8x4"),
    ];
    for (given, name) in spellings {
        assert_eq!(NetworkSpec::from_name(given, 10)?.name(), name);
    }
    let Err(e) = NetworkSpec::from_name("resnet18", 10) else { panic!("it was accepted") };
    assert!(
        e.is_bad_input()
            && e.to_string().contains("resnet20, resnet32")
            && e.to_string().ends_with("got resnet18"),
        "{e}"
    );
    Ok(())
}

#[test]
fn descriptions_are_read_from_toml_and_wrong_ones_are_refused() {
    let read = |text: &str| toml::from_str::<NetworkSpec>(text);
    let cases = [
        ("kind = 'resnet'\ndepth = 20\nwidth = 1\nclasses = 100", "resnet20"),
        ("kind = 'wide-resnet'\ndepth = 40\nwidth = 2\nclasses = 100", "wrn-40-2"),
        ("kind = 'vgg'\ndepth = 8\nclasses = 100", "vgg8"),
        ("kind = 'mobilenet-v2'\nclasses = 100", "mobilenet-v2"),
        ("kind = 'shufflenet-v1'\nclasses = 100", "shufflenet-v1"),
        ("kind = 'shufflenet-v2'\nclasses = 100", "shufflenet-v2"),
        ("kind = 'resnet50'\nclasses = 100", "resnet50"),
    ];
    for (text, name) in cases {
        let spec = read(text).expect(name);
        assert_eq!(spec.name(), name);
        assert_eq!(read(&toml::to_string(&spec).expect("TOML")).expect("what was written"), spec);
    }
    let padded = NetworkSpec::from_name("resnet20-pad", 100).expect("a name");
    let text = toml::to_string(&padded).expect("TOML");
    assert!(text.contains("shortcut = \"pad\""), "{text}");
    assert_eq!(read(&text).expect("what was written"), padded);
    let plain = NetworkSpec::from_name("resnet20", 100).expect("a name");
    assert!(!toml::to_string(&plain).expect("TOML").contains("shortcut"));
    assert!(read("kind = 'resnet'\ndepth = 20\nclasses = 100").is_err());
    assert!(read("kind = 'vgg'\ndepth = 8\nclasses = 100\ndropout = 0.5").is_err());
    let shortcut = Shortcut::Projection;
    let resnet = |depth, width| NetworkSpec::ResNet { depth, width, shortcut, classes: 10 };
    let wide = |depth, width| NetworkSpec::WideResNet { depth, width, classes: 10 };
    let wrong = [
        (resnet(21, 1), "depth"),
        (resnet(2, 1), "depth"),
        (resnet(0, 1), "depth"),
        (resnet(usize::MAX, 1), "depth"),
        (resnet(20, 2), "width"),
        (NetworkSpec::ResNet { depth: 8, width: 4, shortcut: Shortcut::Pad, classes: 10 }, "width"),
        (wide(18, 2), "depth"),
        (wide(0, 2), "depth"),
        (wide(16, 0), "width"),
        (wide(16, usize::MAX), "width"),
        (NetworkSpec::Vgg { depth: 12, classes: 10 }, "depth"),
        (NetworkSpec::ResNet50 { classes: 1 }, "classes"),
    ];
    for (spec, part) in wrong {
        let (_, vb) = Params::seeded(Seed(0), &Device::Cpu);
        let Err(e) = spec.build(vb) else { panic!("{spec:?} was accepted") };
        assert!(e.is_bad_input() && e.to_string().contains(part), "{e}");
    }
}

#[test]
fn an_unknown_tap_and_an_image_of_another_shape_are_errors() -> Result<()> {
    let (_, model) = network("vgg8")?;
    let xs = formula::images(1, "shape", 0)?;
    let Err(e) = model.forward(&xs, &["stage5"], Mode::Evaluate) else {
        panic!("an unknown tap was accepted")
    };
    assert!(e.is_bad_input() && e.to_string().contains("stage4.pre, stage4, last, pooled"), "{e}");
    let grey = Tensor::zeros((1, 1, 32, 32), DType::F32, &Device::Cpu)?;
    assert!(model.forward(&grey, &[], Mode::Evaluate).is_err());
    Ok(())
}

#[test]
fn a_file_that_describes_a_network_larger_than_any_memory_is_refused() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("net.safetensors");
    let tensors = BTreeMap::from([("a".to_owned(), Tensor::new(&[1f32], &Device::Cpu)?)]);
    for (spec, what) in [
        // 120 GB.
        (NetworkSpec::WideResNet { depth: 1204, width: 64, classes: 10 }, " and 6006 more"),
        (NetworkSpec::Vgg { depth: 8, classes: 1 << 20 }, "of another network: missing "),
        (NetworkSpec::Vgg { depth: 8, classes: usize::MAX }, "expected 2 to 1048576 classes"),
    ] {
        checkpoint::save(&path, &tensors, &spec)?;
        let Err(error) = Saved::load(&path, &Device::Cpu) else { panic!("{}", spec.name()) };
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(what), "{error}");
    }
    Ok(())
}
