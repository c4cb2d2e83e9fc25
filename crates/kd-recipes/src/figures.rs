//! The figures of the tables, from finished cells alone.

use std::path::{Path, PathBuf};

use kd_base::atomic;
use kd_experiment::plot::{LinePlot, PlotPoint, PlotSeries, ReferenceLine, ReferenceValue, Scale};
use kd_experiment::{Finished, Result, Table, TableLine};

/// Writes the figures of `table` into `out_dir` and returns their paths; a table without any has
/// none.
///
/// # Errors
/// When a figure cannot be written.
pub fn draw(table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut write = |name: String, plot: LinePlot| -> Result<()> {
        let path = out_dir.join(name);
        atomic::write_if_changed(&path, plot.to_svg().as_bytes())?;
        written.push(path);
        Ok(())
    };
    let name = table.plan.name.as_str();
    match name {
        "logit-regression" => write(format!("{name}.svg"), over_samples(table, |_| true))?,
        // More lines than can be told apart.
        "fact-augmentation" | "fact-augmentation-superclass" => {
            let student = |row: &str| row.starts_with("student-");
            write(format!("{name}.svg"), over_samples(table, |row| !student(row)))?;
            let students = over_samples(table, |row| student(row) || row == "plain");
            write(format!("{name}-students.svg"), titled(students, "students"))?;
        }
        "fact-augmentation-privileged" => {
            for (budget, what) in [
                ("published", "published budget"),
                ("both-softened", "both networks softened"),
                ("longer", "twenty times the published epochs"),
            ] {
                let plot = titled(over_imitation(table, budget), what);
                write(format!("{name}-{budget}.svg"), plot)?;
            }
        }
        "parameter-migration" => write(format!("{name}.svg"), over_epochs(table))?,
        _ => {}
    }
    Ok(written)
}

fn plot(
    table: &Table,
    (x_label, x_scale): (&str, Scale),
    (y_label, y_scale): (&str, Scale),
    series: Vec<PlotSeries>,
) -> LinePlot {
    LinePlot {
        title: table.plan.title.clone(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        x_scale,
        y_scale,
        series,
        references: Vec::new(),
    }
}

/// The picture with `what` it shows of its table behind the table's title.
fn titled(plot: LinePlot, what: &str) -> LinePlot {
    LinePlot { title: format!("{}: {what}", plot.title), ..plot }
}

/// One line for each of `name`, of points in the order of the table.
fn grouped<'a>(
    lines: impl Iterator<Item = &'a TableLine>,
    name: impl Fn(&TableLine) -> String,
    x: impl Fn(&TableLine) -> Option<f64>,
) -> Vec<PlotSeries> {
    let mut series: Vec<PlotSeries> = Vec::new();
    for line in lines {
        let Some(x) = x(line) else { continue };
        let (name, point) = (name(line), PlotPoint { x, mean: line.mean, std: line.std });
        match series.iter_mut().find(|s| s.name == name) {
            Some(series) => series.points.push(point),
            None => series.push(PlotSeries { name, points: vec![point] }),
        }
    }
    series
}

/// Test error over the number of training images, one line for each row that has several.
fn over_samples(table: &Table, takes: impl Fn(&str) -> bool) -> LinePlot {
    let lines = table.lines.iter().filter(|l| l.metric.name == "test-errors" && takes(&l.row));
    let images = |line: &TableLine| -> Option<f64> {
        let cell = table.cells_of(line).next()?;
        cell.result.metrics.get("train-images").copied()
    };
    let mut series = grouped(lines, |line| line.row.clone(), images);
    series.retain(|s| s.points.len() > 1);
    plot(table, ("training images", Scale::Log), ("test errors", Scale::Log), series)
}

/// Test accuracy over the imitation weight, a line for each number of samples, with the published
/// numbers beside.
fn over_imitation(table: &Table, budget: &str) -> LinePlot {
    let row = format!("student-{budget}");
    let lines = || table.lines.iter().filter(|l| l.metric.name == "test-accuracy" && l.row == row);
    let imitation = |line: &TableLine| table.key(line, "imitation").parse().ok();
    let name = |line: &TableLine| format!("{} samples", table.key(line, "samples"));
    let series = grouped(lines(), name, imitation);
    let mut references: Vec<ReferenceLine> = Vec::new();
    for line in lines() {
        let (Some(x), Some(published)) = (imitation(line), &line.reference) else { continue };
        let name = format!("published, {}", name(line));
        let point = (x, published.value);
        match references.iter_mut().find(|r| r.name == name) {
            Some(ReferenceLine { value: ReferenceValue::Points(points), .. }) => points.push(point),
            _ => {
                references.push(ReferenceLine { name, value: ReferenceValue::Points(vec![point]) })
            }
        }
    }
    let y_label = ("test accuracy, %", Scale::Linear);
    LinePlot { references, ..plot(table, ("imitation weight", Scale::Linear), y_label, series) }
}

/// Test error over the epochs after migration, a line for each row with a curve; mean over the
/// seeds. Without the rows of a penalty, which hide the others, and those of the teacher's width.
fn over_epochs(table: &Table) -> LinePlot {
    let mut series = Vec::new();
    let shown = |line: &&TableLine| {
        let penalty = table.key(line, "penalty");
        line.metric.name == "test-accuracy"
            && (penalty.is_empty() || penalty == "0")
            && !["plain-wide", "copy"].contains(&line.row.as_str())
    };
    for line in table.lines.iter().filter(shown) {
        let curves: Vec<&Finished> =
            table.cells_of(line).filter(|cell| cell.result.series.contains_key("curve")).collect();
        let Some(first) = curves.first() else { continue };
        let points = (0..first.result.series["curve"].rows.len()).map(|i| {
            let values: Vec<f64> = curves
                .iter()
                .filter_map(|c| c.result.series["curve"].rows.get(i))
                .map(|row| 100. - row[2])
                .collect();
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            PlotPoint { x: i as f64, mean, std: None }
        });
        series.push(PlotSeries { name: line.row.clone(), points: points.collect() });
    }
    plot(table, ("epochs after migration", Scale::Linear), ("test error, %", Scale::Log), series)
}
