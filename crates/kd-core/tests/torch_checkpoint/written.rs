//! What PyTorch wrote is read as it was.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use kd_core::Result;
use kd_core::torch_checkpoint::{Checkpoint, MetadataValue};

use super::golden;

fn open(name: &str) -> Result<Checkpoint> {
    Checkpoint::open(&golden().join(format!("{name}.pth")))
}

#[derive(Debug, PartialEq)]
struct Listed {
    shape: Vec<usize>,
    dtype: String,
    values: Vec<f64>,
}

fn listed(tensors: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Listed>> {
    let one = |t: &Tensor| -> Result<Listed> {
        let values = t.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        Ok(Listed { shape: t.dims().to_vec(), dtype: t.dtype().as_str().to_owned(), values })
    };
    tensors.iter().map(|(name, t)| Ok((name.clone(), one(t)?))).collect()
}

fn expected(file: &serde_json::Value) -> BTreeMap<String, Listed> {
    let dtype = |torch: &str| match torch {
        "float32" => "f32",
        "float64" => "f64",
        "float16" => "f16",
        "bfloat16" => "bf16",
        "int64" => "i64",
        "int32" => "i32",
        "int16" => "i16",
        "uint8" | "bool" => "u8",
        other => panic!("{other} is not in the table"),
    };
    let numbers = |v: &serde_json::Value| -> Vec<f64> {
        v.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    let one = |v: &serde_json::Value| Listed {
        shape: numbers(&v["shape"]).into_iter().map(|x| x as usize).collect(),
        dtype: dtype(v["dtype"].as_str().expect("a dtype")).to_owned(),
        values: numbers(&v["values"]),
    };
    file.as_object().expect("names").iter().map(|(name, v)| (name.clone(), one(v))).collect()
}

#[test]
fn every_file_that_pytorch_wrote_holds_the_names_shapes_types_and_values_that_pytorch_saw()
-> Result<()> {
    let text = std::fs::read_to_string(golden().join("expected.json")).expect("the golden file");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let files = golden["files"].as_object().expect("files");
    assert_eq!(files.len(), 11);
    for (name, file) in files.iter().filter(|(_, file)| !file.is_null()) {
        assert_eq!(listed(&open(name)?.network()?)?, expected(file), "{name}");
    }
    Ok(())
}

#[test]
fn a_part_is_read_by_its_prefix() -> Result<()> {
    let mut checkpoint = open("distilled")?;
    assert_eq!(checkpoint.part("abfs")?.keys().collect::<Vec<_>>(), ["0.conv1.0.weight"]);
    assert_eq!(listed(&checkpoint.part("teacher")?)?, listed(&checkpoint.network()?)?);
    assert!(checkpoint.part("abf")?.is_empty());
    Ok(())
}

#[test]
fn what_stands_beside_the_weights_is_metadata() -> Result<()> {
    let number = |n: f64| MetadataValue::Number(n);
    let metadata = |name: &str| -> Result<Vec<(String, MetadataValue)>> {
        Ok(open(name)?.metadata()?.into_iter().collect())
    };
    for name in ["teacher", "teacher_old"] {
        assert_eq!(
            metadata(name)?,
            [("accuracy".into(), number(74.25)), ("epoch".into(), MetadataValue::Integer(240))]
        );
    }
    let imagenet = [
        ("arch".into(), MetadataValue::Text("resnet18".into())),
        ("best_prec1".into(), number(71.5)),
        ("epoch".into(), MetadataValue::Integer(100)),
    ];
    assert_eq!(metadata("imagenet")?, imagenet);
    assert_eq!(metadata("views")?, [], "tensors at the top are the network's");
    Ok(())
}

#[test]
fn a_whole_module_is_refused_with_what_to_do() -> Result<()> {
    let e = open("module")?.network().expect_err("no state dict");
    let text = e.to_string();
    assert!(e.is_bad_input(), "{text}");
    assert!(
        text.ends_with(
            "module.pth: expected a state dict at the top, got an object of torch.nn.modules.linear.Linear: save its state_dict() instead"
        ),
        "{text}"
    );
    Ok(())
}
