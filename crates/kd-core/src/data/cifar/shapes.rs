//! Outlines of the generated shapes.

/// A family of shapes: the group of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A disc, round or oval.
    Disc,
    /// A triangle of equal sides, or a flatter one.
    Triangle,
    /// A square or an oblong.
    Rectangle,
    /// Two crossed bars.
    Cross,
    /// A disc with a hole.
    Ring,
}

/// All of them, in the order of their labels.
pub(crate) const FAMILIES: [Family; 5] =
    [Family::Disc, Family::Triangle, Family::Rectangle, Family::Cross, Family::Ring];

impl Family {
    /// How far the point `(x, y)` lies outside of the shape of size about 1 around (0, 0), or
    /// inside where it is negative: exact or a little too small. `flat` in `(0, 1]` squeezes
    /// the shape in y.
    pub(crate) fn distance(self, x: f32, y: f32, flat: f32) -> f32 {
        let y = y / flat;
        let distance = match self {
            Self::Disc => (x * x + y * y).sqrt() - 1.0,
            Self::Triangle => {
                // Three half-planes; 0.866 025 4 is half the root of 3.
                let side = 0.866_025_4 * x.abs() - 0.5 * y;
                side.max(y) - 0.62
            }
            Self::Rectangle => x.abs().max(y.abs()) - 0.88,
            Self::Cross => {
                let (a, b) = (x.abs(), y.abs());
                let (long, wide) = (1.12, 0.42);
                (a - long).max(b - wide).min((b - long).max(a - wide))
            }
            Self::Ring => ((x * x + y * y).sqrt() - 0.8).abs() - 0.3,
        };
        distance * flat
    }
}
