//! Rows that stand for several: what differs from one to the next is written in a list.

use toml::{Table, Value};

use super::error::{Error, Result};
use kd_base::nearest;

/// Most rows that a file's rows become, and most bytes of a string with values in it. A file of some
/// kilobytes can ask for gigabytes.
const MAX_ROWS: usize = 10_000;
const MAX_TEXT: usize = 1 << 16;

/// The entries of one list, each with the same keys.
struct List {
    name: String,
    entries: Vec<Table>,
    used: bool,
}

/// Replaces a row with `each = "LIST"` by one row for each entry of that list, in their order. In
/// all strings of the row `{KEY}` stands for the entry's value: a string that is nothing else
/// becomes the value itself, of any type; within a string it is a word or a number. With
/// `where = { KEY = VALUE }` only entries that have these values make a row. With each row goes the
/// place in the file where it is written.
///
/// # Errors
/// Where a list is not one of tables with the same keys, or no row uses it; where a row names no
/// list, or a key that its entries do not have.
pub(super) fn expand(
    file: &str,
    lists: Table,
    rows: Vec<(String, Table)>,
) -> Result<Vec<(String, Table)>> {
    let mut lists =
        lists.into_iter().map(|list| read(file, list)).collect::<Result<Vec<List>>>()?;
    let mut expanded = Vec::with_capacity(rows.len());
    for (place, mut row) in rows {
        let Some(each) = row.remove("each") else {
            expanded.push((place, row));
            continue;
        };
        let name = row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fault =
            |key: &str, what: String| Error::file(&place, format!("row[{name}].{key}: {what}"));
        let Value::String(wanted) = each else {
            let what = format!("expected the name of a list under [each], got {}", each.type_str());
            return Err(fault("each", what));
        };
        let Some(at) = lists.iter().position(|list| list.name == wanted) else {
            let hint = nearest::hint(&wanted, lists.iter().map(|list| list.name.as_str()));
            let what = format!("expected the name of a list under [each], got `{wanted}`{hint}");
            return Err(fault("each", what));
        };
        lists[at].used = true;
        let only = match row.remove("where") {
            None => Table::new(),
            Some(Value::Table(only)) => only,
            Some(other) => {
                return Err(fault("where", format!("expected a table, got {}", other.type_str())));
            }
        };
        let entries = &lists[at].entries;
        for key in only.keys() {
            has(&entries[0], key).map_err(|what| fault("where", what))?;
        }
        let row = Value::Table(row);
        for entry in
            entries.iter().filter(|entry| only.iter().all(|(k, v)| entry.get(k) == Some(v)))
        {
            match filled(&row, entry).map_err(|what| fault("each", what))? {
                Value::Table(row) if expanded.len() < MAX_ROWS => {
                    expanded.push((place.clone(), row));
                }
                Value::Table(_) => {
                    return Err(fault(
                        "each",
                        format!("expected at most {MAX_ROWS} rows, got more"),
                    ));
                }
                // A table stays one.
                _ => unreachable!("a row is a table"),
            }
        }
    }
    match lists.iter().find(|list| !list.used) {
        Some(list) => {
            let what = format!("each.{}: expected a row with each = \"{0}\", got none", list.name);
            Err(Error::file(file, what))
        }
        None => Ok(expanded),
    }
}

fn read(file: &str, (name, value): (String, Value)) -> Result<List> {
    let fault = |what: String| Err(Error::file(file, format!("each.{name}: {what}")));
    let items = match value {
        Value::Array(items) if !items.is_empty() => items,
        other => {
            return fault(format!("expected at least one table, got {}", other.type_str()));
        }
    };
    let mut entries: Vec<Table> = Vec::with_capacity(items.len());
    for (i, item) in (1..).zip(items) {
        let Value::Table(entry) = item else {
            return fault(format!("expected entry {i} to be a table, got {}", item.type_str()));
        };
        if let Some(first) = entries.first() {
            if let Some(missing) = first.keys().find(|key| !entry.contains_key(*key)) {
                return fault(format!("entry {i} has no `{missing}`, which the first one has"));
            }
            if let Some(extra) = entry.keys().find(|key| !first.contains_key(*key)) {
                return fault(format!("entry {i} has `{extra}`, which the first one has not"));
            }
        }
        entries.push(entry);
    }
    Ok(List { name, entries, used: false })
}

fn has<'a>(entry: &'a Table, key: &str) -> Result<&'a Value, String> {
    let hint = || nearest::hint(key, entry.keys().map(String::as_str));
    entry.get(key).ok_or_else(|| format!("its list has no `{key}`{}", hint()))
}

