//! The figures of the tables, from finished cells alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kd_base::atomic;
use kd_experiment::plot::{
    GrayImage, ImageBars, ImageRow, LinePlot, PlotPoint, PlotSeries, ReferenceLine, ReferenceValue,
    Scale,
};
use kd_experiment::{Error, Finished, Result, Table};

use crate::spec::CLASSES;

/// Writes the figures of `table` into `out_dir` and returns their paths; a table without any has
/// none.
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
    match name {
        "temperature" => write(
            format!("{name}.svg"),
            over_key(
                table,
                "temperature",
                "test-errors",
                ("temperature T", "test errors"),
                Scale::Log,
            )
            .to_svg(),
        )?,
        "few-labels" => write(
            format!("{name}.svg"),
            over_key(
                table,
                "fraction",
                "test-accuracy",
                ("share of the training set", "test accuracy, %"),
                Scale::Linear,
            )
            .to_svg(),
        )?,
        "high-temperature-limit" => write(
            format!("{name}.svg"),
            over_key(
                table,
                "temperature",
                "relative-difference",
                ("temperature T", "|g − l| / |l|"),
                Scale::Log,
            )
            .to_svg(),
        )?,
        "omitted-digit" | "two-digits" => {
            write(format!("{name}-bias-curve.csv"), bias_csv(table))?;
            write(format!("{name}-bias-curve.svg"), bias_plot(table).to_svg())?;
        }
        "soft-targets" => write(format!("{name}.svg"), soft_targets(table)?.to_svg()?)?,
        _ => {}
    }
    Ok(written)
}

/// One line per row of the table: a metric over a key column.
fn over_key(
    table: &Table,
    key: &str,
    metric: &str,
    (x_label, y_label): (&str, &str),
    y_scale: Scale,
) -> LinePlot {
    let mut series: Vec<PlotSeries> = Vec::new();
    for line in table.lines.iter().filter(|l| l.metric.name == metric) {
        let Ok(x) = table.key(line, key).parse::<f64>() else { continue };
        let point = PlotPoint { x, mean: line.mean, std: line.std };
        match series.iter_mut().find(|s| s.name == line.row) {
            Some(series) => series.points.push(point),
            None => series.push(PlotSeries { name: line.row.clone(), points: vec![point] }),
        }
    }
    let [x_label, y_label] = [x_label, y_label].map(str::to_owned);
    LinePlot {
        title: table.plan.title.clone(),
        x_label,
        y_label,
        x_scale: Scale::Log,
        y_scale,
        series,
        references: Vec::new(),
    }
}

/// The cells with a bias curve, each once, in the order of the table.
fn bias_cells(table: &Table) -> Vec<&Finished> {
    let mut cells: Vec<&Finished> = Vec::new();
    for cell in table.lines.iter().flat_map(|line| table.cells_of(line)) {
        if cell.result.series.contains_key("curve")
            && cells.iter().all(|c| c.cell.id != cell.cell.id)
        {
            cells.push(cell);
        }
    }
    cells
}

fn bias_csv(table: &Table) -> String {
    let mut text = String::from("digits,seed,bias,test-errors,errors-on-digits,held-out-errors\n");
    for cell in bias_cells(table) {
        let digits = cell
            .cell
            .spec
            .get("digits")
            .map(|d| d.to_string().replace([' ', '[', ']'], "").replace(',', " "))
            .unwrap_or_default();
        for row in &cell.result.series["curve"].rows {
            let numbers: Vec<String> = row.iter().map(f64::to_string).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{digits},{},{}", cell.cell.seed, numbers.join(","));
        }
    }
    text
}

/// Errors over the bias: the mean over the seeds, with its deviation, of the first digits of the
/// table.
fn bias_plot(table: &Table) -> LinePlot {
    let cells = bias_cells(table);
    let first = cells.first().and_then(|c| c.cell.spec.get("digits").cloned());
    let curves: Vec<_> = cells
        .iter()
        .filter(|c| c.cell.spec.get("digits").cloned() == first)
        .map(|c| &c.result.series["curve"])
        .collect();
    let series = |name: &str, column: usize| {
        let points = curves.first().map_or(0, |c| c.rows.len());
        let point = |i: usize| {
            let values: Vec<f64> =
                curves.iter().filter_map(|c| c.rows.get(i)).map(|row| row[column]).collect();
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            PlotPoint { x: curves[0].rows[i][0], mean, std: None }
        };
        PlotSeries { name: name.to_owned(), points: (0..points).map(point).collect() }
    };
    let references =
        table.lines.iter().filter(|l| l.metric.name == "test-errors").filter_map(|line| {
            let published = line.reference.as_ref()?.value;
            Some(ReferenceLine {
                name: format!("paper, {}: {published}", line.row),
                value: ReferenceValue::Level(published),
            })
        });
    LinePlot {
        title: table.plan.title.clone(),
        x_label: "added to the biases".to_owned(),
        y_label: "errors".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Log,
        series: vec![
            series("all test images", 1),
            series("test images of these digits", 2),
            series("held-out images", 3),
        ],
        references: references.collect(),
    }
}

