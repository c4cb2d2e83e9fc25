//! The tables under `results/` are those of the files under `experiments/`: a setting that is
//! changed without running its table again would leave numbers that no command of this state gives.
//! A row that a file says is another table's, and is not, would do the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_core::data::cifar::Kind;
use kd_core::data::mnist::Mnist;
use kd_experiment::preset::PerPreset;
use kd_experiment::{
    CellId, CellResult, DataIdentity, ExpandRequest, Preset, expand, experiment_file, kept_cells,
};
use kd_translation::bitext::Corpus;

/// The folders that are committed: paper, data set and preset. Whatever else lies under `results/`
/// is the user's own.
const COMMITTED: [(&str, &str, Preset); 6] = [
    ("hinton-mnist", "mnist", Preset::Laptop),
    ("hinton-mnist", "mnist", Preset::Paper),
    ("reviewkd-cifar", "cifar100", Preset::Laptop),
    ("weight-distill", "multi30k", Preset::Laptop),
    ("kd-recipes", "mnist", Preset::Laptop),
    ("kd-recipes", "cifar100", Preset::Laptop),
];

/// The data set with the content hash that its loader expects of the original. Cells are named by
/// it: a table of other data has other cells.
fn original(dataset: &str) -> DataIdentity {
    let fingerprint = match dataset {
        "mnist" => Mnist::CONTENT,
        "cifar100" => Kind::Cifar100.original().strip_prefix("content ").unwrap(),
        "multi30k" => Corpus::Multi30k.content().unwrap(),
        other => panic!("no data set {other}"),
    };
    DataIdentity {
        dataset: dataset.to_owned(),
        fingerprint: fingerprint.to_owned(),
        note: None,
        comparable: true,
    }
}

/// Networks that others trained, with which committed tables were made in place of a teacher that
/// their file trains: paper, row, and what names the imported network. Where the files are from
/// stands in `results/<paper>/README.md`.
const IMPORTED: [(&str, &str, &str); 1] = [(
    "reviewkd-cifar",
    "resnet56",
    "network = 'resnet56'
     normalisation = 'crd'
     sha256 = 'f7e590a0e2fe80795aaeb7c5c75f53bd1050a2161c8e53e523ce2835fffd52e2'",
)];

type Cells = BTreeMap<Vec<String>, String>;

