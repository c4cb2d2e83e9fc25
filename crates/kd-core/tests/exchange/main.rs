//! Networks to PyTorch and back.

mod places;
mod renamed;
mod torch_file;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use kd_core::exchange::{export, import, recognise};
use kd_core::model::NetworkSpec;
use kd_core::params::Params;
use kd_core::{Result, Seed};

type Shapes = BTreeMap<String, Vec<usize>>;

fn golden_shapes(name: &str) -> Shapes {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../golden/cifar_networks.json"))
            .expect("the golden file is JSON");
    serde_json::from_value(golden["networks"][name]["state"].clone()).expect("shapes by name")
}

#[test]
fn an_exported_network_has_exactly_the_entries_of_pytorchs_and_comes_back_as_it_was() -> Result<()>
{
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["resnet8x4", "wrn-16-2", "vgg8", "mobilenet-v2", "shufflenet-v1", "shufflenet-v2"]
    {
        let spec = NetworkSpec::from_name(name, 100)?;
        let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
        spec.build(vb)?;
        let path = dir.path().join("net.safetensors");
        std::fs::write(&path, export(&params.snapshot()?)?).expect("a write");
        let written = candle_core::safetensors::load(&path, &Device::Cpu)?;
        let shapes: Shapes = written.iter().map(|(n, t)| (n.clone(), t.dims().to_vec())).collect();
        assert_eq!(shapes, golden_shapes(name), "{name}");
        for (entry, tensor) in &written {
            if entry.ends_with("num_batches_tracked") {
                assert_eq!(tensor.to_scalar::<i64>()?, 0)
            } else {
                assert_eq!(tensor.dtype(), DType::F32, "{entry}")
            }
        }
        let back = import(&path, &spec)?.tensors;
        let kept = params.snapshot()?;
        assert_eq!(back.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
        for (entry, tensor) in &kept {
            let bits = |t: &candle_core::Tensor| t.flatten_all()?.to_vec1::<f32>();
            assert_eq!(bits(&back[entry])?, bits(tensor)?, "{name}, {entry}");
        }
    }
    Ok(())
}

#[test]
fn weights_of_another_network_are_refused_with_some_names_that_do_not_fit() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    NetworkSpec::from_name("resnet8", 10)?.build(vb)?;
    std::fs::write(&path, export(&params.snapshot()?)?).expect("a write");
    let Err(e) = import(&path, &NetworkSpec::from_name("resnet14", 100)?) else {
        panic!("it was accepted")
    };
    let text = e.to_string();
    let parts = [
        "net.safetensors: ",
        "missing layer1.1.bn1.bias [16]",
        "fc.bias: expected [100], got [10]",
    ];
    assert!(e.is_bad_input() && parts.iter().all(|part| text.contains(part)), "{text}");
    let teacher: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "torch_checkpoints", "teacher_old.pth"]
            .iter()
            .collect();
    let Err(e) = import(&teacher, &NetworkSpec::from_name("resnet8", 10)?) else {
        panic!("it was accepted")
    };
    let parts = [
        "teacher_old.pth: ",
        "conv1.weight: expected [16, 3, 3, 3], got [4, 3, 3, 3]",
        " and 42 more",
    ];
    assert!(e.is_bad_input() && parts.iter().all(|part| e.to_string().contains(part)), "{e}");
    Ok(())
}

#[test]
fn a_cut_safetensors_file_is_one_line_that_names_it() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    let spec = NetworkSpec::from_name("resnet8", 10)?;
    spec.build(vb)?;
    std::fs::write(&path, export(&params.snapshot()?)?).expect("a write");
    let whole = std::fs::read(&path).expect("the file");
    for cut in [0, 8, 9, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).expect("a write");
        let Err(e) = import(&path, &spec) else { panic!("it was accepted") };
        let text = e.to_string();
        assert!(
            e.is_bad_input()
                && text.contains("net.safetensors: expected a")
                && !text.contains('\n'),
            "{text}"
        );
    }
    Ok(())
}

