//! Where a network is in a file: keys, prefixes, and what stands beside it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use kd_core::Result;
use kd_core::exchange::{Imported, Place, export, import, import_from, recognise};
use kd_core::model::NetworkSpec;
use kd_core::torch_checkpoint::MetadataValue;

use super::torch_file::{Value, dict, file, under};
use super::{assert_same, ordered, weights};

fn prefixed(tensors: &[(String, Tensor)], prefix: &str) -> Vec<(String, Tensor)> {
    tensors.iter().map(|(name, t)| (format!("{prefix}{name}"), t.clone())).collect()
}

fn resnet8() -> Result<NetworkSpec> {
    NetworkSpec::from_name("resnet8", 10)
}

fn read(dir: &Path, value: &Value, place: &Place) -> Result<Imported> {
    let path = dir.join("net.pt");
    std::fs::write(&path, file(value)).expect("a write");
    import_from(&path, &resnet8()?, place)
}

#[test]
fn the_keys_and_prefixes_of_training_programs_are_found_and_said() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let files = [
        (dict(&own), vec![]),
        (under("state_dict", dict(&own)), vec!["state dict under state_dict"]),
        (under("net", dict(&own)), vec!["state dict under net"]),
        (under("model_state_dict", dict(&own)), vec!["state dict under model_state_dict"]),
        (under("of_mine", dict(&own)), vec!["state dict under of_mine"]),
        (
            under("model", under("state_dict", dict(&own))),
            vec!["state dict under model.state_dict"],
        ),
        (dict(&prefixed(&own, "_orig_mod.")), vec!["names behind _orig_mod."]),
        (
            dict(&prefixed(&own, "module.module.")),
            vec!["names behind module.", "names behind module."],
        ),
        (
            under("state_dict", dict(&prefixed(&own, "model."))),
            vec!["state dict under state_dict", "names behind model."],
        ),
    ];
    for (i, (value, notes)) in files.iter().enumerate() {
        let found = read(dir.path(), value, &Place::default())?;
        assert_same(&found.tensors, &expected, &format!("file {i}"));
        assert_eq!(&found.notes, notes, "file {i}");
        assert_eq!(recognise(&dir.path().join("net.pt"), None)?, resnet8()?, "file {i}");
    }
    Ok(())
}

#[test]
fn what_stands_beside_the_weights_is_not_read() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let beside = |more: Vec<(&str, Value)>| {
        let Value::Dict(mut entries) = dict(&own) else { unreachable!("a dictionary") };
        entries.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Dict(entries)
    };
    let inside = [
        beside(vec![("z", Value::Complex)]),
        beside(vec![("_extra_state", Value::None), ("bn1.num_batches_tracked", Value::Int(3))]),
    ];
    for (i, value) in inside.iter().enumerate() {
        assert_same(
            &read(dir.path(), value, &Place::default())?.tensors,
            &expected,
            &i.to_string(),
        );
    }
    for name in [Value::Text("resnet8"), Value::None] {
        let optimiser = under("state", under("0", dict(&own)));
        let value = Value::Dict(vec![
            ("model".to_owned(), name),
            ("state_dict".to_owned(), dict(&own)),
            ("optimizer".to_owned(), optimiser),
            ("epoch".to_owned(), Value::Int(7)),
            ("odd".to_owned(), Value::Complex),
        ]);
        let found = read(dir.path(), &value, &Place::default())?;
        assert_same(&found.tensors, &expected, "beside");
        assert_eq!(found.metadata["epoch"], MetadataValue::Integer(7));
    }
    // A float that the network has no place for may well belong to it.
    let value = beside(vec![("gate", Value::Tensor(Tensor::zeros(4, DType::F32, &Device::Cpu)?))]);
    let e = read(dir.path(), &value, &Place::default()).err().expect("another network");
    assert!(e.to_string().contains("extra gate [4]"), "{e}");
    Ok(())
}

