//! A table for people: aligned columns, mean ± std, and the published number beside them.

use kd_base::message::escaped;

use super::number::significant;
use super::table::{Table, TableLine};

/// Renders a table as text: a heading, one line for each row and metric, and what the reader has to
/// know to compare.
///
/// The published number is compared (`ok` within two standard deviations of the mean, else the gap)
/// only where the comparison is fair: real data, the paper's preset, several seeds, and a published
/// number of the same setting. Elsewhere it just stands there.
pub fn render(table: &Table) -> String {
    let plan = &table.plan;
    let any_reference = table.lines.iter().any(|line| line.reference.is_some());
    let mut header = vec!["row".to_string()];
    header.extend(plan.columns.iter().cloned());
    header.extend(["metric", "measured", "n"].map(str::to_string));
    if any_reference {
        header.extend(["published", "kind", "gap"].map(str::to_string));
    }
    let mut rows = vec![header];
    let mut last = None;
    for line in &table.lines {
        // A row's name and keys stand once, above its metrics.
        let repeated = last == Some((&line.row, &line.keys));
        last = Some((&line.row, &line.keys));
        let once = |text: &str| if repeated { String::new() } else { text.to_string() };
        let mut row = vec![once(&line.row)];
        row.extend(plan.columns.iter().map(|column| once(table.key(line, column))));
        row.push(if line.metric.unit.is_empty() {
            line.metric.name.clone()
        } else {
            format!("{} ({})", line.metric.name, line.metric.unit)
        });
        row.push(measured(line));
        row.push(line.n.to_string());
        if any_reference {
            let reference = line.reference.as_ref();
            row.push(
                reference.map(|reference| significant(reference.value, 6)).unwrap_or_default(),
            );
            row.push(reference.map(|reference| reference.kind.to_string()).unwrap_or_default());
            row.push(gap(table, line));
        }
        rows.push(row);
    }
    let mut text = format!(
        "{}: {}\n{}. {}\n",
        plan.name,
        escaped(plan.title.clone()),
        escaped(plan.source.trim_end_matches('.').to_owned()),
        escaped(plan.claim.clone())
    );
    text.push_str(&format!("data {}, preset {}\n", plan.dataset, plan.preset));
    text.push_str(&align(&rows));
    if any_reference && !plan.comparable {
        text.push_str("published numbers are for the real data set; these are from other data and cannot be compared\n");
    } else if any_reference && plan.preset != super::preset::Preset::Paper {
        text.push_str(&format!(
            "the budget is reduced (preset {}): published numbers are for orientation\n",
            plan.preset
        ));
    }
    text
}

/// `146 ± 5.3`; the spread with two digits, the mean with four.
fn measured(line: &TableLine) -> String {
    let mean = if line.mean.abs() >= 1000.0 {
        significant(line.mean, 6)
    } else {
        significant(line.mean, 4)
    };
    match line.std {
        Some(std) => format!("{mean} ± {}", significant(std, 2)),
        None => mean,
    }
}

fn gap(table: &Table, line: &TableLine) -> String {
    use super::reference::ReferenceKind::Analogue;
    let Some(reference) = line
        .reference
        .as_ref()
        .filter(|reference| reference.kind != Analogue && table.plan.comparable)
    else {
        return String::new();
    };
    let gap = line.mean - reference.value;
    match line.std {
        Some(std)
            if table.plan.preset == super::preset::Preset::Paper && gap.abs() <= 2.0 * std =>
        {
            "ok".to_string()
        }
        _ => format!("{}{}", if gap >= 0.0 { "+" } else { "" }, significant(gap, 3)),
    }
}

/// Pads the cells of each column to its widest, two spaces apart, numbers to the right. The first
/// row is the header.
pub fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width =
        |column: usize| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    let is_number = |text: &str| {
        text.is_empty()
            || text == "ok"
            || text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-' || c == '~')
    };
    let numeric: Vec<bool> = (0..columns)
        .map(|column| rows.len() > 1 && rows[1..].iter().all(|row| is_number(&cell(row, column))))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, numeric) in numeric.iter().enumerate() {
            let value = cell(row, column);
            let padding = " ".repeat(width(column) - value.chars().count());
            let (before, after) =
                if *numeric { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.push_str(&format!(
                "{}{before}{value}{after}",
                if column == 0 { "" } else { "  " }
            ));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_end_together() {
        let rows =
            [["row", "n"], ["a", "10"], ["long", "2"]].map(|row| row.map(str::to_string).to_vec());
        assert_eq!(align(&rows), "row    n\na     10\nlong   2\n");
    }
}
