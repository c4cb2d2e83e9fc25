//! Pictures of grey images beside what a model says of them: digits beside their soft targets.

use super::canvas::{Align, Canvas, Color, GRID, INK, color, text_width, wrap};
use crate::error::Error;

/// A row for each image: the image, and a bar chart for each column, such as the probabilities at
/// several temperatures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageBars {
    /// Above the picture.
    pub title: String,
    /// The headings of the bar charts.
    pub columns: Vec<String>,
    /// The classes, below the bars; short.
    pub classes: Vec<String>,
    /// The rows.
    pub rows: Vec<ImageRow>,
}

/// An image and its bar charts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageRow {
    /// Beside the image, for instance `label 2`.
    pub caption: String,
    /// The image.
    pub image: GrayImage,
    /// For each column the values of the classes, in 0..=1.
    pub bars: Vec<Vec<f64>>,
    /// The class whose bars stand out: the right one.
    pub highlight: Option<usize>,
}

/// An image in shades of grey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrayImage {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of pixels, top to bottom: 0 is the background (drawn white) and 255 full ink (drawn
    /// black).
    pub pixels: Vec<u8>,
}

const TITLE: u32 = 16;
const HEADING: u32 = 14;
const SMALL: u32 = 12;
/// The side of an image, and the height of a chart.
const SIDE: i32 = 84;
const ROW: i32 = SIDE + 40;
const BAR: i32 = 15;
const PITCH: i32 = 22;
/// Before a chart: the labels of its axis.
const AXIS: i32 = 40;
const MARGIN: i32 = 24;

impl ImageBars {
    /// The picture as an SVG. The same picture gives the same bytes. The bars of a column share a
    /// linear axis from 0 to the first of 0.1, 0.2, 0.5 and 1 that holds them all.
    ///
    /// Errors: an image that is not rectangular, a row whose charts or values do not fit `columns`
    /// and `classes`.
    pub fn to_svg(&self) -> Result<String, Error> {
        self.check()?;
        let caption = self
            .rows
            .iter()
            .map(|row| text_width(&row.caption, SMALL))
            .max()
            .unwrap_or(0)
            .max(SIDE);
        let chart = PITCH * self.classes.len() as i32;
        let width =
            (2 * MARGIN + caption + (AXIS + chart + 12) * self.columns.len() as i32).max(320);
        let title = wrap(&self.title, TITLE, width - 2 * MARGIN);
        let top = 24 + 21 * title.len() as i32 + 34;
        let height = top + ROW * self.rows.len() as i32;
        let mut canvas = Canvas::new((width, height));
        for (index, line) in title.iter().enumerate() {
            canvas.text(line, (MARGIN, 24 + 21 * index as i32), TITLE, Align::Left);
        }
        let chart_left =
            |column: usize| MARGIN + caption + AXIS + (AXIS + chart + 12) * column as i32;
        for (column, heading) in self.columns.iter().enumerate() {
            canvas.text(
                heading,
                (chart_left(column) + chart / 2, top - 20),
                HEADING,
                Align::Middle,
            );
        }
        let tops: Vec<f64> = (0..self.columns.len()).map(|column| self.axis_top(column)).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW * index as i32;
            image(&mut canvas, &row.image, (MARGIN + (caption - SIDE) / 2, y));
            canvas.text(&row.caption, (MARGIN + caption / 2, y + SIDE + 13), SMALL, Align::Middle);
            for (column, values) in row.bars.iter().enumerate() {
                self.bars(
                    &mut canvas,
                    (values, tops[column]),
                    row.highlight,
                    (chart_left(column), y),
                );
            }
        }
        Ok(canvas.finish())
    }

    fn check(&self) -> Result<(), Error> {
        for (index, row) in self.rows.iter().enumerate() {
            let image = &row.image;
            if image.width == 0 || image.pixels.is_empty() || image.pixels.len() % image.width != 0
            {
                let (got, width) = (image.pixels.len(), image.width);
                return Err(Error::failure(format!(
                    "picture row {index}: expected a rectangular image, got {got} pixels in rows of {width}"
                )));
            }
            if row.bars.len() != self.columns.len() {
                return Err(Error::failure(format!(
                    "picture row {index}: expected {} bar charts, got {}",
                    self.columns.len(),
                    row.bars.len()
                )));
            }
            for values in &row.bars {
                if values.len() != self.classes.len()
                    || !values.iter().all(|value| (0.0..=1.0).contains(value))
                {
                    return Err(Error::failure(format!(
                        "picture row {index}: expected {} values in 0..=1, got {values:?}",
                        self.classes.len()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Where the axis of a column ends.
    fn axis_top(&self, column: usize) -> f64 {
        let largest =
            self.rows.iter().flat_map(|row| &row.bars[column]).copied().fold(0.0, f64::max);
        [0.1, 0.2, 0.5].into_iter().find(|&top| largest <= top).unwrap_or(1.0)
    }

    fn bars(
        &self,
        canvas: &mut Canvas,
        (values, axis): (&[f64], f64),
        highlight: Option<usize>,
        (left, top): (i32, i32),
    ) {
        let bottom = top + SIDE;
        let right = left + PITCH * values.len() as i32;
        for part in [0.5, 1.0] {
            let text = &(part * axis).to_string();
            let y = bottom - (f64::from(SIDE) * part).round() as i32;
            canvas.line((left, y), (right, y), GRID, 1);
            canvas.text(text, (left - 6, y), SMALL, Align::Right);
        }
        canvas.text("0", (left - 6, bottom), SMALL, Align::Right);
        for (class, (value, name)) in values.iter().zip(&self.classes).enumerate() {
            let x = left + PITCH * class as i32 + (PITCH - BAR) / 2;
            let height = (f64::from(SIDE) * value / axis).round() as i32;
            let shade = if highlight == Some(class) { color(1) } else { color(0) };
            if height > 0 {
                canvas.rect((x, bottom - height), (x + BAR, bottom), shade);
            }
            canvas.text(name, (x + BAR / 2, bottom + 13), SMALL, Align::Middle);
        }
        canvas.line((left, bottom), (right, bottom), INK, 1);
    }
}

/// Draws an image with one rectangle for each run of like shades in a row; 16 shades, the
/// background left out.
fn image(canvas: &mut Canvas, image: &GrayImage, (left, top): (i32, i32)) {
    let rows = image.pixels.len() / image.width;
    let scale = SIDE as f64 / image.width.max(rows) as f64;
    let edge = |start: i32, index: usize| start + (index as f64 * scale).round() as i32;
    for (y, row) in image.pixels.chunks(image.width).enumerate() {
        let mut start = 0;
        while start < row.len() {
            let shade = row[start] >> 4;
            let end = row[start..]
                .iter()
                .position(|pixel| pixel >> 4 != shade)
                .map_or(row.len(), |length| start + length);
            if shade > 0 {
                let grey = 255 - shade * 17;
                canvas.rect(
                    (edge(left, start), edge(top, y)),
                    (edge(left, end), edge(top, y + 1)),
                    Color(grey, grey, grey),
                );
            }
            start = end;
        }
    }
    let (right, bottom) = (edge(left, image.width), edge(top, rows));
    canvas.path(
        &[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)],
        GRID,
        1,
    );
}
