//! Line plots with error bars and published numbers.

use super::canvas::{Align, Canvas, GRID, INK, color, text_width, wrap};
use super::scale::{Axis, Scale, TICK};

/// A plot of lines over one axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinePlot {
    /// Above the plot.
    pub title: String,
    /// Below the horizontal axis, with the unit.
    pub x_label: String,
    /// Beside the vertical axis, with the unit.
    pub y_label: String,
    /// The horizontal axis.
    pub x_scale: Scale,
    /// The vertical axis.
    pub y_scale: Scale,
    /// The lines, in the order of the legend.
    pub series: Vec<PlotSeries>,
    /// Published numbers: dashed lines, after the lines in the legend.
    pub references: Vec<ReferenceLine>,
}

/// One line of a plot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlotSeries {
    /// In the legend.
    pub name: String,
    /// The points in order.
    pub points: Vec<PlotPoint>,
}

/// One point of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlotPoint {
    /// Horizontal.
    pub x: f64,
    /// Vertical.
    pub mean: f64,
    /// Half the length of the error bar, if there is one.
    pub std: Option<f64>,
}

/// A number without a place on the horizontal axis: a dashed line over the whole width, or a dashed
/// polyline where it has points.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceLine {
    /// In the legend, for instance `paper: 67`.
    pub name: String,
    /// What is drawn.
    pub value: ReferenceValue,
}

/// Where a published number stands.
#[derive(Debug, Clone, PartialEq)]
pub enum ReferenceValue {
    /// The same over the whole axis.
    Level(f64),
    /// At some places, joined in order.
    Points(Vec<(f64, f64)>),
}

const WIDTH: i32 = 820;
const HEIGHT: i32 = 470;
const TITLE: u32 = 16;
const LABEL: u32 = 14;
const LEGEND_WIDTH: i32 = 240;
/// More points than this in a line, and markers would hide it.
const MARKERS: usize = 30;

impl LinePlot {
    /// The plot as an SVG. The same plot gives the same bytes. Numbers that are not finite, or not
    /// positive on a log axis, are left out.
    pub fn to_svg(&self) -> String {
        let mut canvas = Canvas::new((WIDTH, HEIGHT));
        let layout = self.layout();
        self.frame(&mut canvas, &layout);
        for (index, reference) in self.references.iter().enumerate() {
            self.reference(&mut canvas, &layout, reference, self.series.len() + index);
        }
        for (index, series) in self.series.iter().enumerate() {
            self.line(&mut canvas, &layout, series, index);
        }
        self.legend(&mut canvas, &layout);
        canvas.finish()
    }

    fn layout(&self) -> Layout {
        let title = wrap(&self.title, TITLE, WIDTH - 40);
        let top = 24 + 21 * title.len().max(1) as i32;
        let bottom = HEIGHT - 62;
        let points = || {
            self.series
                .iter()
                .flat_map(|series| &series.points)
                .filter(|point| self.shows(point.x, point.mean))
        };
        let published = self.references.iter().flat_map(|reference| match &reference.value {
            ReferenceValue::Level(_) => &[],
            ReferenceValue::Points(points) => points.as_slice(),
        });
        let levels = self.references.iter().filter_map(|reference| match reference.value {
            ReferenceValue::Level(level) => Some(level),
            ReferenceValue::Points(_) => None,
        });
        let ends = points().flat_map(|point| {
            let std = point.std.unwrap_or(0.0);
            [point.mean, point.mean - std, point.mean + std]
        });
        let y = Axis::new(
            self.y_scale,
            ends.chain(published.clone().map(|(_, y)| *y)).chain(levels),
            bottom,
            top,
            48,
        );
        let widest = y.labels().iter().map(|(_, text)| text_width(text, TICK)).max().unwrap_or(0);
        let left = 48 + widest;
        let right = WIDTH - LEGEND_WIDTH;
        let x = Axis::new(
            self.x_scale,
            points().map(|point| point.x).chain(published.map(|(x, _)| *x)),
            left + 14,
            right - 14,
            56,
        );
        Layout { title, top, bottom, left, right, x, y }
    }

    fn shows(&self, x: f64, y: f64) -> bool {
        self.x_scale.shows(x) && self.y_scale.shows(y)
    }

