//! A paper of nobody's, small enough to be killed at any moment: nothing is trained, but epochs
//! take time, leave checkpoints and depend on what came before.

#![allow(dead_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser;
use kd_base::{Blame, Fault, atomic, stop};
use kd_experiment::cli::Files;
use kd_experiment::cli::{self, Application};
use kd_experiment::{
    Cell, CellResult, DataIdentity, Error, Job, Needs, Paper, Progress, Result, Role, Series,
    Silent, Table, Update, sweep,
};

pub const EXPERIMENTS: [(&str, &str); 2] =
    [("nets", include_str!("nets.toml")), ("shift", include_str!("shift.toml"))];
pub const REFERENCE: &str = include_str!("reference.csv");

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    epochs: usize,
    rate: f64,
    temperature: f64,
    /// With it a cell is measured on held-out images, of which there are 1000.
    validation: Option<Validation>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Validation {
    share: f64,
    seed: u64,
}

/// The toy paper. `log` gets a line for each cell that is entered; an epoch takes `epoch` of time.
#[derive(Default)]
pub struct Toy {
    pub log: Option<PathBuf>,
    pub epoch: Duration,
    pub fail_on: Option<u64>,
    /// Fails at this temperature.
    pub too_hot: Option<f64>,
}

/// What the toy says where it was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped in epoch {0}")]
struct StoppedError(usize);

impl Blame for StoppedError {
    fn fault(&self) -> Fault {
        Fault::Stopped
    }
}

/// Keeps what it is told to note.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<String>>);

impl Progress for Notes {
    fn cell_started(&self, _: &Cell, _: usize, _: usize) {}
    fn update(&self, _: &Update) {}
    fn cell_finished(&self, _: &Cell, _: &CellResult) {}
    fn note(&self, text: &str) {
        self.0.lock().expect("no test panics while it holds it").push(text.to_owned());
    }
}

/// A cell with its spec.
pub struct ToySpec {
    trains: bool,
    spec: Spec,
}

impl Paper for Toy {
    type Spec = ToySpec;

    fn name(&self) -> &'static str {
        "toy"
    }

    fn identity(&self) -> Result<DataIdentity> {
        Ok(identity())
    }

    fn read(&self, cell: &Cell) -> Result<ToySpec> {
        let spec = cell.spec_as::<Spec>()?;
        match cell.kind.as_str() {
            "train" => Ok(ToySpec { trains: true, spec }),
            "ensemble" => Ok(ToySpec { trains: false, spec }),
            other => Err(Error::bad_input(format!("no kind `{other}`"))),
        }
    }

    fn check(&self, spec: &ToySpec, needs: &Needs<ToySpec>) -> Result<()> {
        if spec.trains {
            needs.expect(&[Role::optional("teacher", &["train"])])
        } else {
            needs.expect(&[Role::several("members", &["train"])])
        }
    }

    fn metrics(&self, spec: &ToySpec, _needs: &Needs<ToySpec>) -> Result<Option<Vec<String>>> {
        let names = if spec.spec.validation.is_some() {
            [sweep::ACCURACY, sweep::IMAGES]
        } else if spec.trains {
            ["test-errors", "loss"]
        } else {
            ["before.test-errors", "after.test-errors"]
        };
        Ok(Some(names.map(str::to_string).to_vec()))
    }

    fn run(&self, ToySpec { trains, spec }: &ToySpec, job: &Job) -> Result<CellResult> {
        let Job { cell, dir, needed, progress } = *job;
        if let Some(log) = &self.log {
            let mut log = OpenOptions::new().create(true).append(true).open(log).expect("the log");
            log.write_all(format!("{}\n", cell.id).as_bytes()).expect("a line of the log");
        }
        let members = needed.all("members");
        let mut state = cell.seed as f64 + 100.0 * spec.temperature;
        let read = |text: &str| {
            text.split_once(' ')
                .and_then(|(epoch, state)| Some((epoch.parse().ok()?, state.parse::<f64>().ok()?)))
        };
        let incomplete = || Error::failure("an incomplete checkpoint");
        if *trains && !needed.all("teacher").is_empty() {
            let checkpoint = std::fs::read_to_string(needed.one("teacher")?.dir.join("checkpoint"))
                .expect("a checkpoint");
            state += read(&checkpoint).ok_or_else(incomplete)?.1;
        }
        let mut start = 0;
        if let Some(text) = dir.read("checkpoint")? {
            (start, state) = read(&text).ok_or_else(incomplete)?;
        }
        for epoch in start..spec.epochs {
            if stop::asked() {
                return Err(StoppedError(epoch + 1).into());
            }
            std::thread::sleep(self.epoch);
            state = (state * (1.0 + spec.rate)) % 97.0 + epoch as f64;
            dir.write("checkpoint", format!("{} {state:?}", epoch + 1).as_bytes())?;
            progress.update(&Update {
                phase: "train",
                epoch: epoch + 1,
                epochs: spec.epochs,
                step: 1,
                steps: 1,
                ..Update::default()
            });
        }
        if self.fail_on == Some(cell.seed) {
            return Err(Error::failure("train: term `kd` is not finite at step 3"));
        }
        if self.too_hot == Some(spec.temperature) {
            return Err(Error::bad_input("loss term `kd` is NaN"));
        }
        let mut result = CellResult {
            epochs: spec.epochs as u64,
            seconds: 1.25,
            device: "cpu".into(),
            commit: "0abc123".into(),
            ..CellResult::default()
        };
        if !trains {
            let mean =
                members.iter().map(|member| member.result.metrics["test-errors"]).sum::<f64>()
                    / members.len() as f64;
            result.metrics.insert("before.test-errors".into(), mean);
            result.metrics.insert("after.test-errors".into(), mean / 2.0);
        } else if let Some(Validation { share, seed }) = spec.validation {
            // Best at a temperature of 4 and a rate of 0.5; epochs and the seed matter a little.
            let off = (spec.temperature - 4.0).abs() + 10.0 * (spec.rate - 0.5).abs();
            let right = 80.0 - off + 0.1 * spec.epochs as f64 + 0.01 * cell.seed as f64;
            result.metrics.insert(sweep::ACCURACY.into(), right);
            result.metrics.insert(sweep::IMAGES.into(), 10_000.0 * share * seed as f64);
        } else {
            result.metrics.insert("test-errors".into(), state.round());
            result.metrics.insert("loss".into(), state / 97.0);
        }
        result.series.insert(
            "curve".into(),
            Series { columns: vec!["epoch".into(), "state".into()], rows: vec![vec![1.0, state]] },
        );
        Ok(result)
    }

    fn cost(&self, spec: &ToySpec) -> Option<f64> {
        Some(spec.spec.epochs as f64)
    }

    fn holds_out(&self, kind: &str) -> bool {
        kind == "train"
    }

    fn epochs(&self, spec: &ToySpec) -> Option<usize> {
        Some(spec.spec.epochs)
    }

    fn shortened(&self, spec: &toml::Table, share: f64) -> Result<toml::Table> {
        let mut spec = spec.clone();
        let epochs = spec["epochs"].as_integer().expect("a number") as f64;
        spec["epochs"] = toml::Value::Integer((epochs * share).round().max(1.0) as i64);
        Ok(spec)
    }

    fn decorate(&self, table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
        let path = out_dir.join(format!("{}-curve.csv", table.plan.name));
        let mut text = String::from("cell,state\n");
        for finished in table.cells.values() {
            text.push_str(&format!(
                "{},{}\n",
                finished.cell.id, finished.result.series["curve"].rows[0][1]
            ));
        }
        atomic::write_if_changed(&path, text.as_bytes())?;
        Ok(vec![path])
    }
}

