//! The row of a table whose recipe and settings `train` takes: rows named `TEACHER-STUDENT-METHOD`
//! that train a network.

use kd_base::nearest;
use kd_core::model::NetworkSpec;
use kd_core::{Error, Result};
use kd_experiment::experiment::Row;
use kd_experiment::{Experiment, Preset};
use toml::Value;

/// The pair whose rows serve where a pair has none: the paper's cheapest, which has every method.
const PAIR: (&str, &str) = ("resnet56", "resnet20");

/// The table of later methods, several of which are kinds that the paper's tables have, with other
/// settings: those of the paper come first.
const LATER: &str = "after-review";

/// A row that trains a student by a method.
#[derive(Clone)]
pub struct Recipe<'a> {
    /// Its table.
    pub table: &'a Experiment,
    /// The row.
    pub row: &'a Row,
    teacher: String,
    student: String,
    /// The last part of its name: `review`, `kd`, `crd-kd`, `student`.
    method: &'a str,
}

impl<'a> Recipe<'a> {
    /// The row for this method: that of the same student and, where one is given, of the same
    /// teacher, else that of resnet56 and resnet20. `method` is the last part of the row's name, or
    /// the kind of its method where no row has that name. Names of networks are the usual ones.
    ///
    /// # Errors
    /// Bad input, with the nearest name, when no row has the method.
    pub fn find(
        experiments: &'a [Experiment],
        preset: Preset,
        teacher: Option<&str>,
        student: &str,
        method: &str,
    ) -> Result<Self> {
        let all = Self::all(experiments);
        let named = |recipe: &&Self| recipe.method == method;
        let of_kind = |recipe: &&Self| kind(recipe.row, preset) == Some(method);
        let mut fitting: Vec<&Self> = all.iter().filter(named).collect();
        if fitting.is_empty() {
            fitting = all.iter().filter(of_kind).collect();
        }
        let same = |recipe: &&&Self| {
            recipe.student == student && teacher.is_none_or(|teacher| recipe.teacher == teacher)
        };
        let usual = |recipe: &&&Self| (&*recipe.teacher, &*recipe.student) == PAIR;
        let found = fitting.iter().find(same).or_else(|| fitting.iter().find(usual));
        found.or(fitting.first()).map(|recipe| (*recipe).clone()).ok_or_else(|| {
            let mut known: Vec<&str> = all
                .iter()
                .flat_map(|recipe| [Some(recipe.method), kind(recipe.row, preset)])
                .flatten()
                .collect();
            known.sort_unstable();
            known.dedup();
            let hint = nearest::hint(method, known);
            Error::bad_input(format!("--method: no row of a table has the method `{method}`{hint}"))
        })
    }

    /// All rows whose names begin with two networks.
    fn all(experiments: &'a [Experiment]) -> Vec<Self> {
        let mut all = Vec::new();
        let (later, papers): (Vec<_>, Vec<_>) =
            experiments.iter().partition(|table| table.name == LATER);
        for table in papers.into_iter().chain(later) {
            for row in table.rows.iter().filter(|row| row.kind == "train") {
                if let Some((teacher, rest)) = network(&row.name)
                    && let Some((student, method)) = network(rest)
                {
                    all.push(Self { table, row, teacher, student, method });
                }
            }
        }
        all
    }

    /// The name of the row as commands take it.
    pub fn place(&self) -> String {
        format!("{}/{}", self.table.name, self.row.name)
    }

    /// Whether its method learns from a teacher.
    pub fn needs_teacher(&self) -> bool {
        self.row.needs.iter().any(|(role, _)| role == "teacher")
    }
}

/// The network that a name begins with, and what stands after it and a hyphen.
fn network(name: &str) -> Option<(String, &str)> {
    let rest = |network: &str| name.strip_prefix(network)?.strip_prefix('-');
    NetworkSpec::named(2)
        .iter()
        .map(NetworkSpec::name)
        .find_map(|network| rest(&network).map(|rest| (network.clone(), rest)))
}

/// The kind of the row's method; none where the last of several phases is no method by itself.
fn kind(row: &Row, preset: Preset) -> Option<&str> {
    let spec = row.spec.at(preset);
    if spec.contains_key("before") {
        return None;
    }
    spec.get("method")?.as_table()?.get("kind").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FILES;

    fn experiments() -> Vec<Experiment> {
        let read = |(name, text): &(&str, &str)| {
            kd_experiment::experiment_file::parse(name, name, text).expect("a table")
        };
        FILES.experiments.iter().map(read).collect()
    }

    #[test]
    fn the_row_of_the_pair_is_taken_and_that_of_resnet56_and_resnet20_where_there_is_none() {
        let tables = experiments();
        let place = |teacher: Option<&str>, student: &str, method: &str| {
            Recipe::find(&tables, Preset::Quick, teacher, student, method).map(|r| r.place())
        };
        let cases = [
            (Some("resnet56"), "resnet20", "review", "same-architecture/resnet56-resnet20-review"),
            (Some("vgg13"), "vgg8", "crd-kd", "same-architecture/vgg13-vgg8-crd-kd"),
            (
                Some("wrn-40-2"),
                "shufflenet-v1",
                "review",
                "different-architecture/wrn-40-2-shufflenet-v1-review",
            ),
            (Some("resnet20"), "resnet8", "review", "same-architecture/resnet56-resnet20-review"),
            // The kind of a method, where no row has the name.
            (
                Some("resnet56"),
                "resnet20",
                "soft-targets",
                "same-architecture/resnet56-resnet20-kd",
            ),
            (None, "vgg8", "hard-targets", "different-architecture/resnet50-vgg8-student"),
            (Some("resnet56"), "resnet20", "dist", "after-review/resnet56-resnet20-dist"),
            (None, "resnet8", "hard-targets", "same-architecture/resnet56-resnet20-student"),
        ];
        for (teacher, student, method, expected) in cases {
            assert_eq!(place(teacher, student, method).expect("a row"), expected);
        }
    }

    #[test]
    fn every_method_has_a_row_of_resnet56_and_resnet20_and_a_misspelt_one_is_named() {
        let tables = experiments();
        for method in
            "hard-targets kd fitnet at sp cc vid rkd pkt ab ft fsp nst crd ofd review dkd dot review-kd"
                .split(' ')
        {
            let found = Recipe::find(&tables, Preset::Paper, Some("resnet56"), "resnet20", method);
            let place = found.expect("a row").place();
            assert!(place.starts_with("same-architecture/resnet56-resnet20-"), "{method}: {place}");
        }
        let found = Recipe::find(&tables, Preset::Quick, None, "resnet20", "reveiw");
        let error = found.err().expect("no such method");
        assert!(error.is_bad_input() && error.to_string().contains("did you mean `review`?"));
    }
}
