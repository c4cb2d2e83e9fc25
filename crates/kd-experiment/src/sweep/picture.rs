//! The picture of a sweep: a line for one axis, a heat map for two.

use toml::Value;

use super::axis::Axis;
use super::points::Point;
use super::ranking::Ranking;
use crate::cell::canonical;
use crate::error::Result;
use crate::number::significant;
use crate::plot::{HeatMap, LinePlot, PlotPoint, PlotSeries, Scale};

/// What is drawn: the rankings of the rungs, the first first, with what each is called (`3 epochs`);
/// of a whole grid there is one.
pub struct Picture<'a> {
    /// Above it.
    pub title: &'a str,
    /// The axes.
    pub axes: &'a [Axis],
    /// Their key columns, for the labels.
    pub columns: &'a [String],
    /// The points of the grid.
    pub points: &'a [Point],
    /// What was measured.
    pub rungs: &'a [(String, Ranking)],
}

/// Numbers so far apart, the largest by the smallest, stand on a log axis.
const LOG_FROM: f64 = 8.;

impl Picture<'_> {
    /// The picture as an SVG: with one axis of numbers a line for each rung, with two axes or one of
    /// other values a heat map of the first rung, where all points trained alike; none for more axes.
    ///
    /// # Errors
    /// None but a fault of ours.
    pub fn to_svg(&self) -> Result<Option<String>> {
        match self.axes {
            [axis] => match axis.numbers() {
                Some(numbers) => Ok(Some(self.lines(&numbers).to_svg())),
                None => self.map(&[], &axis.values).to_svg().map(Some),
            },
            [rows, columns] => self.map(&rows.values, &columns.values).to_svg().map(Some),
            _ => Ok(None),
        }
    }

    fn lines(&self, numbers: &[f64]) -> LinePlot {
        let place = |point: usize| {
            let value = self.points.get(point)?.values.first()?;
            super::axis::number(value)
        };
        let line = |(name, ranking): &(String, Ranking)| {
            let mut points: Vec<PlotPoint> = ranking
                .0
                .iter()
                .filter_map(|s| Some(PlotPoint { x: place(s.point)?, mean: s.mean, std: s.std }))
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            PlotSeries { name: name.clone(), points }
        };
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = least > 0. && most / least >= LOG_FROM;
        LinePlot {
            title: self.title.to_owned(),
            x_label: self.columns.first().cloned().unwrap_or_default(),
            y_label: "accuracy on held-out images, %".to_owned(),
            x_scale: if log { Scale::Log } else { Scale::Linear },
            y_scale: Scale::Linear,
            series: self.rungs.iter().map(line).collect(),
            references: Vec::new(),
        }
    }

    /// A map of the first rung; with no values for the rows it has a single one.
    fn map(&self, rows: &[Value], columns: &[Value]) -> HeatMap {
        let names = |values: &[Value]| values.iter().map(canonical).collect::<Vec<_>>();
        let first = self.rungs.first();
        let ranking = first.map(|(_, ranking)| ranking.0.as_slice()).unwrap_or_default();
        let value = |point: usize| {
            ranking.iter().find(|standing| standing.point == point).map(|standing| standing.mean)
        };
        let width = columns.len();
        // Points are in the order of counting, the last axis the fastest.
        let line = |row: usize| (0..width).map(|column| value(row * width + column)).collect();
        let mean = ranking.iter().map(|s| s.mean).sum::<f64>() / ranking.len().max(1) as f64;
        let (row_label, row_names) = match self.columns {
            [rows_of, _] => (rows_of.clone(), names(rows)),
            _ => (String::new(), vec![String::new()]),
        };
        let epochs = first.map(|(name, _)| name.as_str()).filter(|_| self.rungs.len() > 1);
        HeatMap {
            title: match epochs {
                Some(epochs) => format!("{}: first rung, {epochs}", self.title),
                None => self.title.to_owned(),
            },
            x_label: self.columns.last().cloned().unwrap_or_default(),
            y_label: row_label,
            columns: names(columns),
            values: (0..row_names.len()).map(line).collect(),
            rows: row_names,
            center: mean,
            note: format!(
                "accuracy on held-out images, %; white: the mean of all, {}",
                significant(mean, 4)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Standing;

    fn drawn(axes: &[&str], rungs: &[(&str, &[f64])]) -> Option<String> {
        let axes: Vec<Axis> = axes.iter().map(|text| text.parse().expect("an axis")).collect();
        let columns = Axis::columns(&axes, &[]);
        let points = Point::product(&axes, 1).expect("a small grid");
        let ranking = |means: &[f64]| {
            let all = means.iter().enumerate();
            Ranking::new(all.map(|(i, mean)| Standing::of(i, &[*mean], 100)).collect())
        };
        let rungs: Vec<(String, Ranking)> =
            rungs.iter().map(|(name, means)| (name.to_string(), ranking(means))).collect();
        let picture = Picture {
            title: "Sweep",
            axes: &axes,
            columns: &columns,
            points: &points,
            rungs: &rungs,
        };
        let svg = picture.to_svg().expect("a picture");
        assert_eq!(svg, picture.to_svg().expect("a picture"));
        svg
    }

    #[test]
    fn two_axes_are_a_map_with_the_first_from_the_top_and_each_number_in_its_square() {
        let svg = drawn(&["m.t=2,4,8", "m.w=0.5,0.9"], &[("", &[1.5, 2.5, 3.5, 4.5, 5.5, 6.5])]);
        let svg = svg.expect("a map");
        let place = |text: &str| {
            let at = svg.find(&format!(">{text}<")).unwrap_or_else(|| panic!("{text}: {svg}"));
            let element = &svg[svg[..at].rfind("<text").expect("an element")..at];
            let number = |name: &str| -> f64 {
                let from = element.find(&format!(" {name}=\"")).expect("a place") + name.len() + 3;
                let rest = &element[from..];
                rest[..rest.find('"').expect("an end")].parse().expect("a number")
            };
            (number("x"), number("y"))
        };
        let (low, high) = (place("1.50"), place("6.50"));
        assert!(low.0 < high.0 && low.1 < high.1, "{low:?} {high:?}");
        assert_eq!(place("1.50").1, place("2.50").1);
        assert_eq!(place("1.50").0, place("3.50").0);
    }

    #[test]
    fn one_axis_of_numbers_is_a_line_for_each_rung_and_one_of_words_a_map() {
        let line = drawn(&["t=2,4,8"], &[("1 epoch", &[1., 2., 3.]), ("3 epochs", &[4.])]);
        let line = line.expect("lines");
        assert!(line.contains("1 epoch") && line.contains("3 epochs"), "{line}");
        let map = drawn(&["kind=linear,cosine"], &[("", &[50., 51.])]).expect("a map");
        assert!(map.contains("linear") && map.contains("51.00"), "{map}");
        assert_eq!(drawn(&["a=1,2", "b=1,2", "c=1,2"], &[("", &[0.; 8])]), None);
        let rungs: [(&str, &[f64]); 2] = [("1 epoch", &[1., 2., 3., 4.]), ("3 epochs", &[9.])];
        let map = drawn(&["a=1,2", "b=1,2"], &rungs).expect("a map");
        assert!(map.contains("first rung, 1 epoch") && !map.contains("9.00"), "{map}");
    }
}
