//! The chosen point as lines for an experiment file.

use toml::Value;

use super::points::Point;
use super::trial::Trial;
use crate::experiment::{Need, Row};
use crate::overrides;
use crate::preset::Preset;

/// A row like the swept one with the point's settings, to stand below that one in its table's file.
///
/// A setting that the row has at all presets alike stands in the row's spec; one that its presets
/// change stands in the part of the preset at which it was chosen.
pub fn row(trial: &Trial, point: &Point) -> String {
    let Trial { row, table, preset, axes, .. } = trial;
    let mut name = format!("{}-swept", row.name);
    while table.rows.iter().any(|other| other.name == name) {
        name.push_str("-again");
    }
    let mut text = format!("[[row]]\nname = {}\nlike = {}\n", quoted(&name), quoted(&row.name));
    if !row.needs.is_empty() {
        let needs: Vec<String> = row
            .needs
            .iter()
            .map(|(role, need)| format!("{} = {}", key(role), quoted(&place(need.at(*preset)))))
            .collect();
        text += &format!("needs = {{ {} }}\n", needs.join(", "));
    }
    text += &metrics(trial);
    let grids = row.grids.iter().filter(|grid| axes.iter().all(|axis| axis.path != grid.path));
    let own = grids.filter_map(|grid| Some((&grid.path, grid.values.at(*preset).first()?)));
    let swept = axes.iter().map(|axis| &axis.path).zip(&point.values);
    let (always, changed): (Vec<_>, Vec<_>) =
        own.chain(swept).partition(|(path, _)| is_alike(row, path));
    for (part, settings) in [("spec", always), (preset.name(), changed)] {
        if settings.is_empty() {
            continue;
        }
        text += &format!("[row.{part}]\n");
        for (path, value) in settings {
            let path: Vec<String> = path.split('.').map(key).collect();
            text += &format!("{} = {value}\n", path.join("."));
        }
    }
    text
}

/// Which numbers the row reports, where these are not all of its table.
fn metrics(trial: &Trial) -> String {
    let Trial { row, table, .. } = trial;
    let own = |report: &&crate::experiment::Report| {
        report.row == row.name && report.key == report.metric.name
    };
    let names: Vec<&str> =
        row.report.iter().filter(own).map(|report| report.metric.name.as_str()).collect();
    if names.is_empty() || names.len() == table.metrics.len() {
        return String::new();
    }
    let names: Vec<String> = names.into_iter().map(quoted).collect();
    format!("metrics = [{}]\n", names.join(", "))
}

/// Whether the row has the same there at all presets.
fn is_alike(row: &Row, path: &str) -> bool {
    let [first, others @ ..] = Preset::ALL.map(|preset| overrides::get(row.spec.at(preset), path));
    others.into_iter().all(|other| other == first)
}

/// `table/row#seeds`, as files have it.
fn place(need: &Need) -> String {
    let table = need.table.as_ref().map(|table| format!("{table}/")).unwrap_or_default();
    let seeds: Vec<String> =
        need.seeds.iter().flat_map(|seeds| &seeds.0).map(u64::to_string).collect();
    let seeds = if seeds.is_empty() { String::new() } else { format!("#{}", seeds.join(",")) };
    format!("{table}{}{seeds}", need.row)
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// The settings of a point in a line: `temperature=4 soft-weight=0.9`.
pub fn label(columns: &[String], point: &Point) -> String {
    let pairs = columns.iter().zip(&point.values);
    let pairs: Vec<String> = pairs
        .map(|(column, value)| format!("{column}={}", crate::cell::canonical(value)))
        .collect();
    pairs.join(" ")
}
