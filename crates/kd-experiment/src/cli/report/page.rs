//! A report as one page of HTML that needs nothing beside itself.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::epochs;
use super::found::{CellRecord, Derived, DerivedLine, PaperResults};
use crate::Experiment;
use crate::number::significant;

/// The whole page.
pub(super) fn page(papers: &[PaperResults], about: &str) -> String {
    let names: Vec<&str> = papers.iter().map(|paper| paper.name.as_str()).collect();
    let title = format!("Results: {}", names.join(", "));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n<header>\n<h1>{}</h1>\n<p class=\"dim\">{}</p>\n{}</header>\n<main>\n",
        text(&title),
        include_str!("style.css"),
        text(&title),
        text(about),
        filters(papers)
    );
    for paper in papers {
        for (experiment, derived) in &paper.tables {
            section(&mut html, paper, experiment, derived);
        }
    }
    html.push_str(
        "<h2>Cells</h2>\n<p>Each number above leads to the cells that it is the mean of.</p>\n",
    );
    for paper in papers {
        for (id, cell) in &paper.cells {
            html.push_str(&details(id, &paper.name, cell));
        }
    }
    html.push_str("</main>\n<script>\n");
    html.push_str(include_str!("script.js"));
    html.push_str("</script>\n</body>\n</html>\n");
    html
}

/// A choice for each property of a table.
fn filters(papers: &[PaperResults]) -> String {
    let tables = || {
        papers.iter().flat_map(|paper| {
            let derived = paper.tables.iter().flat_map(|(_, derived)| derived);
            derived.map(move |table| (paper.name.as_str(), table))
        })
    };
    let mut html = String::from("<div class=\"filters\">\n");
    let choices: [(&str, &str, BTreeSet<&str>); 3] = [
        ("paper", "Paper", tables().map(|(paper, _)| paper).collect()),
        ("preset", "Preset", tables().map(|(_, table)| table.preset.as_str()).collect()),
        ("dataset", "Data", tables().map(|(_, table)| table.dataset.as_str()).collect()),
    ];
    for (name, label, values) in choices {
        let options: String =
            values.iter().map(|value| format!("<option>{}</option>", text(value))).collect();
        html.push_str(&format!(
            "<label>{label} <select name=\"{name}\"><option value=\"\">all</option>{options}</select></label>\n"
        ));
    }
    html.push_str("</div>\n");
    html
}

fn section(html: &mut String, paper: &PaperResults, experiment: &Experiment, derived: &[Derived]) {
    let _ = write!(
        html,
        "<section>\n<h2>{}</h2>\n<p class=\"dim\">{} · {} · {}</p>\n<p>{}</p>\n",
        text(&experiment.title),
        text(&paper.name),
        text(&experiment.name),
        text(&experiment.source),
        text(&experiment.claim)
    );
    for (name, lines) in [
        ("Deviations from the paper", &experiment.deviations),
        ("Choices that the paper leaves open", &experiment.gap_fills),
    ] {
        if !lines.is_empty() {
            let lines: String =
                lines.iter().map(|line| format!("<li>{}</li>", text(line))).collect();
            let _ = writeln!(html, "<details><summary>{name}</summary><ul>{lines}</ul></details>");
        }
    }
    for table in derived {
        article(html, paper, experiment, table);
    }
    html.push_str("</section>\n");
}

