//! Students that a method changes, as a user sees them: what is counted, evaluated, compared and
//! exported is the network that is deployed.

use std::path::{Path, PathBuf};

use candle_core::Device;
use kd_core::frozen::Saved;
use kd_core::model::NetworkSpec;

use crate::start::{self, experiments, on_generated, refused};

fn succeeds(dir: &Path, arguments: &[&str]) -> String {
    start::succeeds(on_generated(dir, &experiments("changed_students"), arguments)).0
}

/// A number of the table.
fn measured(dir: &Path, row: &str, metric: &str) -> f64 {
    let path = dir.join("results/reviewkd-cifar/embedded-quick/students.csv");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = |name: &str| header.iter().position(|c| *c == name).expect("a column");
    let (mean, name, of) = (column("mean"), column("row"), column("metric"));
    let found = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .find(|fields| fields[name] == row && fields[of] == metric);
    found.expect("a line")[mean].parse().expect("a number")
}

/// The network's file that was written last under this row's name.
fn exported(dir: &Path, row: &str) -> PathBuf {
    let to = dir.join(format!("{row}.safetensors"));
    let cell = format!("students/{row}");
    succeeds(dir, &["export", &cell, "--to", to.to_str().expect("a path")]);
    to
}

#[test]
fn what_is_deployed_is_counted_evaluated_compared_and_exported() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    succeeds(dir, &[]);
    let plain = NetworkSpec::from_name("resnet8", 20).expect("a network");
    let backbone = parameters(&plain);
    // Of the projector: three convolutions, their norms, and the teacher's dense layer of 64
    // features in the place of one of as many.
    let projector = 64 * 32 + 9 * 32 * 32 + 32 * 64 + 2 * (32 + 32 + 64);
    let branch = 2 * 64 * 128 + 2 * (128 + 64);
    for (row, deployed, count, adapters) in [
        ("projected", "resnet8+projected-64-8-2", backbone + projector, 0),
        ("expanded", "resnet8+standardised-2.5", backbone, branch),
        ("expanded-raw", "resnet8", backbone, branch),
    ] {
        assert_eq!(measured(dir, row, "parameters"), count as f64, "{row}");
        assert_eq!(measured(dir, row, "adapter-parameters"), adapters as f64, "{row}");
        let cell = format!("students/{row}");
        let said = succeeds(dir, &["eval", &cell]);
        assert!(said.contains(&format!(": {deployed}, {count} parameters")), "{said}");
        let accuracy = measured(dir, row, "test-accuracy");
        assert!(said.contains(&format!("top-1: {accuracy:.2} %")), "{said}: {accuracy}");
        let compared = succeeds(dir, &["compare", "students/teacher", &cell]);
        let size = compared.lines().find(|line| line.starts_with("parameters")).expect("a line");
        assert!(size.trim_end().ends_with(&count.to_string()), "{size}");
        let file = exported(dir, row);
        let tensors = candle_core::safetensors::load(&file, &Device::Cpu).expect("tensors");
        let has = |part: &str| tensors.keys().any(|name| name.starts_with(part));
        assert_eq!(has("projector."), row == "projected", "{row}");
        assert!(has("fc.weight") && !has("expand.") && !has("method."), "{row}");
    }
    // The student's dense layer is the teacher's.
    let of = |row: &str| {
        let tensors = candle_core::safetensors::load(exported(dir, row), &Device::Cpu);
        tensors.expect("tensors")["fc.weight"].to_vec2::<f32>().expect("numbers")
    };
    std::fs::remove_file(dir.join("projected.safetensors")).expect("a file");
    assert_eq!(of("projected"), of("teacher"));
    // A folded network is a plain one to PyTorch, and to an import.
    let import = ["import", "expanded.safetensors", "--arch", "resnet8", "--classes", "20"];
    let import = [&import[..], &["--to", "in.safetensors"]].concat();
    succeeds(dir, &import);
    let compared = succeeds(dir, &["compare", "students/expanded", "in.safetensors"]);
    assert!(compared.contains("same class for 100.00 %"), "{compared}");
    // A network with another head is told by its own description, and can be named.
    let cell = std::fs::read_dir(dir.join("runs/reviewkd-cifar"))
        .expect("the runs")
        .map(|cell| cell.expect("a cell").path().join("network.safetensors"))
        .find(|path| {
            Saved::load(path, &Device::Cpu).expect("a network").spec.name()
                == "resnet8+projected-64-8-2"
        });
    let cell = cell.expect("the student's cell").to_str().expect("a path").to_owned();
    let named = format!("resnet8+projected-64-8-2={cell}");
    assert_eq!(
        succeeds(dir, &["eval", &cell]).lines().last(),
        succeeds(dir, &["eval", &named]).lines().last()
    );
    let named = format!("resnet8={cell}");
    refused(on_generated(dir, &experiments("changed_students"), &["eval", &named]));
}

/// The parameters of a network.
fn parameters(spec: &NetworkSpec) -> usize {
    let (params, vb) = kd_core::params::Params::seeded(kd_core::Seed(0), &Device::Cpu);
    spec.build(vb).expect("a network");
    params.count()
}
