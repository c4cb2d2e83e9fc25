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
