//! Strokes to pixels.

use super::set::SIDE;
use super::strokes::Point;

/// An image being drawn: coverage of each pixel in `[0, 1]`.
pub(crate) struct Canvas {
    /// Row-major coverage.
    pub ink: [f32; SIDE * SIDE],
}

impl Canvas {
    /// No ink.
    pub(crate) const fn new() -> Self {
        Self { ink: [0.0; SIDE * SIDE] }
    }

    /// Draws a polyline of round pen strokes. `pen` gives the radius in pixels at each point;
    /// coordinates are pixels, the centre of the first pixel at (0, 0). A pixel's coverage is
    /// `clamp(radius + 0.5 − distance to the line, 0, 1)`, and the largest of all lines.
    pub(crate) fn polyline(&mut self, points: &[Point], pen: &[f32]) {
        for (ends, radii) in points.windows(2).zip(pen.windows(2)) {
            self.segment(ends[0], ends[1], radii[0], radii[1]);
        }
    }

    fn segment(&mut self, a: Point, b: Point, ra: f32, rb: f32) {
        let reach = ra.max(rb) + 0.5;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length2 = (dx * dx + dy * dy).max(1e-12);
        let (x0, x1) = span(a.0.min(b.0) - reach, a.0.max(b.0) + reach);
        let (y0, y1) = span(a.1.min(b.1) - reach, a.1.max(b.1) + reach);
        for y in y0..y1 {
            for x in x0..x1 {
                let (px, py) = (x as f32 - a.0, y as f32 - a.1);
                let t = ((px * dx + py * dy) / length2).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let distance = (ex * ex + ey * ey).sqrt();
                let coverage = (ra + t * (rb - ra) + 0.5 - distance).clamp(0.0, 1.0);
                let ink = &mut self.ink[y * SIDE + x];
                *ink = ink.max(coverage);
            }
        }
    }
}

/// The pixels between two coordinates, cut to the image. `as` saturates, which is what is wanted
/// outside of it.
fn span(low: f32, high: f32) -> (usize, usize) {
    (low.ceil() as usize, (high.floor() + 1.0).clamp(0.0, SIDE as f32) as usize)
}

/// Samples the Catmull-Rom curve through `points`, `steps` samples for each stretch and the last
/// point.
pub(crate) fn curve(points: &[Point], steps: usize, out: &mut Vec<Point>) {
    let at = |i: isize| points[i.clamp(0, points.len() as isize - 1) as usize];
    for i in 0..points.len() as isize - 1 {
        let (p0, p1, p2, p3) = (at(i - 1), at(i), at(i + 1), at(i + 2));
        for s in 0..steps {
            let t = s as f32 / steps as f32;
            out.push((spline(p0.0, p1.0, p2.0, p3.0, t), spline(p0.1, p1.1, p2.1, p3.1, t)));
        }
    }
    out.extend(points.last());
}

fn spline(p0: f32, p1: f32, p2: f32, p3: f32, t: f32) -> f32 {
    let (t2, t3) = (t * t, t * t * t);
    0.5 * (2.0 * p1
        + (p2 - p0) * t
        + (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3) * t2
        + (3.0 * p1 - p0 - 3.0 * p2 + p3) * t3)
}
