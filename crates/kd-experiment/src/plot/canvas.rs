//! Drawing on an SVG in pixels: the few shapes that the plots need, as text.
//!
//! An SVG is rendered with whatever sans-serif the reader has: text widths are estimated
//! generously.

use std::fmt::{self, Write as _};

/// A point in pixels from the upper left corner.
pub(crate) type Pixel = (i32, i32);

/// Red, green and blue; written as `#RRGGBB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Color(pub u8, pub u8, pub u8);

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.0, self.1, self.2)
    }
}

/// Nearly black, for text and axes.
pub(crate) const INK: Color = Color(34, 34, 34);
/// For lines that stay in the background.
pub(crate) const GRID: Color = Color(225, 225, 225);

/// Colours that stay apart for people with any common colour blindness (Okabe and Ito 2008), yellow
/// left out: it vanishes on white.
pub(crate) const PALETTE: [Color; 7] = [
    Color(0, 114, 178),
    Color(213, 94, 0),
    Color(0, 158, 115),
    Color(204, 121, 167),
    Color(230, 159, 0),
    Color(86, 180, 233),
    Color(34, 34, 34),
];

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// An SVG in the making.
pub(crate) struct Canvas {
    svg: String,
}

impl Canvas {
    /// A white canvas.
    pub fn new((width, height): Pixel) -> Self {
        let mut canvas = Self { svg: String::new() };
        canvas.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">"
        ));
        canvas.rect((0, 0), (width, height), Color(255, 255, 255));
        canvas
    }

    fn push(&mut self, element: fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.svg, "{element}");
    }

    pub fn line(&mut self, (x1, y1): Pixel, (x2, y2): Pixel, color: Color, width: u32) {
        self.push(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\" \
             stroke-width=\"{width}\"/>"
        ));
    }

    pub fn path(&mut self, points: &[Pixel], color: Color, width: u32) {
        let points = joined(points);
        self.push(format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" \
             stroke-width=\"{width}\"/>"
        ));
    }

    /// A straight line of dashes.
    pub fn dashes(&mut self, (x1, y1): Pixel, (x2, y2): Pixel, color: Color, width: u32) {
        self.push(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\" \
             stroke-width=\"{width}\" stroke-dasharray=\"7 5\"/>"
        ));
    }

    pub fn rect(&mut self, (x, y): Pixel, (right, bottom): Pixel, color: Color) {
        let (width, height) = (right - x, bottom - y);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\"/>"
        ));
    }

    /// A marker of the `index`-th series: the shape changes with the colour, so that series stay
    /// apart in grey too.
    pub fn marker(&mut self, (x, y): Pixel, index: usize) {
        let color = color(index);
        match index % 4 {
            0 => {
                self.push(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{color}\"/>"))
            }
            1 => self.rect((x - 4, y - 4), (x + 4, y + 4), color),
            2 => self.polygon(&[(x, y - 5), (x + 5, y + 4), (x - 5, y + 4)], color),
            _ => self.polygon(&[(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)], color),
        }
    }

    fn polygon(&mut self, points: &[Pixel], color: Color) {
        let points = joined(points);
        self.push(format_args!("<polygon points=\"{points}\" fill=\"{color}\"/>"));
    }

    /// Text of a height in pixels, centred on its point vertically.
    pub fn text(&mut self, text: &str, at: Pixel, size: u32, align: Align) {
        self.rotated(text, at, size, align, format_args!(""));
    }

    /// Text that reads upwards.
    pub fn text_upwards(&mut self, text: &str, (x, y): Pixel, size: u32) {
        let turn = format_args!(" transform=\"rotate(270, {x}, {y})\"");
        self.rotated(text, (x, y), size, Align::Middle, turn);
    }

    fn rotated(
        &mut self,
        text: &str,
        (x, y): Pixel,
        size: u32,
        align: Align,
        turn: fmt::Arguments,
    ) {
        let anchor = match align {
            Align::Left => "start",
            Align::Middle => "middle",
            Align::Right => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.push(format_args!(
            "<text x=\"{x}\" y=\"{y}\" dy=\"0.5ex\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             fill=\"{INK}\"{turn}>{text}</text>"
        ));
    }

    /// The finished SVG.
    pub fn finish(self) -> String {
        self.svg + "</svg>\n"
    }
}

fn joined(points: &[Pixel]) -> String {
    points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
}

/// The colour of the `index`-th series.
pub(crate) fn color(index: usize) -> Color {
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
