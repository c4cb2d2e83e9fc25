//! One setting of a row that takes several values.

use std::str::FromStr;

use toml::{Table, Value};

use crate::cell::canonical;
use crate::error::{Error, Result};
use crate::experiment::Row;
use crate::metric::FIXED_COLUMNS;
use crate::overrides;
use crate::preset::Preset;
use crate::reading::expected;
use crate::value;

/// The column of the rungs of a halving.
pub const RUNG: &str = "rung";

/// A setting and its values, as `--over KEY=VALUE,VALUE` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Where the setting stands in the spec, dotted.
    pub path: String,
    /// Its values, each once, at least one.
    pub values: Vec<Value>,
}

impl FromStr for Axis {
    type Err = String;

    /// Reads `KEY=VALUE,VALUE`; a value is one of TOML, or text without quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, values) = text
            .split_once('=')
            .map(|(path, values)| (path.trim(), values))
            .filter(|(path, _)| !path.is_empty())
            .ok_or_else(|| {
                format!(
                    "expected KEY=VALUE,VALUE, for instance method.temperature=2,4,8, got `{text}`"
                )
            })?;
        let values = value::list(values)?;
        for (i, value) in values.iter().enumerate() {
            let text = canonical(value);
            if values[..i].iter().any(|other| canonical(other) == text) {
                return Err(format!("{path}: the value {text} is given twice"));
            }
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

impl Axis {
    /// Checks the axes of a sweep of a row: each setting is the row's at this preset, its values are
    /// of the type that the row's own is of, and no setting is given twice or is part of another.
    ///
    /// # Errors
    /// Bad input that names the option, and for an unknown setting the nearest known.
    pub fn check(axes: &[Self], row: &Row, preset: Preset) -> Result<()> {
        let spec = row.spec.at(preset);
        for (i, axis) in axes.iter().enumerate() {
            let fault =
                |what: String| Err(Error::bad_input(format!("--over {}: {what}", axis.path)));
            for other in &axes[..i] {
                if other.path == axis.path {
                    return fault("the setting is given twice".to_owned());
                }
                if within(&axis.path, &other.path) || within(&other.path, &axis.path) {
                    return fault(format!("one setting with {}, which is given too", other.path));
                }
            }
            for value in &axis.values {
                if let Err(what) = overrides::set(&mut spec.clone(), &axis.path, value) {
                    return fault(what);
                }
                if let Some(own) = overrides::get(spec, &axis.path)
                    && !same_type(own, value)
                {
                    let own = format!("{} like the row's {}", kind(own), canonical(own));
                    return fault(expected(&own, value));
                }
            }
        }
        Ok(())
    }

    /// The key columns of the axes in a table that has the columns `taken` already: the last part
    /// of each path, or all of it where two would be the same.
    pub fn columns(axes: &[Self], taken: &[String]) -> Vec<String> {
        let last = |axis: &Self| axis.path.rsplit('.').next().unwrap_or_default().to_owned();
        let own = |axis: &Self| {
            let column = last(axis);
            let alone = axes.iter().filter(|other| last(other) == column).count() == 1
                && !FIXED_COLUMNS.contains(&column.as_str())
                && column != RUNG
                && !taken.contains(&column);
            if alone { column } else { axis.path.replace('.', "-") }
        };
        axes.iter().map(own).collect()
    }

    /// Whether `value` is the smallest or the largest of three numbers or more, in a word.
    pub fn end(&self, value: &Value) -> Option<&'static str> {
        let (numbers, value) = (self.numbers().filter(|all| all.len() > 2)?, number(value)?);
        if numbers.iter().all(|other| *other >= value) {
            return Some("smallest");
        }
        numbers.iter().all(|other| *other <= value).then_some("largest")
    }

    /// Its values as numbers; none where one is no number.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        self.values.iter().map(number).collect()
    }
}

/// A value as a number, where it is one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Whether the setting at `path` is part of the one at `whole`.
fn within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
}

fn same_type(own: &Value, value: &Value) -> bool {
    let numbers = number(own).is_some() && number(value).is_some();
    numbers || own.type_str() == value.type_str()
}

/// The type as messages call it: whole numbers may stand for others.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::String(_) => "text",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
        Value::Datetime(_) => "a date",
    }
}