/// Test digits beside their soft targets, a chart for each temperature; the first seed's teacher.
fn soft_targets(table: &Table) -> Result<ImageBars> {
    let mut columns: Vec<(String, &Finished)> = Vec::new();
    for line in &table.lines {
        let heading = format!("T = {}", table.key(line, "temperature"));
        if columns.iter().all(|(h, _)| *h != heading)
            && let Some(first) = table.cells_of(line).next()
        {
            columns.push((heading, first));
        }
    }
    let part = |cell: &Finished, name: &str| match cell.result.series.get(name) {
        Some(series) => Ok(series.rows.clone()),
        None => Err(Error::failure(format!(
            "cell {}: expected a series '{name}', got none",
            cell.cell.id
        ))),
    };
    let charts =
        columns.iter().map(|(_, cell)| part(cell, "pictured")).collect::<Result<Vec<_>>>()?;
    let pixels =
        columns.first().map(|(_, cell)| part(cell, "pixels")).transpose()?.unwrap_or_default();
    let row = |(i, image): (usize, &Vec<f64>)| {
        let about = &charts[0][i];
        ImageRow {
            caption: format!("a {} like a {}", about[1], about[2]),
            image: GrayImage { width: 28, pixels: image.iter().map(|&p| p as u8).collect() },
            bars: charts.iter().map(|chart| chart[i][3..].to_vec()).collect(),
            highlight: Some(about[1] as usize),
        }
    };
    Ok(ImageBars {
        title: table.plan.title.clone(),
        columns: columns.iter().map(|(heading, _)| heading.clone()).collect(),
        classes: (0..CLASSES).map(|c| c.to_string()).collect(),
        rows: pixels.iter().enumerate().map(row).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kd_experiment::experiment_file;
    use kd_experiment::plan::TablePlan;
    use kd_experiment::{Metric, Preset, TableLine};

    use super::*;

    /// A committed table without its cells: what it says of each line.
    fn committed(name: &str, dir: &Path) -> Table {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = root.join("experiments/hinton-mnist").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&file).expect("the experiment file");
        let experiment = experiment_file::parse(name, name, &text).expect("an experiment");
        let text = std::fs::read_to_string(dir.join(format!("{name}.csv"))).expect("the table");
        let mut records = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = records.next().expect("a header");
        let metric = header.iter().position(|column| *column == "metric").expect("a column");
        let line = |record: Vec<&str>| TableLine {
            row: record[0].to_owned(),
            keys: (1..metric).map(|i| (header[i].to_owned(), record[i].to_owned())).collect(),
            metric: Metric { name: record[metric].to_owned(), unit: record[metric + 1].to_owned() },
            mean: record[metric + 2].parse().expect("a mean"),
            std: record[metric + 3].parse().ok(),
            n: record[metric + 4].parse().expect("a number of seeds"),
            reference: None,
            cells: Vec::new(),
        };
        Table {
            plan: TablePlan {
                name: name.to_owned(),
                title: experiment.title,
                source: experiment.source,
                claim: experiment.claim,
                file: experiment.file,
                preset: Preset::Laptop,
                dataset: "mnist".to_owned(),
                comparable: true,
                columns: header[1..metric].iter().map(|column| (*column).to_owned()).collect(),
                lines: Vec::new(),
                elsewhere: Vec::new(),
            },
            lines: records.map(line).collect(),
            cells: BTreeMap::new(),
        }
    }

    /// To draw them again after a change of the plots: `KD_REDRAW=1 cargo test -p hinton-mnist
    /// committed_pictures`.
    #[test]
    fn committed_pictures_are_those_of_the_committed_numbers() {
        let dir =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/hinton-mnist/mnist-laptop");
        let anew = tempfile::tempdir().expect("a folder");
        for name in ["temperature", "few-labels", "high-temperature-limit"] {
            let to = if std::env::var_os("KD_REDRAW").is_some() { &dir } else { anew.path() };
            draw(&committed(name, &dir), to).expect("a picture");
            let picture = |dir: &Path| {
                std::fs::read_to_string(dir.join(format!("{name}.svg"))).expect("the picture")
            };
            assert!(picture(to) == picture(&dir), "{name}.svg is not drawn from {name}.csv");
        }
    }
}
