//! A cell's spec in a share of its epochs.

use kd_core::train::TrainSpec;
use kd_core::{Error, Result};
use toml::{Table, Value};

/// The key of a recipe, wherever it stands: the cell's own, and those of its other phases.
const TRAIN: &str = "train";
/// The key of a method.
const METHOD: &str = "method";
/// How the keys end that count epochs in a method's part: `warm-up-epochs`.
const EPOCHS: &str = "epochs";
/// A method's factors of a weight, each `from` an epoch on.
const FACTORS: &str = "factors";
const FROM: &str = "from";

/// The spec with every recipe in it in a `share` of its epochs, above 0 and at most 1, as
/// [`TrainSpec::shortened`] has it, phases before the last included, and with all that counts epochs
/// in a method, such as its warm-up, at the same share of its run.
///
/// # Errors
/// Bad input for a recipe that cannot be read, or where there is none.
pub fn shortened(spec: &Table, share: f64) -> Result<Table> {
    let mut short = spec.clone();
    if shorten(&mut short, share)? {
        return Ok(short);
    }
    Err(Error::bad_input("a spec without a recipe `train` has no epochs to shorten"))
}

/// Shortens the recipes in a table; says whether there was one.
fn shorten(spec: &mut Table, share: f64) -> Result<bool> {
    let mut found = false;
    for (key, value) in spec.iter_mut() {
        match (key.as_str(), value) {
            (TRAIN, value @ Value::Table(_)) => {
                let wrong = |e: &dyn std::fmt::Display| {
                    Error::bad_input(format!("{TRAIN}: {}", kd_base::message::one_line(e)))
                };
                let recipe: TrainSpec = value.clone().try_into().map_err(|e| wrong(&e))?;
                *value = Value::try_from(recipe.shortened(share)).map_err(|e| wrong(&e))?;
                found = true;
            }
            (METHOD, Value::Table(method)) => {
                shorten_method(method, share);
            }
            (_, Value::Table(inner)) => found |= shorten(inner, share)?,
            (_, Value::Array(items)) => {
                for item in items.iter_mut().filter_map(Value::as_table_mut) {
                    found |= shorten(item, share)?;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Shortens what counts epochs in a method, and in the one that it joins.
fn shorten_method(method: &mut Table, share: f64) {
    let of = |epochs: i64| ((epochs as f64 * share).round() as i64).max(epochs.min(1));
    for (key, value) in method.iter_mut() {
        match value {
            Value::Integer(epochs) if key.ends_with(EPOCHS) => *epochs = of(*epochs),
            Value::Table(inner) => shorten_method(inner, share),
            Value::Array(items) if key == FACTORS => {
                for factor in items.iter_mut().filter_map(Value::as_table_mut) {
                    if let Some(Value::Integer(from)) = factor.get_mut(FROM) {
                        *from = of(*from);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kd_experiment::{Preset, experiment_file};

    use super::*;

    /// The numbers of epochs in a spec by their paths.
    fn epochs(value: &Value, path: &str, found: &mut Vec<(String, i64)>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    epochs(value, &format!("{path}.{key}"), found);
                }
            }
            Value::Array(items) => {
                for (i, value) in items.iter().enumerate() {
                    epochs(value, &format!("{path}[{i}]"), found);
                }
            }
            Value::Integer(number)
                if path.ends_with("epochs")
                    || path.contains("schedule.at")
                    || path.contains("factors") =>
            {
                found.push((path.to_owned(), *number));
            }
            _ => {}
        }
    }

    #[test]
    fn everything_that_counts_epochs_in_the_files_of_the_papers_is_shortened() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        let (mut rows, mut warm_ups) = (0, 0);
        for paper in ["hinton-mnist", "reviewkd-cifar", "kd-recipes"] {
            for table in experiment_file::load_dir(&root.join(paper)).expect("experiment files") {
                for row in table.rows.iter().filter(|row| row.kind == "train") {
                    let spec = row.spec.at(Preset::Paper);
                    let short = shortened(spec, 0.1).expect("a recipe");
                    let numbers = |spec: &Table| {
                        let mut found = Vec::new();
                        epochs(&Value::Table(spec.clone()), "", &mut found);
                        found.sort();
                        found
                    };
                    let expected: Vec<(String, i64)> = numbers(spec)
                        .into_iter()
                        .map(|(path, n)| (path, ((n as f64 * 0.1).round() as i64).max(n.min(1))))
                        .collect();
                    // Epochs of training in between are no round numbers: their own share counts.
                    assert_eq!(
                        numbers(&short).len(),
                        expected.len(),
                        "{}/{}",
                        table.name,
                        row.name
                    );
                    for ((path, got), (_, about)) in numbers(&short).iter().zip(&expected) {
                        let name = format!("{}/{} {path}", table.name, row.name);
                        assert!(got.abs_diff(*about) <= 1, "{name}: {got}, expected about {about}");
                        warm_ups += usize::from(path.contains("method.warm-up"));
                    }
                    rows += 1;
                }
            }
        }
        assert!(rows > 100 && warm_ups > 10, "{rows} rows, {warm_ups} warm-ups of methods");
    }

    #[test]
    fn the_whole_share_changes_nothing_that_names_a_cell() {
        let text =
            "network = 'resnet20'\n[train]\nepochs = 30\nbatch-size = 64\nlearning-rate = 0.1
            schedule = { kind = 'steps', at = [19, 23, 26], factor = 0.1 }\nwarm-up-epochs = 0
            optimizer = { kind = 'sgd', momentum = 0.9, nesterov = true, weight-decay = 0.0005 }
            max-norm = 0.0\naverage-epochs = 0";
        let spec: Table = text.parse().expect("a spec");
        assert_eq!(shortened(&spec, 1.).expect("a recipe"), spec);
        let short = shortened(&spec, 1. / 3.).expect("a recipe");
        assert_eq!(short["train"]["epochs"].as_integer(), Some(10));
        assert_eq!(short["train"]["schedule"]["at"].to_string(), "[6, 8, 9]");
        let error = shortened(&Table::new(), 0.5).expect_err("no recipe");
        assert!(error.is_bad_input());
        let other: Table = "train = { updates = 3 }".parse().expect("a spec");
        assert!(shortened(&other, 0.5).expect_err("another recipe").is_bad_input());
    }
}