/// Whether `spec` has at the paths of all axes what `other` has there.
pub(super) fn agree(axes: &[Axis], spec: &Table, other: &Table) -> Result<(), String> {
    let differs =
        |axis: &&Axis| overrides::get(spec, &axis.path) != overrides::get(other, &axis.path);
    axes.iter().find(differs).map_or(Ok(()), |axis| Err(axis.path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment_file;

    fn axis(text: &str) -> Axis {
        text.parse().expect("an axis")
    }

    fn row() -> Row {
        let text = "title = 't'\nsource = 's'\nclaim = 'c'\nmetrics = [{ name = 'm', unit = '' }]\n\
            [presets]\nquick = { seeds = [1] }\nlaptop = { seeds = [1] }\npaper = { seeds = [1] }\n\
            [[row]]\nname = 'r'\nkind = 'train'\n[row.spec]\nnetwork = 'resnet20'\n\
            method = { kind = 'kd', temperature = 4.0, soft = true }\nhidden = [800]\n\
            train = { epochs = 3, schedule = { kind = 'steps', at = [2] } }\n";
        experiment_file::parse("t.toml", "t", text).expect("a table").rows.remove(0)
    }

    #[test]
    fn an_axis_is_a_key_and_values() {
        let read = axis("method.temperature = 2, 4.5");
        assert_eq!(read.path, "method.temperature");
        assert_eq!(read.values, [Value::Integer(2), Value::Float(4.5)]);
        assert_eq!(read.numbers(), Some(vec![2., 4.5]));
        assert_eq!(axis("hidden=[800,800],[400]").numbers(), None);
        let ends = |text: &str, value: i64| axis(text).end(&Value::Integer(value));
        assert_eq!(
            [2, 4, 8].map(|v| ends("t=4,8,2", v)),
            [Some("smallest"), None, Some("largest")]
        );
        assert_eq!((ends("t=2,4", 2), ends("t=a,b,2", 2)), (None, None));
    }

    #[test]
    fn what_is_no_axis_is_refused_and_says_why() {
        for (text, part) in [
            ("method.temperature", "expected KEY=VALUE,VALUE"),
            ("=2,4", "expected KEY=VALUE,VALUE"),
            ("method.temperature=", "expected values with commas"),
            ("method.temperature=2,,4", "expected values with commas"),
            ("method.temperature=2,2.0", "the value 2 is given twice"),
        ] {
            let said = text.parse::<Axis>().expect_err(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn settings_that_are_not_the_rows_values_of_another_type_and_repeated_settings_are_refused() {
        for (axes, said) in [
            (
                &["method.temprature=2"][..],
                "--over method.temprature: `method.temprature` is not in the row's spec; did you mean `temperature`?",
            ),
            (
                &["method.temperature=hot"],
                "--over method.temperature: expected a number like the row's 4, got string `\"hot\"`",
            ),
            (
                &["network=20"],
                "--over network: expected text like the row's \"resnet20\", got integer `20`",
            ),
            (
                &["method.soft=1"],
                "--over method.soft: expected true or false like the row's true, got integer `1`",
            ),
            (
                &["hidden=800"],
                "--over hidden: expected a list like the row's [800], got integer `800`",
            ),
            (
                &["train=3"],
                "--over train: `train` is a table in the row's spec: expected a table, got integer",
            ),
            (
                &["method.temperature=2", "method.temperature=4"],
                "--over method.temperature: the setting is given twice",
            ),
            (
                &["train.schedule.at=[1]", "train.schedule={ kind = \"linear\" }"],
                "--over train.schedule: one setting with train.schedule.at, which is given too",
            ),
        ] {
            let axes: Vec<Axis> = axes.iter().map(|text| axis(text)).collect();
            let error = Axis::check(&axes, &row(), Preset::Quick).expect_err(said);
            assert!(error.is_bad_input());
            assert_eq!(error.to_string(), said);
        }
        let good = ["method.temperature=2", "train.epochs=4", "network=resnet8"].map(axis);
        assert!(Axis::check(&good, &row(), Preset::Quick).is_ok());
    }

    #[test]
    fn columns_are_the_last_parts_of_paths_unless_two_would_be_the_same() {
        let columns = |paths: &[&str], taken: &[&str]| {
            let axes: Vec<Axis> = paths.iter().map(|path| axis(&format!("{path}=1"))).collect();
            Axis::columns(&axes, &taken.iter().map(|t| t.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(columns(&["method.temperature", "rate"], &[]), ["temperature", "rate"]);
        assert_eq!(
            columns(&["method.weight", "method.soft.weight"], &[]),
            ["method-weight", "method-soft-weight"]
        );
        // Every table has a column `epochs`, and this one has a `rate`.
        assert_eq!(
            columns(&["train.epochs", "train.rate"], &["rate"]),
            ["train-epochs", "train-rate"]
        );
    }
}