fn name(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// The cells behind each line of a committed table, by its key columns and metric; none where the
/// file is not a table of cells.
fn committed(path: &Path) -> Option<Cells> {
    let mut file = csv::Reader::from_path(path).unwrap();
    let header = file.headers().unwrap().clone();
    let cells = header.iter().position(|column| column == "cells")?;
    let metric = header.iter().position(|column| column == "metric").unwrap();
    let line = |row: csv::StringRecord| {
        (row.iter().take(metric + 1).map(str::to_owned).collect(), row[cells].to_owned())
    };
    Some(file.records().map(|row| line(row.unwrap())).collect())
}

/// The cells behind each line of a table, as the experiment files have them now.
fn planned(paper: &str, table: &str, preset: Preset, data: &DataIdentity) -> Cells {
    let mut experiments =
        experiment_file::load_dir(&root().join("experiments").join(paper)).unwrap();
    for (_, name, spec) in IMPORTED.iter().filter(|(of, ..)| *of == paper) {
        let rows = experiments.iter_mut().flat_map(|experiment| &mut experiment.rows);
        for row in rows.filter(|row| row.name == *name) {
            let spec: toml::Table = spec.parse().unwrap();
            row.kind = "imported".to_owned();
            row.spec = PerPreset { quick: spec.clone(), laptop: spec.clone(), paper: spec };
        }
    }
    let request = ExpandRequest {
        paper,
        experiments: &experiments,
        selected: &[table.to_owned()],
        preset,
        data,
        seeds: None,
    };
    let plan = expand(&request).unwrap();
    let table = &plan.tables[0];
    let line_of = table.lines.iter().map(|line| {
        let key = |column: &String| {
            line.keys
                .iter()
                .find(|(name, _)| name == column)
                .map_or(String::new(), |(_, value)| value.clone())
        };
        let keys = table.columns.iter().map(key);
        let cells: Vec<&str> = line.cells.iter().map(|id| id.as_str()).collect();
        (
            [line.row.clone()].into_iter().chain(keys).chain([line.metric.name.clone()]).collect(),
            cells.join(";"),
        )
    });
    line_of.collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_committed_table_names_the_cells_of_the_present_experiment_files() {
    for (paper, dataset, preset) in COMMITTED {
        let data = original(dataset);
        let dir = root().join("results").join(paper).join(format!("{dataset}-{}", preset.name()));
        let mut tables = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let Some(cells) =
                path.extension().filter(|e| *e == "csv").and_then(|_| committed(&path))
            else {
                continue;
            };
            let planned = planned(paper, name(&path), preset, &data);
            assert!(
                cells.keys().eq(planned.keys()),
                "{}: lines {cells:?}, planned {planned:?}",
                path.display()
            );
            for (line, cells) in &cells {
                // A table may have been made with fewer seeds than the preset has.
                let strange =
                    cells.split(';').find(|cell| !planned[line].split(';').any(|of| of == *cell));
                let message = "made with other settings than the experiment file has now: run the table again";
                assert_eq!(
                    strange,
                    None,
                    "{} {line:?} {message} (planned {})",
                    path.display(),
                    planned[line]
                );
            }
            tables += 1;
        }
        assert!(tables > 0, "no table found in {}", dir.display());
    }
}

#[test]
fn every_committed_cell_has_the_settings_that_its_name_is_the_hash_of_and_a_result() {
    let mut cells = 0;
    for (paper, dataset, preset) in COMMITTED {
        let dir = root().join("results").join(paper).join(format!("{dataset}-{}", preset.name()));
        let Ok(entries) = std::fs::read_dir(dir.join(kept_cells::CELLS)) else { continue };
        for entry in entries {
            let cell = entry.unwrap().path();
            let read = |file: &str| std::fs::read_to_string(cell.join(file)).unwrap();
            let spec: toml::Table = read("spec.toml").parse().unwrap();
            assert_eq!(CellId::of(&spec).as_str(), cell.file_name().unwrap(), "{}", cell.display());
            let result: CellResult = serde_json::from_str(&read("result.json")).unwrap();
            assert_eq!(result.problem(), None, "{}", cell.display());
            assert!(!result.commit.contains("dirty"), "{}: {}", cell.display(), result.commit);
            cells += 1;
        }
    }
    assert!(cells > 0, "no cell found");
}

#[test]
fn the_students_that_tables_transfer_jitter_and_teacher_start_compare_with_are_those_of_table_distillation()
 {
    let data = original("mnist");
    for preset in [Preset::Quick, Preset::Laptop, Preset::Paper] {
        let cells = |table, line: &[&str]| {
            planned("hinton-mnist", table, preset, &data)
                [&line.iter().map(|s| s.to_string()).collect::<Vec<_>>()]
                .clone()
        };
        let shifted =
            |jitter| cells("transfer-jitter", &["student-distilled", jitter, "test-errors"]);
        let distilled = cells("distillation", &["student-distilled", "test-errors"]);
        assert_eq!(shifted("0"), distilled, "{}", preset.name());
        assert_ne!(shifted("1"), distilled, "{}", preset.name());
        let begun = |row| cells("teacher-start", &[row, "test-errors"]);
        assert_eq!(begun("distilled"), distilled, "{}", preset.name());
        assert_ne!(begun("all-layers"), distilled, "{}", preset.name());
    }
}

#[test]
fn the_row_hard_targets_of_table_teacher_start_is_trained_as_student_hard_of_table_distillation_is()
{
    let experiments = experiment_file::load_dir(&root().join("experiments/hinton-mnist")).unwrap();
    for preset in [Preset::Quick, Preset::Laptop, Preset::Paper] {
        let spec = |table: &str, row: &str| {
            let rows = &experiments.iter().find(|e| e.name == table).unwrap().rows;
            rows.iter().find(|r| r.name == row).unwrap().spec.at(preset).clone()
        };
        let mut begun = spec("teacher-start", "hard-targets");
        assert!(begun.remove("inherit-layers").is_some());
        assert_eq!(begun, spec("distillation", "student-hard"), "{}", preset.name());
    }
}
