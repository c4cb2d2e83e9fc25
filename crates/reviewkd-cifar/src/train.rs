//! `train`: one network of any student, teacher and method.
//!
//! It is a cell like those of the tables, and where a table has the same cell, it is that one: so
//! repeating the command goes on after a kill, and does nothing once the network is trained.

use std::io::Write;
use std::path::PathBuf;

use kd_base::Destination;
use kd_core::frozen::NETWORK;
use kd_core::model::NetworkSpec;
use kd_core::{Error, Result};
use kd_experiment::cli::{self, Application};
use kd_experiment::experiment::{Need, Report, Row};
use kd_experiment::preset::PerPreset;
use kd_experiment::{CellResult, Experiment, Finished, Metric, Preset, Seeds, value};
use toml::Value;

use crate::network_file::{KnownNetwork, NetworkFile};
use crate::paper::ReviewKd;
use crate::recipe::Recipe;
use crate::teachers::{self, Files};

/// The arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The network to train, for instance resnet20, wrn-16-2, vgg8, mobilenet-v2
    #[arg(long, value_name = "NETWORK")]
    student: String,
    /// hard-targets, kd, review or another method of the tables, -kd after it for both. Recipe and
    /// settings are those of the row TEACHER-STUDENT-METHOD of the tables at this preset, else of
    /// resnet56-resnet20-METHOD
    #[arg(long)]
    method: String,
    /// Another value for a setting of that row: train.epochs=30, examples.normalisation=reviewkd
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// Where the network goes besides the cell's folder: a safetensors file
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// The name of the experiment that is made, and its rows.
const TRAIN: &str = "train";
const TEACHER: &str = "teacher";
const STUDENT: &str = "student";

/// Trains the network, as far as it is not trained, and prints its accuracy beside the teacher's.
///
/// # Errors
/// Bad input when there is no such network, method or teacher, a setting is not the row's, the
/// method does not fit the pair, or the target exists; and as the cells.
pub fn run(
    arguments: &Arguments,
    teacher: &[NetworkFile],
    application: &Application<ReviewKd>,
    out: &mut dyn Write,
) -> kd_experiment::Result<()> {
    let to = arguments.to.as_ref().map(|to| Destination::new(to, arguments.force)).transpose()?;
    let student = NetworkSpec::from_name(&arguments.student, 2)
        .map_err(|e| Error::bad_input(format!("--student: {e}")))?
        .name();
    let teacher = match teacher {
        [] => None,
        [one] => Some(one.identify()?),
        several => {
            let what = format!("--teacher: expected one, got {}", several.len());
            return Err(Error::bad_input(what).into());
        }
    };
    let preset = application.options.preset;
    let mut said = Ok(());
    let finished = cli::run_made(application, |experiments| {
        let name = teacher.as_ref().map(|known| known.spec.name());
        let recipe =
            Recipe::find(experiments, preset, name.as_deref(), &student, &arguments.method)?;
        let seed = seed(&recipe, preset, application.options.seeds.as_ref())?;
        let made = made(arguments, &student, teacher.as_ref(), &recipe, preset, seed)?;
        if let Some(known) = &teacher {
            let cell = teachers::cell(known)?;
            application.paper.set_teachers(Files::from([(cell.sha256, known.file.clone())]));
        }
        let seen = made.rows.last().and_then(|row| normalisation(row, preset)).unwrap_or_default();
        let line = format!(
            "recipe: {} at preset {preset}, seed {seed}, normalisation {seen}",
            recipe.place()
        );
        said = cli::say(out, line);
        Ok(made)
    })?;
    said?;
    report(&finished, to, out)
}

/// The seed that is given, else the first of the row.
fn seed(recipe: &Recipe, preset: Preset, given: Option<&Seeds>) -> Result<u64> {
    let own = recipe.row.seeds.as_ref().unwrap_or(&recipe.table.seeds).at(preset);
    match given.map_or(&own.0[..1], |given| &given.0) {
        [seed] => Ok(*seed),
        several => Err(Error::bad_input(format!(
            "--seeds: expected one, for one network, got {}",
            several.len()
        ))),
    }
}