fn article(html: &mut String, paper: &PaperResults, experiment: &Experiment, table: &Derived) {
    let _ = write!(
        html,
        "<article data-paper=\"{}\" data-preset=\"{}\" data-dataset=\"{}\">\n<h3>{}, preset {}</h3>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}, {}, preset {}\">\n<table>\n<thead><tr>",
        text(&paper.name),
        text(&table.preset),
        text(&table.dataset),
        text(&table.dataset),
        text(&table.preset),
        text(&experiment.title),
        text(&table.dataset),
        text(&table.preset),
    );
    let keys = table.keys.iter().map(String::as_str);
    let columns = std::iter::once("row").chain(keys).chain([
        "metric",
        "measured",
        "spread",
        "seeds",
        "published",
        "kind",
        "gap",
        "epochs",
        "seconds",
        "device",
        "commit",
        "cells",
    ]);
    for column in columns {
        let _ = write!(
            html,
            "<th scope=\"col\"><button type=\"button\">{}</button></th>",
            text(column)
        );
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for line in &table.lines {
        row(html, table, line);
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    for (name, svg) in &table.pictures {
        let _ = writeln!(
            html,
            "<figure><img alt=\"{}\" src=\"data:image/svg+xml,{}\"></figure>",
            text(&format!("{}: {}", experiment.title, name)),
            percent(svg)
        );
    }
    html.push_str("</article>\n");
}

fn row(html: &mut String, table: &Derived, line: &DerivedLine) {
    html.push_str("<tr>");
    let word = |html: &mut String, value: &str| {
        let _ = write!(html, "<td>{}</td>", text(value));
    };
    let number = |html: &mut String, value: &str| {
        let _ = write!(html, "<td class=\"number\" data-value=\"{0}\">{0}</td>", text(value));
    };
    word(html, line.field("row"));
    for key in &table.keys {
        number(html, line.field(key));
    }
    word(html, &format!("{} ({})", line.field("metric"), line.field("unit")));
    for column in ["mean", "std", "n", "reference"] {
        number(html, line.field(column));
    }
    word(html, line.field("reference_kind"));
    number(html, &gap(line).unwrap_or_default());
    for column in ["epochs", "seconds"] {
        number(html, line.field(column));
    }
    for column in ["device", "commit"] {
        word(html, line.field(column));
    }
    let links: Vec<String> = line
        .cells
        .iter()
        .filter(|id| !id.is_empty())
        .map(|id| {
            format!("<a href=\"#cell-{0}\">{1}</a>", text(id), text(id.get(..6).unwrap_or(id)))
        })
        .collect();
    let _ = writeln!(html, "<td>{}</td></tr>", links.join(" "));
}

/// Measured less published; none for a number that is there for orientation.
fn gap(line: &DerivedLine) -> Option<String> {
    let read = |column: &str| line.field(column).parse::<f64>().ok();
    if line.field("reference_kind") == "analogue" {
        return None;
    }
    let gap = read("mean")? - read("reference")?;
    Some(format!("{}{}", if gap > 0. { "+" } else { "" }, significant(gap, 3)))
}

fn details(id: &str, paper: &str, cell: &CellRecord) -> String {
    let spec = if cell.spec.is_empty() {
        "The experiment file has changed since, and the run is not at hand."
    } else {
        cell.spec.trim_end()
    };
    format!(
        "<details id=\"cell-{}\"><summary>{} <span class=\"dim\">{}</span></summary>\n<pre tabindex=\"0\">{}</pre>\n{}</details>\n",
        text(id),
        text(id),
        text(paper),
        text(spec),
        curves(&cell.epochs)
    )
}

/// Each column of a table of epochs as a small picture over its own range.
fn curves(table: &str) -> String {
    let lines = epochs::curves(table).into_iter().filter(|curve| curve.points.len() > 1);
    let html: String = lines.map(|line| curve(&line.name, &line.points)).collect();
    if html.is_empty() { html } else { format!("<div class=\"curves\">{html}</div>\n") }
}

fn curve(name: &str, points: &[(f64, f64)]) -> String {
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let values = points.iter().map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
    };
    let ((left, right), (low, high)) = (ends(|p| p.0), ends(|p| p.1));
    let scaled =
        |x: f64, (from, to): (f64, f64)| if to > from { (x - from) / (to - from) } else { 0.5 };
    let line: Vec<String> = points
        .iter()
        .map(|&(x, y)| {
            let (x, y) = (8. + 224. * scaled(x, (left, right)), 86. - 62. * scaled(y, (low, high)));
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let ends = format!("{} to {}", significant(low, 4), significant(high, 4));
    format!(
        "<svg viewBox=\"0 0 240 96\" role=\"img\" aria-label=\"{0} by epoch, {1}\"><text x=\"8\" y=\"14\">{0}: {1}</text><polyline points=\"{2}\"/></svg>",
        text(name),
        text(&ends),
        line.join(" ")
    )
}

/// Text as HTML has it, in elements and in quoted attributes.
fn text(plain: &str) -> String {
    let mut html = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => html.push('\u{fffd}'),
            c => html.push(c),
        }
    }
    html
}

/// Text as a URL has it.
fn percent(plain: &str) -> String {
    let mut url = String::with_capacity(plain.len() * 2);
    for byte in plain.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'/'
            | b':'
            | b'='
            | b','
            | b';'
            | b'('
            | b')' => url.push(char::from(byte)),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(text("<b title=\"x\">&\u{1b}"), "&lt;b title=&quot;x&quot;&gt;&amp;\u{fffd}");
        assert_eq!(percent("<a b=\"é\">"), "%3Ca%20b=%22%C3%A9%22%3E");
    }

    #[test]
    fn a_gap_is_measured_less_published_and_none_for_orientation() {
        let line = |kind: &str| DerivedLine {
            fields: [("mean", "70.5"), ("reference", "71.89"), ("reference_kind", kind)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            cells: Vec::new(),
        };
        assert_eq!(gap(&line("paper")).unwrap(), "-1.39");
        assert_eq!(gap(&line("analogue")), None);
    }

    #[test]
    fn each_column_of_epochs_is_a_picture_with_a_name() {
        let html = curves("epoch,loss,accuracy\n1,4,10\n2,2,nan\n3,1,30\n");
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("aria-label=\"loss by epoch, 1 to 4\""), "{html}");
        assert_eq!(curves("epoch,loss\n1,4\n"), "");
    }
}