/// The value with the entry's values in its strings.
fn filled(value: &Value, entry: &Table) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(key) if !key.contains(['{', '}']) => has(entry, key)?.clone(),
            _ => Value::String(filled_text(text, entry)?),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, entry)).collect::<Result<_, _>>()?)
        }
        Value::Table(table) => {
            let pair = |(key, value): (&String, &Value)| Ok((key.clone(), filled(value, entry)?));
            Value::Table(table.iter().map(pair).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn filled_text(text: &str, entry: &Table) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((key, after)) = after.split_once('}') else {
            return Err(format!("`{text}`: expected a `}}` after the `{{`"));
        };
        out.push_str(before);
        match has(entry, key)? {
            Value::String(word) => out.push_str(word),
            number @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => {
                out.push_str(&number.to_string());
            }
            other => {
                let kind = other.type_str();
                return Err(format!(
                    "`{text}`: expected `{key}` to be a word or a number, got {kind}"
                ));
            }
        }
        if out.len() > MAX_TEXT {
            return Err(format!("expected a text of at most {MAX_TEXT} bytes, got more"));
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Table>> {
        let mut table: Table = text.parse().expect("TOML");
        let lists = match table.remove("each") {
            Some(Value::Table(lists)) => lists,
            _ => Table::new(),
        };
        let Some(Value::Array(rows)) = table.remove("row") else { panic!("rows") };
        let rows =
            rows.into_iter().map(|row| ("f.toml:9".into(), row.as_table().expect("a row").clone()));
        Ok(expand("f.toml", lists, rows.collect())?.into_iter().map(|(_, row)| row).collect())
    }

    const PAIRS: &str = r#"
        [each]
        pairs = [
            { teacher = "big", student = "small", weight = 2.5, presets = ["quick"], deep = true },
            { teacher = "wide", student = "thin", weight = 1, presets = ["paper"], deep = false },
        ]
    "#;

    #[test]
    fn a_row_becomes_one_for_each_entry_with_its_values_in_all_strings() {
        let text = format!(
            r#"{PAIRS}
            [[row]]
            name = "plain {{"
            [[row]]
            name = "{{teacher}}-{{student}}-kd"
            each = "pairs"
            presets = "{{presets}}"
            spec = {{ method = {{ weight = "{{weight}}", note = "at {{weight}}" }}, list = ["{{deep}}"] }}"#
        );
        let got = rows(&text).expect("rows");
        let want: Table = r#"row = [
            { name = "plain {" },
            { name = "big-small-kd", presets = ["quick"], spec = { method = { weight = 2.5, note = "at 2.5" }, list = [true] } },
            { name = "wide-thin-kd", presets = ["paper"], spec = { method = { weight = 1, note = "at 1" }, list = [false] } },
        ]"#
        .parse()
        .expect("TOML");
        assert_eq!(Value::Array(got.into_iter().map(Value::Table).collect()), want["row"]);
    }

    #[test]
    fn where_leaves_entries_out() {
        let row = "[[row]]\nname = \"{student}\"\neach = \"pairs\"\nwhere = { deep = false }";
        let got = rows(&format!("{PAIRS}{row}")).expect("rows");
        assert_eq!(got.iter().map(|row| row["name"].as_str()).collect::<Vec<_>>(), [Some("thin")]);
    }

    #[test]
    fn mistakes_are_named() {
        let row = |row: &str| format!("{PAIRS}[[row]]\nname = \"r\"\n{row}");
        for (text, expected) in [
            (row("each = 1"), "row[r].each: expected the name of a list under [each], got integer"),
            (row("each = \"pair\""), "got `pair`; did you mean `pairs`?"),
            (row("each = \"pairs\"\nx = \"{taecher}\""), "no `taecher`; did you mean `teacher`?"),
            (row("each = \"pairs\"\nx = \"a{teacher\""), "expected a `}` after the `{`"),
            (row("each = \"pairs\"\nx = \"a {presets}\""), "a word or a number, got array"),
            (row("each = \"pairs\"\nwhere = 1"), "row[r].where: expected a table, got integer"),
            (row("each = \"pairs\"\nwhere = { dep = true }"), "no `dep`; did you mean `deep`?"),
            (row(""), "each.pairs: expected a row with each = \"pairs\", got none"),
            ("row = []\n[each]\na = []".into(), "each.a: expected at least one table"),
            ("row = []\n[each]\na = [1]".into(), "each.a: expected entry 1 to be a table"),
            ("row = []\n[each]\na = [{ b = 1 }, { }]".into(), "entry 2 has no `b`"),
            ("row = []\n[each]\na = [{ }, { b = 1 }]".into(), "entry 2 has `b`, which"),
        ] {
            let error = rows(&text).expect_err(&text).to_string();
            assert!(error.contains(expected) && error.contains("f.toml"), "{error}");
        }
    }
}
