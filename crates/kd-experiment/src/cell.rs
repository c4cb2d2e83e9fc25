//! A cell: the unit of work, named by the hash of everything that decides its result.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::error::{Error, Result};
use kd_base::message::one_line;
use kd_base::nearest;

/// The version of the identity: raised when the meaning of specs changes so that old results must
/// not be reused.
pub const FORMAT: i64 = 1;

/// A cell's name: the first 16 hex digits of the SHA-256 of its [`identity`](Cell::identity).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(String);

impl CellId {
    /// The 16 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the cell with this [`identity`](Cell::identity), the content of its
    /// `spec.toml`.
    pub fn of(identity: &Table) -> Self {
        Self(kd_base::hex(&Sha256::digest(canonical_table(identity).as_bytes())[..8]))
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One run: a row of a table at one point of its grids, with one seed, every number resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The name, from [`identity`](Cell::identity).
    pub id: CellId,
    /// The paper's name.
    pub paper: String,
    /// The first table that asked for this cell. Not part of the identity: tables share cells.
    pub table: String,
    /// The row of that table. Not part of the identity.
    pub row: String,
    /// The row's key columns and their values. Not part of the identity (the spec that they lead
    /// to is).
    pub keys: Vec<(String, String)>,
    /// What the paper does with it, for instance `train`.
    pub kind: String,
    /// The resolved spec; the paper reads it with [`spec_as`](Cell::spec_as).
    pub spec: Table,
    /// The seed of every random draw.
    pub seed: u64,
    /// The data set and its fingerprint, `name:fingerprint`.
    pub data: String,
    /// The cells whose results this one needs, by role.
    pub needs: BTreeMap<String, Vec<CellId>>,
}

impl Cell {
    /// Everything that decides the result: format version, paper, kind, spec, seed, data and the
    /// names of the needed cells. The run store writes it as `spec.toml`.
    pub fn identity(&self) -> Table {
        let needs = self.needs.iter().map(|(role, ids)| {
            let ids = ids.iter().map(|id| Value::String(id.0.clone())).collect();
            (role.clone(), Value::Array(ids))
        });
        // A seed above i64::MAX does not fit a TOML integer; as text it is still told apart.
        let seed = i64::try_from(self.seed)
            .map_or_else(|_| Value::String(self.seed.to_string()), Value::Integer);
        Table::from_iter([
            ("format".to_string(), Value::Integer(FORMAT)),
            ("paper".to_string(), Value::String(self.paper.clone())),
            ("kind".to_string(), Value::String(self.kind.clone())),
            ("seed".to_string(), seed),
            ("data".to_string(), Value::String(self.data.clone())),
            ("needs".to_string(), Value::Table(Table::from_iter(needs))),
            ("spec".to_string(), Value::Table(self.spec.clone())),
        ])
    }

    /// The same cell with its name computed from its other fields.
    pub(crate) fn named(mut self) -> Self {
        self.id = CellId::of(&self.identity());
        self
    }

    /// A cell whose name is not computed yet.
    pub(crate) fn unnamed_id() -> CellId {
        CellId(String::new())
    }

    /// `table/row [key=value] seed 1 (id)`: how messages name the cell.
    pub fn label(&self) -> String {
        format!("{} ({})", self.short_label(), self.id)
    }

    /// `table/row [key=value] seed 1`: how progress names the cell.
    pub fn short_label(&self) -> String {
        let keys: Vec<String> =
            self.keys.iter().map(|(column, value)| format!("{column}={value}")).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(" [{}]", keys.join(" ")) };
        format!("{}/{}{keys} seed {}", self.table, self.row, self.seed)
    }

    /// Reads the spec into the paper's type, which has to refuse unknown fields
    /// (`#[serde(deny_unknown_fields)]`). The error names the kind, and for an unknown field
    /// the nearest known one.
    pub fn spec_as<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Value::Table(self.spec.clone())).map_err(|error| {
            let text = one_line(&error);
            let hint = unknown_field_hint(&text);
            Error::bad_input(format!("{} spec: {text}{hint}", self.kind))
        })
    }
}

/// Serde lists the fields it knows; this picks the likely one: "unknown field `a`, expected one of
/// `b`, `c`".
fn unknown_field_hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (
        message.starts_with("unknown field") || message.starts_with("unknown variant"),
        quoted.next(),
    ) {
        (true, Some(word)) => nearest::nearest(word, quoted)
            .map(|name| format!("; did you mean `{name}`?"))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// A TOML value in one canonical form: JSON, keys sorted, no spaces; a float without fraction is
/// written as the integer, so that `1` and `1.0` in an experiment file are the same number.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            (*number as i64).to_string()
        }
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(time) => quoted(&time.to_string()),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        Value::Table(table) => canonical_table(table),
    }
}

/// [`canonical`] of a table.
pub(crate) fn canonical_table(table: &Table) -> String {
    let sorted: BTreeMap<&String, &Value> = table.iter().collect();
    let fields: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| format!("{}:{}", quoted(key), canonical(value)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(spec: &str) -> Cell {
        let needs =
            BTreeMap::from([("teacher".to_string(), vec![CellId("00112233aabbccdd".to_string())])]);
        Cell {
            id: Cell::unnamed_id(),
            paper: "toy".into(),
            table: "t".into(),
            row: "r".into(),
            keys: vec![],
            kind: "train".into(),
            spec: spec.parse().unwrap(),
            seed: 1,
            data: "embedded:1".into(),
            needs,
        }
        .named()
    }

    /// Our own pin: if this fails, every result that anybody has stored is orphaned. Raise `FORMAT`
    /// only on purpose.
    #[test]
    fn the_name_of_a_known_cell_never_changes() {
        let cell = cell(
            "epochs = 3\nrate = 0.1\nhidden = [2, 2]\nmethod = { kind = \"kd\", temperature = 4.0 }",
        );
        assert_eq!(
            canonical_table(&cell.identity()),
            r#"{"data":"embedded:1","format":1,"kind":"train","needs":{"teacher":["00112233aabbccdd"]},"paper":"toy","seed":1,"spec":{"epochs":3,"hidden":[2,2],"method":{"kind":"kd","temperature":4},"rate":0.1}}"#
        );
        assert_eq!(cell.id.as_str(), "7eb212570c6cc6e3");
    }

    #[test]
    fn the_name_ignores_key_order_and_number_spelling_and_labels() {
        let a = cell("a = 1\nb = { c = 2.0, d = 'x' }");
        let mut b = cell("b = { d = 'x', c = 2 }\na = 1.0");
        assert_eq!(a.id, b.id);
        b.table = "other".into();
        b.row = "other".into();
        assert_eq!(b.clone().named().id, a.id);
    }

    #[test]
    fn the_name_changes_with_everything_that_decides_the_result() {
        let base = cell("a = 1");
        let changes: [fn(&mut Cell); 6] = [
            |cell| cell.paper.push('x'),
            |cell| cell.kind.push('x'),
            |cell| cell.seed += 1,
            |cell| cell.data.push('x'),
            |cell| cell.needs.clear(),
            |cell| cell.spec["a"] = Value::Float(1.5),
        ];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            assert_ne!(changed.named().id, base.id);
        }
    }

    #[test]
    fn a_misspelt_field_of_the_spec_is_named_with_the_nearest_on_one_line() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Spec {
            epochs: u32,
            hidden: Vec<usize>,
        }
        let text = cell("epochs = 1\nhiden = [1]").spec_as::<Spec>().unwrap_err().to_string();
        assert!(text.contains("did you mean `hidden`?"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(cell("epochs = 1\nhidden = [1]").spec_as::<Spec>().is_ok());
    }
}