#[test]
fn several_networks_are_told_apart_by_key_and_prefix() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let zeros: Vec<(String, Tensor)> =
        own.iter().map(|(name, t)| Ok((name.clone(), t.zeros_like()?))).collect::<Result<_>>()?;
    let prefix = |prefix: &str| Place { prefix: Some(prefix.to_owned()), ..Place::default() };
    let key = |key: &str| Place { key: Some(key.to_owned()), ..Place::default() };

    let both = dict(&[prefixed(&own, "first."), prefixed(&zeros, "second.")].concat());
    let e = read(dir.path(), &both, &Place::default()).err().expect("two networks").to_string();
    assert!(e.contains("behind each of first., second.; --prefix says which"), "{e}");
    let found = read(dir.path(), &both, &prefix("first."))?;
    assert_same(&found.tensors, &expected, "by prefix");
    let e = read(dir.path(), &both, &prefix("third.")).err().expect("no such prefix").to_string();
    assert!(e.contains("expected names behind third., got first."), "{e}");

    let both = Value::Dict(vec![("one".to_owned(), dict(&own)), ("two".to_owned(), dict(&zeros))]);
    let e = read(dir.path(), &both, &Place::default()).err().expect("two networks").to_string();
    assert!(e.contains("one, two; --key says which"), "{e}");
    assert_same(&read(dir.path(), &both, &key("one"))?.tensors, &expected, "by key");
    let e = read(dir.path(), &both, &key("three")).err().expect("no such key").to_string();
    assert!(e.contains("expected a key three, got a dictionary with the keys one, two"), "{e}");

    // The student's come first, as before, and one network among other layers is found.
    let distilled = dict(&[prefixed(&own, "student."), prefixed(&zeros, "teacher.")].concat());
    assert_same(&read(dir.path(), &distilled, &Place::default())?.tensors, &expected, "student");
    let gate = vec![("gate.weight".to_owned(), Tensor::zeros(4, DType::F32, &Device::Cpu)?)];
    let value = dict(&[prefixed(&own, "backbone."), gate].concat());
    let found = read(dir.path(), &value, &Place::default())?;
    assert_same(&found.tensors, &expected, "backbone");
    assert_eq!(found.notes, ["names behind backbone.; left out: gate.weight"]);
    Ok(())
}

#[test]
fn prefixes_are_found_in_safetensors_too() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.safetensors");
    let expected = weights("resnet8", 10)?;
    for prefix in ["module.", "student.", "any.thing."] {
        let named: BTreeMap<String, Tensor> =
            expected.iter().map(|(n, t)| (format!("{prefix}{n}"), t.clone())).collect();
        std::fs::write(&path, export(&named)?).expect("a write");
        assert_same(&import(&path, &resnet8()?)?.tensors, &expected, prefix);
    }
    let place = Place { key: Some("model".to_owned()), ..Place::default() };
    let e = import_from(&path, &resnet8()?, &place).err().expect("no keys").to_string();
    assert!(e.contains("expected no key with a safetensors file"), "{e}");
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_as_a_file_is_and_one_without_end_is_refused_by_its_first_bytes() -> Result<()> {
    use std::io::Write;

    let dir = tempfile::tempdir().expect("a folder");
    let (own, expected) = (ordered("resnet8", 10)?, weights("resnet8", 10)?);
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
    assert!(made.success());
    let write = |bytes: Vec<u8>, times: usize| {
        let pipe = pipe.clone();
        std::thread::spawn(move || -> std::io::Result<usize> {
            let mut to = std::fs::File::options().write(true).open(pipe)?;
            for n in 0..times {
                if to.write_all(&bytes).is_err() {
                    return Ok(n);
                }
            }
            Ok(times)
        })
    };
    let torch = file(&dict(&own));
    let safetensors = {
        let path = dir.path().join("net.safetensors");
        std::fs::write(&path, export(&expected)?).expect("a write");
        std::fs::read(path).expect("the file")
    };
    for (what, bytes) in [("torch", torch), ("safetensors", safetensors)] {
        let writer = write(bytes, 1);
        assert_same(&import(&pipe, &resnet8()?)?.tensors, &expected, what);
        assert!(writer.join().expect("a thread").is_ok());
    }
    let writer = write(vec![0; 1 << 16], 1 << 20);
    let Err(e) = import(&pipe, &resnet8()?) else { panic!("zeros were accepted") };
    assert!(e.is_bad_input() && e.to_string().ends_with("got zeros"), "{e}");
    assert!(writer.join().expect("a thread").expect("a pipe") < 100, "it was read on");
    Ok(())
}
