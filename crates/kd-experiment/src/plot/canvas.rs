//! Drawing on an SVG in pixels: the few shapes that the plots need, on plotters' SVG backend.
//!
//! The layout is ours rather than plotters' chart builder: that one measures text with a font file,
//! and an SVG is rendered with whatever sans-serif the reader has. Text widths are estimated
//! generously instead.

use plotters::prelude::{Color, DrawingBackend, IntoFont, RGBColor, SVGBackend, ShapeStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, TextStyle};

use crate::error::Error;

/// A point in pixels from the upper left corner.
pub(crate) type Pixel = (i32, i32);

/// Nearly black, for text and axes.
pub(crate) const INK: RGBColor = RGBColor(34, 34, 34);
/// For lines that stay in the background.
pub(crate) const GRID: RGBColor = RGBColor(225, 225, 225);

/// Colours that stay apart for people with any common colour blindness (Okabe and Ito 2008), yellow
/// left out: it vanishes on white.
pub(crate) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(34, 34, 34),
];

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// An SVG in the making.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

impl<'a> Canvas<'a> {
    /// A white canvas that writes into `text`.
    pub fn new(text: &'a mut String, size: (u32, u32)) -> Result<Self, Error> {
        let mut canvas = Self { backend: SVGBackend::with_string(text, size) };
        canvas.rect((0, 0), (size.0 as i32, size.1 as i32), RGBColor(255, 255, 255))?;
        Ok(canvas)
    }

    pub fn line(
        &mut self,
        from: Pixel,
        to: Pixel,
        color: RGBColor,
        width: u32,
    ) -> Result<(), Error> {
        self.backend.draw_line(from, to, &stroke(color, width)).map_err(failed)
    }

    pub fn path(&mut self, points: &[Pixel], color: RGBColor, width: u32) -> Result<(), Error> {
        self.backend.draw_path(points.iter().copied(), &stroke(color, width)).map_err(failed)
    }

    /// A horizontal or slanted line of dashes.
    pub fn dashes(
        &mut self,
        from: Pixel,
        to: Pixel,
        color: RGBColor,
        width: u32,
    ) -> Result<(), Error> {
        const DASH: f64 = 7.0;
        const GAP: f64 = 5.0;
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = dx.hypot(dy);
        let at = |distance: f64| {
            let part = (distance / length).min(1.0);
            (from.0 + (dx * part).round() as i32, from.1 + (dy * part).round() as i32)
        };
        let mut start = 0.0;
        while start < length {
            self.line(at(start), at(start + DASH), color, width)?;
            start += DASH + GAP;
        }
        Ok(())
    }

    pub fn rect(&mut self, from: Pixel, to: Pixel, color: RGBColor) -> Result<(), Error> {
        self.backend.draw_rect(from, to, &color.filled(), true).map_err(failed)
    }

    /// A marker of the `index`-th series: the shape changes with the colour, so that series stay
    /// apart in grey too.
    pub fn marker(&mut self, (x, y): Pixel, index: usize) -> Result<(), Error> {
        let color = color(index);
        let style = color.filled();
        match index % 4 {
            0 => self.backend.draw_circle((x, y), 4, &style, true),
            1 => self.backend.draw_rect((x - 4, y - 4), (x + 4, y + 4), &style, true),
            2 => self.backend.fill_polygon([(x, y - 5), (x + 5, y + 4), (x - 5, y + 4)], &style),
            _ => {
                self.backend.fill_polygon([(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)], &style)
            }
        }
        .map_err(failed)
    }

    /// Text of a height in pixels, centred on its point vertically.
    pub fn text(&mut self, text: &str, at: Pixel, size: u32, align: Align) -> Result<(), Error> {
        self.styled(text, at, size, align, FontTransform::None)
    }

    /// Text that reads upwards.
    pub fn text_upwards(&mut self, text: &str, at: Pixel, size: u32) -> Result<(), Error> {
        self.styled(text, at, size, Align::Middle, FontTransform::Rotate270)
    }

    fn styled(
        &mut self,
        text: &str,
        at: Pixel,
        size: u32,
        align: Align,
        transform: FontTransform,
    ) -> Result<(), Error> {
        let h_pos = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        // plotters divides the size by 1.24 on its way into the SVG.
        let font = ("sans-serif", f64::from(size) * 1.24).into_font().transform(transform);
        let style = TextStyle::from(font).color(&INK).pos(Pos::new(h_pos, VPos::Center));
        self.backend.draw_text(text, &style, at).map_err(failed)
    }

    /// Closes the SVG.
    pub fn finish(mut self) -> Result<(), Error> {
        self.backend.present().map_err(failed)
    }
}

/// The colour of the `index`-th series.
pub(crate) fn color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// A generous estimate of a text's width in pixels.
pub(crate) fn text_width(text: &str, size: u32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.58).ceil() as i32
}

/// Breaks a text into lines of at most `width` pixels, between words.
pub(crate) fn wrap(text: &str, size: u32, width: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

fn stroke(color: RGBColor, width: u32) -> ShapeStyle {
    color.stroke_width(width)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failure(format!("cannot draw: {error}"))
}
