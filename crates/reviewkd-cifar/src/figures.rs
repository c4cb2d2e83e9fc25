//! The figures of the tables, from finished cells alone: learning curves of every table, and the
//! grid of table cross-stage as a heat map.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_base::atomic;
use kd_experiment::plot::{HeatMap, LinePlot, PlotPoint, PlotSeries, Scale};
use kd_experiment::{Result, Table};

/// Writes the figures of `table` into `out_dir` and returns their paths; a table whose cells have
/// no epochs has none.
///
/// # Errors
/// When a figure cannot be drawn or written.
pub fn draw(table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut write = |name: String, text: String| -> Result<()> {
        let path = out_dir.join(name);
        atomic::write_if_changed(&path, text.as_bytes())?;
        written.push(path);
        Ok(())
    };
    let name = table.plan.name.as_str();
    if let Some(curves) = learning_curves(table) {
        write(format!("{name}-curves.svg"), curves.to_svg())?;
    }
    if name == "cross-stage" {
        write(format!("{name}.svg"), cross_stage(table).to_svg()?)?;
    }
    Ok(written)
}

/// As many lines as there are colours that stay apart.
const LINES: usize = 7;

/// Test accuracy over the epochs, a line for each row and point of its grids: the mean of its
/// seeds. Of more than [`LINES`], those that end highest.
fn learning_curves(table: &Table) -> Option<LinePlot> {
    let mut series: Vec<PlotSeries> = Vec::new();
    for line in table.lines.iter().filter(|line| line.metric.name == "test-accuracy") {
        let keys: Vec<String> = table
            .plan
            .columns
            .iter()
            .map(|column| table.key(line, column))
            .filter(|key| !key.is_empty())
            .map(String::from)
            .collect();
        let name = [vec![line.row.clone()], keys].concat().join(" ");
        let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for row in table
            .cells_of(line)
            .filter_map(|cell| cell.result.series.get("epochs"))
            .flat_map(|series| &series.rows)
        {
            let sum = sums.entry(row[0] as u64).or_default();
            *sum = (sum.0 + row[2], sum.1 + 1.);
        }
        let point = |(epoch, (sum, n)): (u64, (f64, f64))| PlotPoint {
            x: epoch as f64,
            mean: sum / n,
            std: None,
        };
        let points: Vec<PlotPoint> = sums.into_iter().map(point).collect();
        if !points.is_empty() {
            series.push(PlotSeries { name, points });
        }
    }
    let last = |series: &PlotSeries| series.points.last().map_or(0., |point| point.mean);
    let all = series.len();
    series.sort_by(|a, b| last(b).total_cmp(&last(a)));
    series.truncate(LINES);
    let which = if all > LINES {
        format!(" (the {LINES} of {all} that end highest)")
    } else {
        String::new()
    };
    (!series.is_empty()).then(|| LinePlot {
        title: format!("{}{which}", table.plan.title),
        x_label: "epoch".to_owned(),
        y_label: "test accuracy, %".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        series,
        references: Vec::new(),
    })
}

/// Accuracy over the levels of student and teacher, coloured by its distance from the student
/// alone.
fn cross_stage(table: &Table) -> HeatMap {
    let accuracies = || table.lines.iter().filter(|line| line.metric.name == "test-accuracy");
    let axis = |column: &str| {
        let mut names: Vec<String> = accuracies()
            .map(|line| table.key(line, column).to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let (rows, columns) = (axis("student-level"), axis("teacher-level"));
    let value = |row: &String, column: &String| {
        accuracies()
            .find(|line| {
                table.key(line, "student-level") == *row
                    && table.key(line, "teacher-level") == *column
            })
            .map(|line| line.mean)
    };
    let alone = accuracies().find(|line| line.row == "alone").map(|line| line.mean);
    let values: Vec<Vec<Option<f64>>> =
        rows.iter().map(|row| columns.iter().map(|column| value(row, column)).collect()).collect();
    let known: Vec<f64> = values.iter().flatten().flatten().copied().collect();
    let center = alone.unwrap_or_else(|| known.iter().sum::<f64>() / known.len().max(1) as f64);
    HeatMap {
        title: format!("{}: test accuracy, %", table.plan.title),
        x_label: "teacher's level".to_owned(),
        y_label: "student's level".to_owned(),
        columns,
        rows,
        values,
        center,
        note: alone
            .map_or(String::new(), |alone| format!("white: the student alone, {alone:.2} %")),
    }
}