pub fn identity() -> DataIdentity {
    DataIdentity {
        dataset: "mnist".into(),
        fingerprint: "0123".into(),
        note: None,
        comparable: true,
    }
}

/// A paper of nobody's
#[derive(Parser)]
#[command(name = "toy")]
pub struct Arguments {
    #[command(flatten)]
    pub options: cli::Options,
    #[command(subcommand)]
    pub command: Option<cli::Command>,
}

/// The arguments as a binary would parse them; the message of clap where it refuses them.
pub fn parse(arguments: &[&str]) -> Result<Arguments, String> {
    let data = &["auto", "mnist", "embedded"];
    cli::try_parse(data, std::iter::once(&"toy").chain(arguments))
        .map_err(|error| error.to_string())
}

/// Runs the toy binary within this process and returns what it prints. The working directory has no
/// experiments folder for it.
pub fn main(toy: &Toy, arguments: &[&str]) -> Result<String> {
    noting(toy, arguments, &Silent)
}

/// [`main`], with what it notes.
pub fn noting(toy: &Toy, arguments: &[&str], progress: &dyn Progress) -> Result<String> {
    let arguments = parse(arguments).expect("the test's arguments are well-formed");
    let mut out = Vec::new();
    execute(toy, &arguments, progress, &mut out)?;
    Ok(String::from_utf8(out).expect("the output is text"))
}

/// Runs the toy binary with these arguments.
pub fn execute(
    toy: &Toy,
    arguments: &Arguments,
    progress: &dyn Progress,
    out: &mut dyn Write,
) -> Result<()> {
    let files = Files { experiments: &EXPERIMENTS, reference: REFERENCE };
    let application = Application {
        paper: toy,
        options: &arguments.options,
        files,
        adjust: &|_| Ok(()),
        progress,
    };
    let default = cli::Command::default();
    cli::execute(arguments.command.as_ref().unwrap_or(&default), &application, out)
}

/// Every file below a folder with its content, by relative path.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((
                    path.strip_prefix(dir).expect("below the folder").to_path_buf(),
                    std::fs::read(&path).expect("the file can be read"),
                ));
            }
        }
    }
    files.sort();
    files
}
