//! The binary on data that is not MNIST under MNIST's names, with files of its runs exchanged or
//! damaged, and with places that cannot be written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TABLE: &str = r#"
title = "A teacher and a student"
source = "none"
claim = "none"
metrics = [{ name = "test-errors", unit = "errors" }]
deviations = []
gap-fills = []
[presets.quick]
seeds = [1]
[presets.laptop]
seeds = [1]
[presets.paper]
seeds = [1]
[[row]]
name = "teacher"
kind = "train"
[row.spec]
network = { hidden = [8], dropout-input = 0.0, dropout-hidden = 0.0, init = "he-normal" }
examples = { limit = 0, jitter = 0, epoch-images = 0, fraction = 1.0, held-out = 0.0, classes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] }
method = { kind = "hard-targets" }
[row.spec.train]
epochs = 2
batch-size = 20
learning-rate = 0.1
schedule = { kind = "linear" }
warm-up-epochs = 0
optimizer = { kind = "sgd", momentum = 0.9, nesterov = true, weight-decay = 0.0 }
max-norm = 0.0
average-epochs = 0
[[row]]
name = "student"
like = "teacher"
needs = { teacher = "teacher" }
[row.spec]
method = { kind = "soft-targets", temperature = 4.0, soft-weight = 1.0, hard-weight = 0.1 }
"#;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("tables")).expect("a folder");
        std::fs::write(dir.path().join("tables/small.toml"), TABLE).expect("a file");
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// 100 + 40 images of which `shade` decides the pixels, as MNIST's four files.
    fn images(&self, dir: &str, shade: usize) {
        let dir = self.at(dir);
        std::fs::create_dir(&dir).expect("a folder");
        for (part, n) in [("train", 100usize), ("t10k", 40)] {
            let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect();
            let (mut images, mut labels): (Vec<u8>, Vec<u8>) =
                (words(&[2051, n as u32, 28, 28]), words(&[2049, n as u32]));
            images.extend((0..n * 784).map(|i| ((i * i + shade * i) % 251) as u8));
            labels.extend((0..n).map(|i| (i % 10) as u8));
            let write = |name: &str, bytes: &[u8]| {
                std::fs::write(dir.join(format!("{part}-{name}")), bytes).expect("a file");
            };
            write("images-idx3-ubyte", &images);
            write("labels-idx1-ubyte", &labels);
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hinton-mnist"));
        command.args(arguments).args(["--experiments", "tables"]).current_dir(self.0.path());
        command.env("HF_HOME", self.at("hf")).env("HF_HUB_OFFLINE", "1");
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    fn run(&self, data: &str) -> String {
        let output = self.output(&["run", "--data", "mnist", "--data-dir", data]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The last line of standard error of a command that is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// The folder of the finished cell of a row.
    fn cell(&self, row: &str, data: &str) -> PathBuf {
        let output = self.output(&["list", "--data", "mnist", "--data-dir", data]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains(row)).expect("the row");
        self.at("runs/hinton-mnist").join(line.split_whitespace().next().expect("a name"))
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("a copy");
}

#[test]
fn other_pictures_under_mnists_names_have_results_of_their_own_which_are_not_called_mnist() {
    let bench = Bench::new();
    bench.images("a", 1);
    bench.images("b", 2);
    for data in ["a", "b"] {
        bench.run(data);
    }
    let folders: Vec<String> = std::fs::read_dir(bench.at("results/hinton-mnist"))
        .expect("the results")
        .map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    for folder in folders {
        assert!(folder.starts_with("mnist-") && folder.ends_with("-quick"), "{folder}");
        assert_ne!(folder, "mnist-quick");
        let table = bench.at("results/hinton-mnist").join(&folder).join("small.csv");
        let table = std::fs::read_to_string(table).expect("the table");
        assert!(!table.contains(",mnist,"), "{table}");
    }
}

#[test]
fn a_student_is_not_trained_on_the_logits_of_another_teacher() {
    let bench = Bench::new();
    bench.images("a", 1);
    bench.images("b", 2);
    bench.run("a");
    bench.run("b");
    let (teacher, student) = (bench.cell("teacher", "a"), bench.cell("student", "a"));
    copy(
        &bench.cell("teacher", "b").join("logits.safetensors"),
        &teacher.join("logits.safetensors"),
    );
    std::fs::remove_dir_all(&student).expect("the student is removed");
    let said = bench.refused(&["run", "--data", "mnist", "--data-dir", "a"]);
    assert!(said.contains("logits.safetensors") && said.contains("delete the folder"), "{said}");
    assert!(!student.join("result.json").exists());
    let said = bench.refused(&[
        "compare",
        "small/teacher",
        "small/teacher",
        "--data",
        "mnist",
        "--data-dir",
        "a",
    ]);
    assert!(said.contains("delete the folder"), "{said}");
    std::fs::remove_dir_all(&teacher).expect("the teacher is removed");
    bench.run("a");
}

#[test]
fn a_damaged_state_names_what_to_delete() {
    let bench = Bench::new();
    bench.images("a", 1);
    bench.run("a");
    let teacher = bench.cell("teacher", "a");
    std::fs::remove_file(teacher.join("result.json")).expect("the result is removed");
    std::fs::write(teacher.join("state.safetensors"), [0u8; 500]).expect("a file");
    let said = bench.refused(&["run", "--data", "mnist", "--data-dir", "a"]);
    assert!(said.contains("state.safetensors") && said.contains("delete it"), "{said}");
}

#[test]
fn places_that_cannot_be_written_are_refused_before_anything_is_trained() {
    let bench = Bench::new();
    bench.images("a", 1);
    std::fs::write(bench.at("file"), "x").expect("a file");
    for place in ["--out", "--runs-dir"] {
        let arguments = ["run", "--data", "mnist", "--data-dir", "a", place, "file"];
        let output = bench.output(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("file") && !said.contains("done "), "{said}");
    }
    assert!(!bench.at("results").exists());
}

#[cfg(unix)]
#[test]
fn closed_pipes_and_a_full_standard_error_are_no_failures() {
    let bench = Bench::new();
    bench.images("a", 1);
    let list = ["list", "--data", "mnist", "--data-dir", "a"];
    for arguments in [&list[..], &["--help"]] {
        let mut child = bench
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> =
            said.lines().filter(|line| !line.contains("not the original")).collect();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {output:?}");
    }
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let status = bench
            .command(&["list", "nothing", "--data", "mnist", "--data-dir", "a"])
            .stderr(full)
            .stdout(Stdio::null())
            .status();
        assert_eq!(status.expect("the binary starts").code(), Some(2));
    }
}
