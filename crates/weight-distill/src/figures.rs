//! The figures of the tables, from finished cells alone.

use std::path::{Path, PathBuf};

use kd_base::atomic;
use kd_experiment::plot::{LinePlot, PlotPoint, PlotSeries, Scale};
use kd_experiment::{Finished, Result, Table};

use crate::cells::work::CONVERGENCE;

/// Draws the curves of table `convergence`; other tables have none.
///
/// # Errors
/// When a figure cannot be drawn or written.
pub fn draw(table: &Table, out_dir: &Path) -> Result<Vec<PathBuf>> {
    if table.plan.name != "convergence" {
        return Ok(Vec::new());
    }
    let plot = LinePlot {
        title: table.plan.title.clone(),
        x_label: "updates".to_owned(),
        y_label: "validation BLEU".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        series: curves(table),
        references: Vec::new(),
    };
    let path = out_dir.join("convergence.svg");
    atomic::write_if_changed(&path, plot.to_svg().as_bytes())?;
    Ok(vec![path])
}

/// A curve for each row that has one, of its first cell.
fn curves(table: &Table) -> Vec<PlotSeries> {
    let mut all: Vec<PlotSeries> = Vec::new();
    for line in &table.lines {
        let Some(cell) =
            table.cells_of(line).find(|cell| cell.result.series.contains_key(CONVERGENCE))
        else {
            continue;
        };
        if all.iter().all(|series| series.name != line.row) {
            all.push(PlotSeries { name: line.row.clone(), points: points(cell) });
        }
    }
    all
}

fn points(cell: &Finished) -> Vec<PlotPoint> {
    let Some(curve) = cell.result.series.get(CONVERGENCE) else { return Vec::new() };
    curve.rows.iter().map(|row| PlotPoint { x: row[0], mean: row[1], std: None }).collect()
}