    fn frame(&self, canvas: &mut Canvas, layout: &Layout) {
        let Layout { top, bottom, left, right, x, y, .. } = layout;
        for (index, line) in layout.title.iter().enumerate() {
            canvas.text(line, (20, 24 + 21 * index as i32), TITLE, Align::Left);
        }
        for (tick, text) in y.labels() {
            let at = y.pixel(tick);
            canvas.line((*left, at), (*right, at), GRID, 1);
            canvas.text(&text, (left - 8, at), TICK, Align::Right);
        }
        for at in x.ticks.iter().map(|tick| x.pixel(*tick)) {
            canvas.line((at, *bottom), (at, bottom + 5), INK, 1);
        }
        for (tick, text) in x.labels() {
            canvas.text(&text, (x.pixel(tick), bottom + 17), TICK, Align::Middle);
        }
        canvas.line((*left, *bottom), (*right, *bottom), INK, 1);
        canvas.line((*left, *top), (*left, *bottom), INK, 1);
        canvas.text(&self.x_label, ((left + right) / 2, HEIGHT - 20), LABEL, Align::Middle);
        canvas.text_upwards(&self.y_label, (18, (top + bottom) / 2), LABEL);
    }

    fn line(&self, canvas: &mut Canvas, layout: &Layout, series: &PlotSeries, index: usize) {
        let shown: Vec<&PlotPoint> =
            series.points.iter().filter(|point| self.shows(point.x, point.mean)).collect();
        let place = |point: &PlotPoint| (layout.x.pixel(point.x), layout.y.pixel(point.mean));
        for point in &shown {
            let Some(std) = point.std.filter(|std| std.is_finite() && *std > 0.0) else { continue };
            let x = layout.x.pixel(point.x);
            let high = layout.y.pixel(point.mean + std);
            // On a log axis the lower end may lie below every positive number.
            let low = if self.y_scale.shows(point.mean - std) {
                layout.y.pixel(point.mean - std)
            } else {
                layout.bottom
            };
            canvas.line((x, high), (x, low), color(index), 1);
            for end in [high, low] {
                canvas.line((x - 4, end), (x + 4, end), color(index), 1);
            }
        }
        let path: Vec<_> = shown.iter().map(|point| place(point)).collect();
        if path.len() > 1 {
            canvas.path(&path, color(index), 2);
        }
        if path.len() <= MARKERS {
            for at in path {
                canvas.marker(at, index);
            }
        }
    }

    fn reference(
        &self,
        canvas: &mut Canvas,
        layout: &Layout,
        reference: &ReferenceLine,
        index: usize,
    ) {
        match &reference.value {
            ReferenceValue::Level(level) if self.y_scale.shows(*level) => {
                let y = layout.y.pixel(*level);
                canvas.dashes((layout.left, y), (layout.right, y), color(index), 2);
            }
            ReferenceValue::Level(_) => {}
            ReferenceValue::Points(points) => {
                let shown = points.iter().filter(|(x, y)| self.shows(*x, *y));
                let shown: Vec<_> =
                    shown.map(|(x, y)| (layout.x.pixel(*x), layout.y.pixel(*y))).collect();
                for pair in shown.windows(2) {
                    canvas.dashes(pair[0], pair[1], color(index), 2);
                }
                shown.into_iter().for_each(|at| canvas.marker(at, index));
            }
        }
    }

    fn legend(&self, canvas: &mut Canvas, layout: &Layout) {
        let left = layout.right + 18;
        let mut y = layout.top + 8;
        let names = self.series.iter().map(|series| (&series.name, false));
        let names = names.chain(self.references.iter().map(|reference| (&reference.name, true)));
        let is_level = |index: usize| {
            let reference =
                index.checked_sub(self.series.len()).and_then(|index| self.references.get(index));
            reference.is_some_and(|reference| matches!(reference.value, ReferenceValue::Level(_)))
        };
        for (index, (name, dashed)) in names.enumerate() {
            if dashed {
                canvas.dashes((left, y), (left + 32, y), color(index), 2);
            } else {
                canvas.line((left, y), (left + 32, y), color(index), 2);
            }
            if !is_level(index) {
                canvas.marker((left + 16, y), index);
            }
            for line in wrap(name, TICK, LEGEND_WIDTH - 70) {
                canvas.text(&line, (left + 40, y), TICK, Align::Left);
                y += 17;
            }
            y += 6;
        }
    }
}

/// Where everything stands, in pixels.
struct Layout {
    title: Vec<String>,
    top: i32,
    bottom: i32,
    left: i32,
    right: i32,
    x: Axis,
    y: Axis,
}
