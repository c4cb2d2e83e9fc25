//! A grid of numbers as coloured squares, each with its number in it.

use super::canvas::{Align, Canvas, Color, wrap};
use crate::error::{Error, Result};

/// A heat map: numbers over two short axes, coloured by their distance from one of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeatMap {
    /// Above the map.
    pub title: String,
    /// Below the columns.
    pub x_label: String,
    /// Beside the rows.
    pub y_label: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows, from the top.
    pub rows: Vec<String>,
    /// The numbers, row by row; none where there is none.
    pub values: Vec<Vec<Option<f64>>>,
    /// The number that is white: above it squares turn blue, below it orange.
    pub center: f64,
    /// Below the map, for instance what the centre is.
    pub note: String,
}

const CELL: (i32, i32) = (104, 62);
const LEFT: i32 = 130;
const TEXT: u32 = 14;

impl HeatMap {
    /// The map as an SVG. The same map gives the same bytes.
    ///
    /// # Errors
    /// When the values are not as many as rows and columns.
    pub fn to_svg(&self) -> Result<String> {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        if self.values.len() != rows || self.values.iter().any(|row| row.len() != columns) {
            return Err(Error::failure(format!(
                "heat map: expected {rows} rows of {columns} values"
            )));
        }
        let width = (LEFT + CELL.0 * columns as i32 + 40).max(520);
        let title = wrap(&self.title, 16, width - 40);
        let top = 30 + 21 * title.len().max(1) as i32;
        let bottom = top + CELL.1 * rows as i32;
        let height = bottom + 100;
        let mut canvas = Canvas::new((width, height));
        for (i, line) in (0..).zip(&title) {
            canvas.text(line, (width / 2, 22 + 21 * i), 16, Align::Middle);
        }
        let known = || self.values.iter().flatten().flatten().filter(|value| value.is_finite());
        let reach = known().map(|value| (value - self.center).abs()).fold(0., f64::max);
        for (i, (name, values)) in (0..).zip(self.rows.iter().zip(&self.values)) {
            let y = top + CELL.1 * i;
            canvas.text(name, (LEFT - 12, y + CELL.1 / 2), TEXT, Align::Right);
            for (j, value) in (0..).zip(values) {
                let x = LEFT + CELL.0 * j;
                let Some(value) = value.filter(|value| value.is_finite()) else { continue };
                let share = if reach > 0. { (value - self.center) / reach } else { 0. };
                canvas.rect((x + 1, y + 1), (x + CELL.0 - 1, y + CELL.1 - 1), shade(share));
                canvas.text(
                    &format!("{value:.2}"),
                    (x + CELL.0 / 2, y + CELL.1 / 2),
                    TEXT,
                    Align::Middle,
                );
            }
        }
        for (j, name) in (0..).zip(&self.columns) {
            canvas.text(name, (LEFT + CELL.0 * j + CELL.0 / 2, bottom + 18), TEXT, Align::Middle);
        }
        canvas.text(
            &self.x_label,
            (LEFT + CELL.0 * columns as i32 / 2, bottom + 46),
            TEXT,
            Align::Middle,
        );
        canvas.text_upwards(&self.y_label, (24, (top + bottom) / 2), TEXT);
        canvas.text(&self.note, (width / 2, bottom + 76), 13, Align::Middle);
        Ok(canvas.finish())
    }
}

/// From orange at -1 over white at 0 to blue at 1, light enough for dark text.
fn shade(share: f64) -> Color {
    let (far, part) = if share < 0. { ((230, 159, 0), -share) } else { ((86, 180, 233), share) };
    let mix = |far: u8| (255. + (f64::from(far) - 255.) * part.clamp(0., 1.)).round() as u8;
    Color(mix(far.0), mix(far.1), mix(far.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> HeatMap {
        HeatMap {
            title: "Accuracy".into(),
            x_label: "teacher's level".into(),
            y_label: "student's level".into(),
            columns: vec!["1".into(), "2".into()],
            rows: vec!["1".into(), "2".into()],
            values: vec![vec![Some(60.), Some(58.5)], vec![Some(61.25), None]],
            center: 60.,
            note: "white: 60".into(),
        }
    }

    #[test]
    fn every_number_stands_in_its_square_and_missing_ones_are_left_out() {
        let svg = map().to_svg().unwrap();
        assert_eq!(svg, map().to_svg().unwrap());
        for number in ["60.00", "58.50", "61.25"] {
            assert!(svg.contains(number), "{number}");
        }
        // The canvas, and three squares.
        assert_eq!(svg.matches("<rect").count(), 4);
    }

    #[test]
    fn squares_are_white_at_the_centre_and_take_the_colour_of_their_side() {
        assert_eq!(
            [shade(0.), shade(1.), shade(-1.)],
            [Color(255, 255, 255), Color(86, 180, 233), Color(230, 159, 0)]
        );
    }

    #[test]
    fn values_that_are_not_as_many_as_rows_and_columns_are_refused() {
        let short = HeatMap { rows: vec!["1".into()], ..map() };
        assert!(short.to_svg().unwrap_err().to_string().contains("expected 1 rows of 2 values"));
    }
}
