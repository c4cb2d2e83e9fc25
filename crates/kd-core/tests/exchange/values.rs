//! Weights that compute nothing.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::exchange::{export, import};
use kd_core::frozen::Saved;
use kd_core::model::NetworkSpec;
use kd_core::train::checkpoint;

use super::weights;

#[test]
fn weights_that_are_not_finite_and_negative_variances_are_refused_by_name_at_every_load()
-> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (plain, saved) = (dir.path().join("plain"), dir.path().join("saved"));
    let spec = NetworkSpec::from_name("resnet8", 10)?;
    let cases = [
        ("fc.weight", f32::NAN, "fc.weight: expected finite numbers, got NaN"),
        ("conv1.weight", f32::INFINITY, "conv1.weight: expected finite numbers, got inf"),
        ("fc.bias", f32::NEG_INFINITY, "fc.bias: expected finite numbers, got -inf"),
        ("bn1.running_var", -1., "bn1.running_var: expected variances of 0 or more, got -1"),
        ("bn1.running_var", f32::NAN, "bn1.running_var: expected finite numbers, got NaN"),
    ];
    for (name, value, expected) in cases {
        let mut tensors = weights("resnet8", 10)?;
        // One number among many.
        let mut numbers = tensors[name].flatten_all()?.to_vec1::<f32>()?;
        numbers[3] = value;
        let changed = Tensor::from_vec(numbers, tensors[name].dims(), &Device::Cpu)?;
        tensors.insert(name.to_owned(), changed);
        std::fs::write(&plain, export(&tensors)?).expect("a write");
        checkpoint::save(&saved, &tensors, &spec)?;
        let errors = [
            import(&plain, &spec).err(),
            checkpoint::load::<NetworkSpec>(&saved, &Device::Cpu).err(),
            Saved::load(&saved, &Device::Cpu).err(),
            kd_core::frozen::Frozen::build(tensors, &Device::Cpu, |vb| spec.build(vb)).err(),
        ];
        for error in errors {
            let error = error.expect("a refusal");
            assert!(error.is_bad_input() && error.to_string().ends_with(expected), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_checkpoint_of_pytorch_is_not_loaded_as_a_network_of_ours_and_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.pth");
    for bytes in [&b"PK\x03\x04 and more"[..], b"\x80\x02}."] {
        std::fs::write(&path, bytes).expect("a write");
        let e = Saved::load(&path, &Device::Cpu).err().expect("a refusal").to_string();
        assert!(e.contains("model.pth") && e.contains("has to be imported first"), "{e}");
        assert_eq!(checkpoint::trained_on(&path).expect("nothing said"), None);
    }
}
