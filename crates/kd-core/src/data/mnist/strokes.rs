//! How each digit is written: pen strokes as control points in a unit box, x to the right, y down.
//!
//! A stroke is the Catmull-Rom curve through its points. Where a digit has a corner, one stroke
//! ends and the next begins at the same point; the generator moves equal points equally, so such
//! joints stay closed.

/// A control point.
pub(crate) type Point = (f32, f32);

/// One way to write a digit.
pub(crate) struct Style {
    /// How often, relative to the digit's other styles.
    pub weight: u32,
    /// Width of the digit when it is 1 high.
    pub width: f32,
    /// The pen strokes.
    pub strokes: &'static [&'static [Point]],
}

/// The styles of digit `class`.
pub(crate) fn styles(class: usize) -> &'static [Style] {
    DIGITS[class]
}

const DIGITS: [&[Style]; 10] = [ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE];

const ZERO: &[Style] = &[
    Style {
        weight: 3,
        width: 0.72,
        strokes: &[&[
            (0.56, 0.03),
            (0.25, 0.13),
            (0.08, 0.5),
            (0.24, 0.88),
            (0.52, 0.97),
            (0.8, 0.86),
            (0.92, 0.5),
            (0.78, 0.14),
            (0.5, 0.02),
        ]],
    },
    // Begun and ended with a small overlap at the upper right.
    Style {
        weight: 1,
        width: 0.66,
        strokes: &[&[
            (0.82, 0.1),
            (0.42, 0.04),
            (0.1, 0.42),
            (0.2, 0.86),
            (0.52, 0.97),
            (0.86, 0.74),
            (0.88, 0.3),
            (0.62, 0.06),
            (0.4, 0.14),
        ]],
    },
];

const ONE: &[Style] = &[
    Style { weight: 4, width: 0.16, strokes: &[&[(0.55, 0.02), (0.5, 0.5), (0.45, 0.98)]] },
    // With an upstroke, which leans towards a 7.
    Style {
        weight: 3,
        width: 0.34,
        strokes: &[
            &[(0.1, 0.3), (0.38, 0.18), (0.68, 0.03)],
            &[(0.68, 0.03), (0.64, 0.5), (0.6, 0.98)],
        ],
    },
    // With upstroke and base, which leans towards a 2.
    Style {
        weight: 1,
        width: 0.5,
        strokes: &[
            &[(0.2, 0.22), (0.36, 0.14), (0.54, 0.03)],
            &[(0.54, 0.03), (0.52, 0.5), (0.5, 0.95)],
            &[(0.12, 0.97), (0.5, 0.95), (0.9, 0.96)],
        ],
    },
];

const TWO: &[Style] = &[
    Style {
        weight: 3,
        width: 0.74,
        strokes: &[
            &[
                (0.1, 0.24),
                (0.28, 0.07),
                (0.55, 0.02),
                (0.82, 0.18),
                (0.74, 0.46),
                (0.44, 0.74),
                (0.1, 0.96),
            ],
            &[(0.1, 0.96), (0.5, 0.93), (0.92, 0.95)],
        ],
    },
    // With a loop at the lower left.
    Style {
        weight: 2,
        width: 0.78,
        strokes: &[&[
            (0.12, 0.2),
            (0.42, 0.02),
            (0.76, 0.14),
            (0.7, 0.46),
            (0.42, 0.78),
            (0.18, 0.95),
            (0.06, 0.86),
            (0.2, 0.74),
            (0.52, 0.88),
            (0.94, 0.93),
        ]],
    },
];

const THREE: &[Style] = &[
    Style {
        weight: 3,
        width: 0.66,
        strokes: &[
            &[(0.12, 0.14), (0.42, 0.02), (0.78, 0.14), (0.72, 0.36), (0.38, 0.47)],
            &[(0.38, 0.47), (0.8, 0.58), (0.88, 0.8), (0.54, 0.98), (0.2, 0.94), (0.06, 0.82)],
        ],
    },
    // With a flat top.
    Style {
        weight: 1,
        width: 0.66,
        strokes: &[
            &[(0.12, 0.06), (0.45, 0.05), (0.82, 0.05)],
            &[(0.82, 0.05), (0.6, 0.24), (0.4, 0.42)],
            &[(0.4, 0.42), (0.78, 0.52), (0.86, 0.76), (0.56, 0.97), (0.1, 0.9)],
        ],
    },
    // Nearly closed on the left, which leans towards an 8.
    Style {
        weight: 1,
        width: 0.64,
        strokes: &[
            &[(0.16, 0.24), (0.24, 0.07), (0.52, 0.02), (0.78, 0.15), (0.7, 0.36), (0.42, 0.48)],
            &[(0.42, 0.48), (0.8, 0.62), (0.82, 0.84), (0.5, 0.98), (0.2, 0.9), (0.14, 0.76)],
        ],
    },
];

