//! The published numbers: `results/<paper>/reference.csv`.
//!
//! Columns: `table,row,keys,metric,value,kind,where`. `keys` names the point of a row's grids as
//! `column=value;column=value`, in any order; `where` is the page, table or line that the number
//! was read from.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::plan::{Line, TablePlan};
use kd_base::message::one_line;
use kd_base::nearest;

/// Where a published number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// Measured by the paper's authors, printed in the paper.
    Paper,
    /// Printed in the paper, quoted there from elsewhere.
    Quoted,
    /// Measured by somebody else's run of the same setting.
    ReRun,
    /// Of a like setting, for orientation: never compared.
    Analogue,
}

impl ReferenceKind {
    const ALL: [ReferenceKind; 4] = [
        ReferenceKind::Paper,
        ReferenceKind::Quoted,
        ReferenceKind::ReRun,
        ReferenceKind::Analogue,
    ];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            ReferenceKind::Paper => "paper",
            ReferenceKind::Quoted => "quoted",
            ReferenceKind::ReRun => "re-run",
            ReferenceKind::Analogue => "analogue",
        }
    }
}

impl fmt::Display for ReferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ReferenceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ReferenceKind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            format!(
                "no kind `{text}`{}",
                nearest::hint(text, ReferenceKind::ALL.map(ReferenceKind::name))
            )
        })
    }
}

/// One published number.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The table.
    pub table: String,
    /// Its row.
    pub row: String,
    /// Its point, sorted by column.
    pub keys: Vec<(String, String)>,
    /// The metric.
    pub metric: String,
    /// The number, in the metric's unit.
    pub value: f64,
    /// Where it comes from.
    pub kind: ReferenceKind,
    /// Page, table or line.
    pub place: String,
}

/// All published numbers of a paper.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    file: String,
    /// Compiled into the program: what does not fit them is wrong in the other file.
    built_in: bool,
    entries: Vec<Reference>,
}

const HEADER: [&str; 7] = ["table", "row", "keys", "metric", "value", "kind", "where"];

impl References {
    /// Reads the text of a `reference.csv`; `file` is its path for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let wrong = |line: u64, message: String| Error::file(format!("{file}:{line}"), message);
        let header = reader.headers().map_err(|error| wrong(1, one_line(&error)))?;
        if header.iter().ne(HEADER) {
            let got: Vec<&str> = header.iter().collect();
            return Err(wrong(
                1,
                format!("expected the header {}, got {}", HEADER.join(","), got.join(",")),
            ));
        }
        let mut entries: Vec<Reference> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| Error::file(file, one_line(&error)))?;
            let line = record.position().map_or(0, csv::Position::line);
            let at = |index: usize| record.get(index).unwrap_or_default().to_string();
            let value = at(4).parse::<f64>().ok().filter(|value| value.is_finite());
            let entry = Reference {
                table: at(0),
                row: at(1),
                keys: keys(&at(2)).ok_or_else(|| {
                    wrong(
                        line,
                        format!("keys: expected `column=value;column=value`, got `{}`", at(2)),
                    )
                })?,
                metric: at(3),
                value: value.ok_or_else(|| {
                    wrong(line, format!("value: expected a finite number, got `{}`", at(4)))
                })?,
                kind: at(5).parse().map_err(|message| wrong(line, message))?,
                place: at(6),
            };
            let same = |other: &Reference| {
                (&other.table, &other.row, &other.keys, &other.metric)
                    == (&entry.table, &entry.row, &entry.keys, &entry.metric)
            };
            if entries.iter().any(same) {
                return Err(wrong(
                    line,
                    format!("a second number for {} {} {}", entry.table, entry.row, entry.metric),
                ));
            }
            entries.push(entry);
        }
        Ok(Self { file: file.to_string(), built_in: false, entries })
    }

    /// Those that are compiled into the program of a paper.
    pub(crate) fn built_in(paper: &str, text: &str) -> Result<Self> {
        let read = Self::parse(&format!("built-in {paper}/reference.csv"), text)?;
        Ok(Self { built_in: true, ..read })
    }

    /// The published number of a line, if there is one.
    pub fn find(&self, table: &str, line: &Line) -> Option<&Reference> {
        let mut keys = line.keys.clone();
        keys.sort();
        self.entries.iter().find(|entry| {
            entry.table == table
                && entry.row == line.row
                && entry.metric == line.metric.name
                && entry.keys == keys
        })
    }

    /// Checks that the numbers given for a table name rows and metrics that it has. A point of a
    /// grid, or a row, may be missing: presets differ. The file that people wrote is to blame: the
    /// experiment's, where the numbers are compiled into the program.
    pub fn check(&self, table: &TablePlan) -> Result<()> {
        let of_table = self
            .entries
            .iter()
            .filter(|entry| entry.table == table.name && !table.elsewhere.contains(&entry.row));
        for entry in of_table {
            let wrong = |what: &str, name: &str, hint: String| {
                let own = &self.file;
                if self.built_in {
                    let published = format!("of which the {own} has a number");
                    return Error::file(
                        &table.file,
                        format!("no {what} `{name}`, {published}{hint}"),
                    );
                }
                Error::file(own, format!("table `{}` has no {what} `{name}`{hint}", table.name))
            };
            if !table.lines.iter().any(|line| line.row == entry.row) {
                let hint =
                    nearest::nearest(&entry.row, table.lines.iter().map(|line| line.row.as_str()));
                return Err(wrong(
                    "row",
                    &entry.row,
                    hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default(),
                ));
            }
            if !table
                .lines
                .iter()
                .any(|line| line.row == entry.row && line.metric.name == entry.metric)
            {
                let row = table.lines.iter().filter(|line| line.row == entry.row);
                let hint = nearest::hint(&entry.metric, row.map(|line| line.metric.name.as_str()));
                return Err(wrong(
                    "metric",
                    &entry.metric,
                    format!(" in row `{}`{hint}", entry.row),
                ));
            }
        }
        Ok(())
    }
}

fn keys(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let mut keys = parts
        .map(|part| {
            part.split_once('=')
                .map(|(column, value)| (column.trim().to_string(), value.trim().to_string()))
        })
        .collect::<Option<Vec<_>>>()?;
    keys.sort();
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "table,row,keys,metric,value,kind,where\n";

    #[test]
    fn numbers_are_read_with_their_keys_in_any_order() {
        let text = format!("{TOP}t,r,b=2; a=1,errors,67,paper,\"section 3, page 5\"\n");
        let references = References::parse("reference.csv", &text).unwrap();
        let [entry] = references.entries.as_slice() else { panic!("one entry") };
        assert_eq!(entry.keys, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(
            (entry.value, entry.kind, entry.place.as_str()),
            (67.0, ReferenceKind::Paper, "section 3, page 5")
        );
    }

    #[test]
    fn wrong_headers_kinds_values_and_repeats_are_refused_with_their_line() {
        for (text, part) in [
            ("table,row\n".to_string(), "expected the header"),
            (format!("{TOP}t,r,,errors,67,papr,x\n"), ":2: no kind `papr`; did you mean `paper`?"),
            (
                format!("{TOP}t,r,,errors,many,paper,x\n"),
                ":2: value: expected a finite number, got `many`",
            ),
            (format!("{TOP}t,r,a,errors,1,paper,x\n"), ":2: keys"),
            (
                format!("{TOP}t,r,,errors,1,paper,x\nt,r,,errors,2,quoted,x\n"),
                ":3: a second number",
            ),
        ] {
            let error = References::parse("reference.csv", &text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