/// The experiment: the row with another student and another teacher.
fn made(
    arguments: &Arguments,
    student: &str,
    teacher: Option<&KnownNetwork>,
    recipe: &Recipe,
    preset: Preset,
    seed: u64,
) -> kd_experiment::Result<Experiment> {
    let accuracy = Metric { name: "test-accuracy".to_owned(), unit: "%".to_owned() };
    let row = |name: &str, from: &Row| Row {
        name: name.to_owned(),
        needs: Vec::new(),
        seeds: None,
        presets: Preset::ALL.to_vec(),
        grids: Vec::new(),
        report: vec![Report {
            row: name.to_owned(),
            metric: accuracy.clone(),
            key: accuracy.name.clone(),
        }],
        ..from.clone()
    };
    let mut rows = Vec::new();
    let mut trained = row(STUDENT, recipe.row);
    match (recipe.needs_teacher(), teacher) {
        (true, Some(known)) => {
            let mut imported = row(TEACHER, recipe.row);
            teachers::import(&mut imported, &teachers::cell(known)?)?;
            rows.push(imported);
            // An imported network draws nothing: the seed is that of the tables' teachers, whose
            // cell it is.
            let seeds = Seeds::new(vec![1]).map_err(Error::bad_input)?;
            let need = Need { table: None, row: TEACHER.to_owned(), seeds: Some(seeds) };
            trained.needs.push((TEACHER.to_owned(), same(need)));
        }
        (true, None) => {
            let what = format!("--teacher: {} needs one, got none", arguments.method);
            return Err(Error::bad_input(what).into());
        }
        (false, Some(known)) => {
            let what = format!(
                "--teacher: {} learns from labels alone: expected none, got {}",
                arguments.method,
                known.file.display()
            );
            return Err(Error::bad_input(what).into());
        }
        (false, None) => {}
    }
    trained.set(preset, "network", &Value::String(student.to_owned()))?;
    for change in &arguments.changes {
        let (path, value) = change.split_once('=').ok_or_else(|| {
            Error::bad_input(format!(
                "--set: expected KEY=VALUE, for instance train.epochs=30, got {change}"
            ))
        })?;
        // Rows may leave these out; a row that states one is another cell.
        for (key, default) in optional_settings() {
            if path.trim() == key {
                trained.state(preset, key, default);
            }
        }
        trained
            .set(preset, path.trim(), &value::of_text(value.trim()))
            .map_err(|e| Error::bad_input(format!("--set {change}: {e}")))?;
    }
    rows.push(trained);
    Ok(Experiment {
        name: TRAIN.to_owned(),
        file: TRAIN.to_owned(),
        title: "One network".to_owned(),
        source: recipe.place(),
        claim: String::new(),
        metrics: vec![accuracy],
        deviations: Vec::new(),
        gap_fills: Vec::new(),
        seeds: same(Seeds::new(vec![seed]).map_err(Error::bad_input)?),
        rows,
    })
}

/// The settings that a row may leave out, with what it then means.
fn optional_settings() -> [(&'static str, Value); 2] {
    [
        ("accept-other-normalisation", Value::Boolean(false)),
        ("teacher-statistics", Value::String("running".to_owned())),
    ]
}

fn same<T: Clone>(value: T) -> PerPreset<T> {
    PerPreset { quick: value.clone(), laptop: value.clone(), paper: value }
}

/// How the row's images become numbers.
fn normalisation(row: &Row, preset: Preset) -> Option<&str> {
    row.spec.at(preset).get("examples")?.get("normalisation")?.as_str()
}

/// Copies the student where it is wanted, and prints what came out.
fn report(
    finished: &[Finished],
    to: Option<Destination>,
    out: &mut dyn Write,
) -> kd_experiment::Result<()> {
    let of = |row: &str| finished.iter().find(|finished| finished.cell.row == row);
    let line = |name: &str, of: &Finished| {
        let metric = |name: &str| of.result.metrics.get(name).copied().unwrap_or(f64::NAN);
        let network = of.cell.spec.get("network").and_then(Value::as_str).unwrap_or_default();
        format!(
            "{name:<8} {network:<14} {:>6.2} % of the test images{}, {} parameters",
            metric("test-accuracy"),
            best(&of.result),
            metric("parameters")
        )
    };
    if let Some(teacher) = of(TEACHER) {
        cli::say(out, line(TEACHER, teacher))?;
    }
    let Some(student) = of(STUDENT) else { return Ok(()) };
    cli::say(out, line(STUDENT, student))?;
    cli::say(out, format!("epochs: {}", student.dir.join("epochs.csv").display()))?;
    let network = student.dir.join(NETWORK);
    let Some(to) = to else {
        return cli::say(out, format!("-> {}", network.display()));
    };
    let bytes = std::fs::read(&network).map_err(|e| Error::io(&network, e))?;
    let line = format!("-> {}", to.path().display());
    to.write(&bytes)?;
    cli::say(out, line)
}

/// The best epoch, which is selected on the test set, where there are several.
fn best(result: &CellResult) -> String {
    match result.metrics.get("best-test-accuracy") {
        Some(best) => format!(" (best epoch {best:.2} %, selected on the test set)"),
        None => String::new(),
    }
}