const FOUR: &[Style] = &[
    // Open at the top.
    Style {
        weight: 3,
        width: 0.74,
        strokes: &[
            &[(0.22, 0.04), (0.14, 0.32), (0.14, 0.54)],
            &[(0.14, 0.54), (0.5, 0.56), (0.92, 0.52)],
            &[(0.8, 0.06), (0.74, 0.5), (0.68, 0.98)],
        ],
    },
    // A closed triangle.
    Style {
        weight: 1,
        width: 0.78,
        strokes: &[
            &[(0.64, 0.03), (0.36, 0.34), (0.06, 0.64)],
            &[(0.06, 0.64), (0.5, 0.63), (0.94, 0.64)],
            &[(0.64, 0.03), (0.65, 0.5), (0.64, 0.98)],
        ],
    },
    // Rounded and nearly closed, which leans towards a 9.
    Style {
        weight: 1,
        width: 0.66,
        strokes: &[
            &[(0.32, 0.04), (0.12, 0.22), (0.1, 0.44), (0.36, 0.54), (0.78, 0.44)],
            &[(0.84, 0.06), (0.78, 0.44), (0.7, 0.98)],
        ],
    },
];

const FIVE: &[Style] = &[
    Style {
        weight: 3,
        width: 0.68,
        strokes: &[
            &[(0.86, 0.04), (0.58, 0.05), (0.28, 0.06)],
            &[(0.28, 0.06), (0.24, 0.26), (0.2, 0.45)],
            &[(0.2, 0.45), (0.54, 0.38), (0.84, 0.56), (0.82, 0.82), (0.5, 0.98), (0.1, 0.9)],
        ],
    },
    // In one sweep, which leans towards a 3 or a 6.
    Style {
        weight: 2,
        width: 0.68,
        strokes: &[&[
            (0.9, 0.07),
            (0.56, 0.04),
            (0.3, 0.12),
            (0.24, 0.32),
            (0.46, 0.45),
            (0.76, 0.56),
            (0.8, 0.78),
            (0.52, 0.97),
            (0.12, 0.88),
        ]],
    },
];

const SIX: &[Style] = &[
    Style {
        weight: 3,
        width: 0.62,
        strokes: &[&[
            (0.7, 0.02),
            (0.38, 0.2),
            (0.16, 0.52),
            (0.16, 0.82),
            (0.46, 0.98),
            (0.8, 0.86),
            (0.82, 0.64),
            (0.54, 0.54),
            (0.28, 0.64),
            (0.18, 0.8),
        ]],
    },
    // A straight back and a low loop, which leans towards a 0.
    Style {
        weight: 1,
        width: 0.66,
        strokes: &[&[
            (0.46, 0.02),
            (0.2, 0.3),
            (0.08, 0.66),
            (0.3, 0.96),
            (0.7, 0.94),
            (0.92, 0.7),
            (0.66, 0.5),
            (0.3, 0.58),
            (0.12, 0.76),
        ]],
    },
];

const SEVEN: &[Style] = &[
    Style {
        weight: 3,
        width: 0.66,
        strokes: &[
            &[(0.06, 0.1), (0.46, 0.06), (0.9, 0.05)],
            &[(0.9, 0.05), (0.64, 0.46), (0.42, 0.98)],
        ],
    },
    // With a bar.
    Style {
        weight: 1,
        width: 0.7,
        strokes: &[
            &[(0.06, 0.08), (0.46, 0.05), (0.88, 0.05)],
            &[(0.88, 0.05), (0.62, 0.46), (0.42, 0.98)],
            &[(0.3, 0.54), (0.56, 0.51), (0.84, 0.48)],
        ],
    },
    // With a short, drooping top, which leans towards a 1 or a 9.
    Style {
        weight: 1,
        width: 0.58,
        strokes: &[
            &[(0.06, 0.22), (0.1, 0.08), (0.46, 0.08), (0.86, 0.05)],
            &[(0.86, 0.05), (0.74, 0.46), (0.6, 0.98)],
        ],
    },
];

const EIGHT: &[Style] = &[
    Style {
        weight: 3,
        width: 0.62,
        strokes: &[&[
            (0.78, 0.16),
            (0.5, 0.02),
            (0.2, 0.14),
            (0.28, 0.36),
            (0.56, 0.5),
            (0.84, 0.72),
            (0.7, 0.94),
            (0.4, 0.98),
            (0.14, 0.82),
            (0.26, 0.62),
            (0.54, 0.46),
            (0.76, 0.3),
            (0.74, 0.12),
        ]],
    },
    // Two rings.
    Style {
        weight: 1,
        width: 0.6,
        strokes: &[
            &[
                (0.52, 0.46),
                (0.22, 0.34),
                (0.24, 0.1),
                (0.54, 0.02),
                (0.78, 0.14),
                (0.76, 0.36),
                (0.5, 0.46),
            ],
            &[
                (0.5, 0.46),
                (0.16, 0.62),
                (0.18, 0.9),
                (0.52, 0.98),
                (0.86, 0.86),
                (0.82, 0.6),
                (0.52, 0.46),
            ],
        ],
    },
];

const NINE: &[Style] = &[
    Style {
        weight: 3,
        width: 0.58,
        strokes: &[
            &[
                (0.82, 0.18),
                (0.54, 0.02),
                (0.2, 0.12),
                (0.14, 0.36),
                (0.42, 0.5),
                (0.74, 0.38),
                (0.82, 0.18),
            ],
            &[(0.82, 0.18), (0.8, 0.55), (0.72, 0.98)],
        ],
    },
    // With a curved tail.
    Style {
        weight: 2,
        width: 0.6,
        strokes: &[&[
            (0.8, 0.14),
            (0.5, 0.02),
            (0.18, 0.16),
            (0.2, 0.4),
            (0.5, 0.47),
            (0.78, 0.3),
            (0.84, 0.16),
            (0.86, 0.5),
            (0.72, 0.84),
            (0.42, 0.98),
            (0.18, 0.9),
        ]],
    },
];