#[test]
fn a_network_is_told_by_its_tensors_and_its_classes_by_its_classifier() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    // One of each family, the two that differ in depth alone, and the two in width alone.
    for name in [
        "resnet8",
        "resnet14",
        "resnet8x4",
        "wrn-16-1",
        "wrn-16-2",
        "vgg8",
        "mobilenet-v2",
        "shufflenet-v1",
        "shufflenet-v2",
    ] {
        let spec = NetworkSpec::from_name(name, 7)?;
        let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
        spec.build(vb)?;
        std::fs::write(&path, export(&params.snapshot()?)?).expect("a write");
        assert_eq!(recognise(&path, None)?, spec);
        assert_eq!(recognise(&path, Some(name))?, spec);
    }
    let Err(other) = recognise(&path, Some("shufflenet-v1")) else { panic!("it was accepted") };
    assert!(other.is_bad_input() && other.to_string().contains("net.safetensors"), "{other}");

    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    NetworkSpec::from_name("resnet8", 7)?.build(vb)?;
    let mut tensors = params.snapshot()?;
    tensors.remove("fc.weight");
    std::fs::write(&path, export(&tensors)?).expect("a write");
    let message = |name| recognise(&path, name).expect_err("no network").to_string();
    assert!(message(None).contains("expected the tensors of one of resnet8, resnet14"));
    assert!(message(Some("resnet8")).contains("missing fc.weight [2, 64]"));
    Ok(())
}

/// The parameters and statistics of a network that nothing has trained.
fn weights(name: &str, classes: usize) -> Result<BTreeMap<String, Tensor>> {
    let (params, vb) = Params::seeded(Seed(3), &Device::Cpu);
    NetworkSpec::from_name(name, classes)?.build(vb)?;
    params.snapshot()
}

fn assert_same(found: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>, what: &str) {
    let bits = |tensors: &BTreeMap<String, Tensor>| -> Vec<(String, Vec<u32>)> {
        let one = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("floats");
        let bits = |t: &Tensor| one(t).into_iter().map(f32::to_bits).collect();
        tensors.iter().map(|(name, t)| (name.clone(), bits(t))).collect()
    };
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    assert!(bits(found) == bits(expected), "{what}: other values");
}

/// The weights in the order in which the network is built, which is PyTorch's.
fn ordered(name: &str, classes: usize) -> Result<Vec<(String, Tensor)>> {
    let tensors = weights(name, classes)?;
    let spec = NetworkSpec::from_name(name, classes)?;
    let order = kd_core::params::shapes_of(|vb| spec.build(vb))?;
    Ok(order.into_iter().map(|(name, _)| (name.clone(), tensors[&name].clone())).collect())
}

#[test]
fn a_message_about_another_network_is_short_and_says_which_one_it_is() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    std::fs::write(&path, export(&weights("wrn-16-1", 7)?)?).expect("a write");
    let length = path.display().to_string().len();
    for name in ["resnet20", "resnet110", "wrn-40-2", "vgg13", "resnet50", "shufflenet-v1"] {
        let Err(e) = import(&path, &NetworkSpec::from_name(name, 100)?) else {
            panic!("{name} was accepted")
        };
        let text = e.to_string();
        assert!(text.ends_with("this is a wrn-16-1 of 7 classes"), "{text}");
        assert!(text.len() - length < 450 && text.contains(" more; "), "{text}");
    }
    let Err(e) = recognise(&path, Some("resnet8")) else { panic!("it was accepted") };
    assert!(e.to_string().ends_with("this is a wrn-16-1 of 7 classes"), "{e}");
    let mut near = weights("resnet20", 10)?;
    near.remove("layer1.0.conv1.weight");
    std::fs::write(&path, export(&near)?).expect("a write");
    let Err(e) = import(&path, &NetworkSpec::from_name("vgg8", 10)?) else { panic!("accepted") };
    assert!(e.to_string().ends_with("this is close to a resnet20"), "{e}");
    // What is wrong with the request itself comes before what doesn't fit it.
    let Err(e) = import(&path, &NetworkSpec::from_name("resnet20", 1)?) else { panic!("accepted") };
    assert!(e.to_string().contains("expected 2 to 1048576 classes, got 1"), "{e}");
    Ok(())
}

#[test]
fn a_file_of_many_matrices_is_not_compared_with_a_network_for_each() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    let matrices = (2..400)
        .map(|rows| Ok((format!("m{rows}"), Tensor::zeros((rows, 1), DType::F32, &Device::Cpu)?)));
    std::fs::write(&path, export(&matrices.collect::<Result<_>>()?)?).expect("a write");
    let started = std::time::Instant::now();
    assert!(recognise(&path, None).is_err_and(|e| e.is_bad_input()));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    Ok(())
}
