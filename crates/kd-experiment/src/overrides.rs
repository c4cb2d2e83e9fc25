//! Changes to a spec by a preset or a grid. A change may only touch what the spec already states,
//! so that every hyper-parameter is visible in one place: the row's `spec`.

use toml::{Table, Value};

use kd_base::nearest;

/// Merges `change` into `spec`: tables key by key, everything else replaced, and so are tables
/// whose `kind` the change makes another ([`of_another_kind`]). An error names the first key that
/// `spec` does not have.
pub(crate) fn merge(spec: &mut Table, change: &Table) -> Result<(), String> {
    merge_at(spec, change, "")
}

fn merge_at(spec: &mut Table, change: &Table, path: &str) -> Result<(), String> {
    for (key, new) in change {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if !spec.contains_key(key) {
            return Err(format!(
                "`{full}` is not in the row's spec{}",
                nearest::hint(key, spec.keys().map(String::as_str))
            ));
        }
        match (&mut spec[key], new) {
            (Value::Table(old), Value::Table(new)) if !of_another_kind(old, new) => {
                merge_at(old, new, &full)?
            }
            (Value::Table(_), new) if !new.is_table() => {
                return Err(format!(
                    "`{full}` is a table in the row's spec: expected a table, got {}",
                    new.type_str()
                ));
            }
            (old, Value::Table(_)) if !old.is_table() => {
                return Err(format!(
                    "`{full}` is no table in the row's spec: expected {}, got a table",
                    old.type_str()
                ));
            }
            (old, new) => *old = new.clone(),
        }
    }
    Ok(())
}

/// Whether two tables say what they are (`kind`) and differ in it, as an optimiser or a schedule
/// does: then their other keys belong to different things, and one takes the other's place whole.
pub(crate) fn of_another_kind(old: &Table, new: &Table) -> bool {
    matches!((old.get("kind"), new.get("kind")), (Some(old), Some(new)) if old != new)
}

/// Most parts of a dotted path: what is nested deeper would be taken apart by recursion.
const MAX_PARTS: usize = 32;

/// Replaces the value at a dotted path, which has to exist and must not be a table.
pub(crate) fn set(spec: &mut Table, path: &str, value: &Value) -> Result<(), String> {
    let parts = path.split('.').count();
    if parts > MAX_PARTS {
        return Err(format!("expected a path of at most {MAX_PARTS} parts, got {parts}"));
    }
    let change = path.rsplit('.').fold(value.clone(), |inner, key| {
        Value::Table(Table::from_iter([(key.to_string(), inner)]))
    });
    match change {
        Value::Table(change) => merge(spec, &change),
        // `rsplit` yields at least one part, so the fold has wrapped the value at least once.
        _ => Err("an empty path".to_string()),
    }
}

/// The value at a dotted path; none where there is none.
pub(crate) fn get<'a>(spec: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = spec.get(parts.next()?)?;
    parts.try_fold(first, |value, key| value.as_table()?.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn tables_merge_and_other_values_are_replaced() {
        let mut spec =
            table("epochs = 10\nhidden = [4, 4]\nmethod = { kind = 'kd', temperature = 4.0 }");
        merge(&mut spec, &table("epochs = 2\nhidden = [2]\nmethod = { temperature = 1.0 }"))
            .unwrap();
        assert_eq!(
            spec,
            table("epochs = 2\nhidden = [2]\nmethod = { kind = 'kd', temperature = 1.0 }")
        );
    }

    #[test]
    fn a_table_of_another_kind_takes_the_place_of_the_old_one_whole() {
        let mut spec = table("optimizer = { kind = 'adam', beta1 = 0.9, beta2 = 0.999 }");
        merge(&mut spec, &table("optimizer = { kind = 'adam', beta2 = 0.98 }")).unwrap();
        assert_eq!(spec, table("optimizer = { kind = 'adam', beta1 = 0.9, beta2 = 0.98 }"));
        merge(&mut spec, &table("optimizer = { kind = 'sgd', momentum = 0.9 }")).unwrap();
        assert_eq!(spec, table("optimizer = { kind = 'sgd', momentum = 0.9 }"));
    }

    #[test]
    fn a_key_that_the_spec_does_not_state_is_refused_with_the_nearest() {
        let mut spec = table("epochs = 10\nmethod = { temperature = 4.0 }");
        let error = merge(&mut spec, &table("method = { temprature = 1.0 }")).unwrap_err();
        assert_eq!(
            error,
            "`method.temprature` is not in the row's spec; did you mean `temperature`?"
        );
        assert!(
            merge(&mut spec, &table("method = 3"))
                .unwrap_err()
                .contains("expected a table, got integer")
        );
        assert!(
            merge(&mut spec, &table("epochs = { a = 1 }")).unwrap_err().contains("got a table")
        );
    }

    #[test]
    fn a_dotted_path_reaches_into_tables() {
        let mut spec = table("method = { temperature = 4.0 }");
        set(&mut spec, "method.temperature", &Value::Integer(8)).unwrap();
        assert_eq!(spec, table("method = { temperature = 8 }"));
        assert!(set(&mut spec, "method.alpha", &Value::Integer(8)).is_err());
        assert_eq!(get(&spec, "method.temperature"), Some(&Value::Integer(8)));
        for path in ["method.alpha", "method.temperature.x", "", "alpha"] {
            assert_eq!(get(&spec, path), None, "{path}");
        }
    }
}
