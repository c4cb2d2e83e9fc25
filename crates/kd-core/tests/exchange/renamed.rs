//! Layers of other names, biases before batch-norms, and shortcuts without parameters.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use kd_core::exchange::{Imported, export, import, recognise};
use kd_core::frozen::Frozen;
use kd_core::model::{Model, NetworkSpec};
use kd_core::{Result, Seed};

use super::torch_file::{dict, file};
use super::{assert_same, ordered, weights};

fn resnet8() -> Result<NetworkSpec> {
    NetworkSpec::from_name("resnet8", 10)
}

fn read(dir: &Path, tensors: &[(String, Tensor)]) -> Result<Imported> {
    let path = dir.join("net.pt");
    std::fs::write(&path, file(&dict(tensors))).expect("a write");
    import(&path, &resnet8()?)
}

fn renamed(tensors: &[(String, Tensor)], rename: impl Fn(&str) -> String) -> Vec<(String, Tensor)> {
    tensors.iter().map(|(name, t)| (rename(name), t.clone())).collect()
}

#[test]
fn other_words_for_the_same_layers_are_understood_in_both_formats() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let words = |name: &str| {
        name.replace("layer", "stage").replace("downsample", "shortcut").replace("fc", "linear")
    };
    let theirs = renamed(&own, |name| format!("module.{}", words(name)));
    let found = read(dir.path(), &theirs)?;
    assert_same(&found.tensors, &expected, "torch");
    let notes = [
        "names behind module.",
        "linear -> fc",
        "shortcut -> downsample",
        "stage1 -> layer1",
        "stage2 -> layer2",
        "stage3 -> layer3",
    ];
    assert_eq!(found.notes, notes);
    let path = dir.path().join("net.safetensors");
    std::fs::write(&path, export(&theirs.into_iter().collect::<BTreeMap<_, _>>())?)
        .expect("a write");
    assert_same(&import(&path, &resnet8()?)?.tensors, &expected, "safetensors");
    assert_eq!(recognise(&path, None)?, resnet8()?);
    Ok(())
}

#[test]
fn layers_of_any_names_are_taken_in_their_order_where_all_shapes_fit() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let stem = |name: &str| match name.split_once('.') {
        Some(("conv1", rest)) => format!("conv.{rest}"),
        Some(("bn1", rest)) => format!("bn.{rest}"),
        _ => name.to_owned(),
    };
    let found = read(dir.path(), &renamed(&own, stem))?;
    assert_same(&found.tensors, &expected, "stem");
    assert_eq!(found.notes, ["layers by their order and shapes", "bn -> bn1", "conv -> conv1"]);

    // The shortcut before the rest of its block: the shapes come in another order.
    let (mut moved, rest): (Vec<_>, Vec<_>) =
        renamed(&own, stem).into_iter().partition(|(name, _)| name.contains("downsample"));
    moved.extend(rest);
    assert!(read(dir.path(), &moved).is_err_and(|e| e.to_string().contains("missing bn1.bias")));

    // Two layers of the same shape with each other's names: the order does not decide.
    let swapped = renamed(&own, |name| match name.rsplit_once('.') {
        Some(("layer1.0.bn1", leaf)) => format!("layer1.0.bn2.{leaf}"),
        Some(("layer1.0.bn2", leaf)) => format!("layer1.0.bn1.{leaf}"),
        _ => stem(name),
    });
    assert!(read(dir.path(), &swapped).is_err_and(|e| e.is_bad_input()));
    Ok(())
}

#[test]
fn a_second_name_of_a_tensor_is_no_second_tensor() -> Result<()> {
    // Both names lead to one storage in the file; this writer gives each a storage of its own, and
    // then the second is too many.
    let dir = tempfile::tempdir().expect("a folder");
    let mut own = ordered("resnet8", 10)?;
    own.push(("again.fc.bias".to_owned(), own[own.len() - 1].1.clone()));
    assert!(read(dir.path(), &own).is_err_and(|e| e.to_string().contains("extra again.fc.bias")));
    Ok(())
}

#[test]
fn a_bias_before_a_batch_norm_is_folded_into_its_mean() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let bias: Vec<f32> = (0..16).map(|i| i as f32 / 8. - 1.).collect();
    let biased = |at: &str| -> Result<Vec<(String, Tensor)>> {
        let mut with = own.clone();
        let place = with.iter().position(|(name, _)| name == at).expect("the convolution");
        let name = at.replace("weight", "bias");
        with.insert(place + 1, (name, Tensor::new(&bias[..], &Device::Cpu)?));
        Ok(with)
    };
    for (convolution, norm) in [("conv1", "bn1"), ("layer1.0.conv2", "layer1.0.bn2")] {
        let found = read(dir.path(), &biased(&format!("{convolution}.weight"))?)?;
        let mean = format!("{norm}.running_mean");
        // The means of a new network are 0.
        let taken: Vec<f32> = bias.iter().map(|b| -b).collect();
        assert_eq!(found.tensors[&mean].to_vec1::<f32>()?, taken);
        assert_eq!(found.notes, [format!("{convolution}.bias is folded into {mean}")]);
        let mut others = found.tensors;
        others.insert(mean.clone(), expected[&mean].clone());
        assert_same(&others, &expected, convolution);
    }
    // Behind the stem of a wide network there is a sum besides the norm.
    let mut wide = weights("wrn-16-1", 10)?;
    wide.insert("conv1.bias".to_owned(), Tensor::new(&bias[..], &Device::Cpu)?);
    let path = dir.path().join("net.safetensors");
    std::fs::write(&path, export(&wide)?).expect("a write");
    let refused = import(&path, &NetworkSpec::from_name("wrn-16-1", 10)?);
    assert!(refused.is_err_and(|e| e.to_string().contains("extra conv1.bias [16]")));
    Ok(())
}

#[test]
fn a_residual_network_without_projections_is_a_network_of_its_own() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    let mut tensors = weights("resnet8", 10)?;
    tensors.retain(|name, _| !name.contains("downsample"));
    std::fs::write(&path, export(&tensors)?).expect("a write");
    let spec = NetworkSpec::from_name("ResNet8_pad", 10)?;
    assert_eq!(spec.name(), "resnet8-pad");
    assert_eq!(recognise(&path, None)?, spec);
    let Err(e) = import(&path, &resnet8()?) else { panic!("it was accepted") };
    assert!(e.to_string().ends_with("this is a resnet8-pad of 10 classes"), "{e}");
    let found = import(&path, &spec)?.tensors;
    assert_same(&found, &tensors, "resnet8-pad");
    let frozen = Frozen::build(found, &Device::Cpu, |vb| spec.build(vb))?;
    let values: Vec<f32> = (0..2 * 3 * 32 * 32)
        .map(|i| Seed(1).stream("image", 0, 0).u32_at(i) as f32 / 2e9)
        .collect();
    let xs = Tensor::from_vec(values, (2, 3, 32, 32), &Device::Cpu)?;
    let out = frozen.forward(&xs, &["stage1", "stage2"])?;
    assert_eq!(out.logits.dims(), [2, 10]);
    assert_eq!(out.taps[1].dims(), [2, 32, 16, 16]);
    assert_eq!(frozen.model().taps().len(), resnet8()?.build(vb())?.taps().len());
    Ok(())
}

fn vb() -> candle_nn::VarBuilder<'static> {
    candle_nn::VarBuilder::zeros(DType::F32, &Device::Cpu)
}
