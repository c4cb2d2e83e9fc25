//! Rows that are like another row: what stands in both is written once.

use toml::{Table, Value};

use super::error::{Error, Result};
use super::overrides::of_another_kind;
use kd_base::nearest;

/// The parts of a row that `like` fetches.
const PARTS: [&str; 4] = ["spec", "quick", "laptop", "paper"];

/// Replaces `like = "NAME"` by what it stands for, in rows with the place in the file where each is
/// written: kind, spec and presets of that earlier row,
/// under the row's own. Tables merge key by key, everything else is replaced, a table of another
/// `kind` too, and keys that the other row does not have are added.
///
/// # Errors
/// Where no earlier row of the file has the name.
pub(super) fn resolve(rows: Vec<(String, Table)>) -> Result<Vec<(String, Table)>> {
    let mut resolved: Vec<(String, Table)> = Vec::with_capacity(rows.len());
    for (file, mut row) in rows {
        if let Some(like) = row.remove("like") {
            let name = |row: &Table| {
                row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let at = format!("row[{}].like", name(&row));
            let Value::String(wanted) = like else {
                return Err(Error::file(
                    file,
                    format!("{at}: expected the name of an earlier row, got {}", like.type_str()),
                ));
            };
            let Some((_, other)) = resolved.iter().find(|(_, row)| name(row) == wanted) else {
                let known: Vec<String> = resolved.iter().map(|(_, row)| name(row)).collect();
                let hint = nearest::hint(&wanted, known.iter().map(String::as_str));
                return Err(Error::file(
                    file,
                    format!("{at}: expected the name of an earlier row, got `{wanted}`{hint}"),
                ));
            };
            if let (None, Some(kind)) = (row.get("kind"), other.get("kind")) {
                row.insert("kind".to_owned(), kind.clone());
            }
            for part in PARTS {
                let Some(mut below) = other.get(part).cloned() else { continue };
                if let Some(above) = row.remove(part) {
                    merge_over(&mut below, above);
                }
                row.insert(part.to_owned(), below);
            }
        }
        resolved.push((file, row));
    }
    Ok(resolved)
}

fn merge_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Table(below), Value::Table(above)) if !of_another_kind(below, &above) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(old) => merge_over(old, value),
                    None => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Table>> {
        let table: Table = text.parse().unwrap();
        let rows = table["row"].as_array().unwrap().iter();
        let rows = rows.map(|row| ("t.toml".into(), row.as_table().unwrap().clone()));
        Ok(resolve(rows.collect())?.into_iter().map(|(_, row)| row).collect())
    }

    #[test]
    fn a_row_like_another_has_its_kind_spec_and_presets_under_its_own_but_not_its_needs() {
        let text = "
            [[row]]\nname = 'a'\nkind = 'train'\nneeds = { teacher = 't' }\nspec = { epochs = 9, net = { width = 4, depth = 2 } }
            laptop = { epochs = 3 }
            [[row]]\nname = 'b'\nlike = 'a'\nspec = { net = { width = 8 }, start = 'cut' }\nquick = { epochs = 1 }
            [[row]]\nname = 'c'\nlike = 'b'\nkind = 'other'\nspec = { start = 'mean' }";
        let all = rows(text).unwrap();
        let wanted: Table = "name = 'b'\nkind = 'train'\nspec = { epochs = 9, net = { width = 8, depth = 2 }, start = 'cut' }
            quick = { epochs = 1 }\nlaptop = { epochs = 3 }"
            .parse()
            .unwrap();
        assert_eq!(all[1], wanted);
        assert_eq!(
            (all[2]["kind"].as_str(), all[2]["spec"]["start"].as_str()),
            (Some("other"), Some("mean"))
        );
        assert_eq!(all[2]["spec"]["net"]["width"].as_integer(), Some(8));
    }

    #[test]
    fn a_table_of_another_kind_takes_the_place_of_the_other_rows() {
        let text = "
            [[row]]\nname = 'a'\nspec = { epochs = 9, optimizer = { kind = 'adam', beta1 = 0.9 } }
            [[row]]\nname = 'b'\nlike = 'a'\nspec = { optimizer = { kind = 'sgd', momentum = 0.9 } }";
        let wanted: Table =
            "epochs = 9\noptimizer = { kind = 'sgd', momentum = 0.9 }".parse().unwrap();
        assert_eq!(rows(text).unwrap()[1]["spec"], Value::Table(wanted));
    }

    #[test]
    fn a_row_that_is_not_there_yet_is_named_with_the_nearest() {
        let error = rows("[[row]]\nname = 'teacher'\n[[row]]\nname = 'b'\nlike = 'techer'")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("row[b].like") && error.contains("did you mean `teacher`?"),
            "{error}"
        );
        assert!(rows("[[row]]\nname = 'a'\nlike = 3").is_err());
    }
}
