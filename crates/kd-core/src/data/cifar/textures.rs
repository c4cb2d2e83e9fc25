//! Patterns that fill the generated shapes.

use crate::data::counter::draw;

/// A kind of pattern: with the family of the shape, the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texture {
    /// Parallel stripes.
    Stripes,
    /// A chequerboard.
    Checks,
    /// Round dots on a square lattice.
    Dots,
    /// Blots without order.
    Blots,
}

/// All of them, in the order of their labels.
pub(crate) const TEXTURES: [Texture; 4] =
    [Texture::Stripes, Texture::Checks, Texture::Dots, Texture::Blots];

impl Texture {
    /// How much of the second colour is at `(u, v)`, in `[0, 1]`. One unit is one period of the
    /// pattern; `sharp` is the slope of its edges for each unit, and `key` decides where blots
    /// are.
    pub(crate) fn at(self, u: f32, v: f32, sharp: f32, key: u64) -> f32 {
        let edge = |height: f32| (0.5 + sharp * height).clamp(0.0, 1.0);
        match self {
            Self::Stripes => edge(wave(u)),
            // The waves' product is at most 1/16.
            Self::Checks => edge(4.0 * wave(u) * wave(v)),
            Self::Dots => {
                let (x, y) = (u - u.floor() - 0.5, v - v.floor() - 0.5);
                edge(0.36 - (x * x + y * y).sqrt())
            }
            Self::Blots => edge(0.5 * (noise(1.7 * u, 1.7 * v, key) - 0.5)),
        }
    }
}

/// A triangle wave of period 1 between -1/4 and 1/4.
fn wave(u: f32) -> f32 {
    (u - u.floor() - 0.5).abs() - 0.25
}

/// Random heights in `[0, 1)` at whole coordinates, with smooth ground between them.
pub(crate) fn noise(x: f32, y: f32, key: u64) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (smooth(x - x0), smooth(y - y0));
    // Coordinates stay within some hundreds: the casts are exact.
    let height = |dx: i64, dy: i64| {
        (draw(key, (x0 as i64 + dx) as u64, (y0 as i64 + dy) as u64) >> 40) as f32
            / (1u32 << 24) as f32
    };
    let upper = height(0, 0) + fx * (height(1, 0) - height(0, 0));
    let lower = height(0, 1) + fx * (height(1, 1) - height(0, 1));
    upper + fy * (lower - upper)
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
