//! Generated digits for machines without a network: handwriting-like, of MNIST's form, and not
//! MNIST.
//!
//! A digit starts as one of a few ways to write its class (in `strokes.rs`) and is then bent,
//! slanted, stretched, thickened, moved and smeared at random. Image `i` of a set is a function of
//! `(seed, set, i)` alone and is computed without functions whose last bits differ
//! between platforms, so a seed names the same bytes everywhere, whatever the number of threads.

use rayon::prelude::*;

use super::raster::{Canvas, curve};
use super::set::{CLASSES, Mnist, SIDE};
use super::strokes::{Point, Style, styles};
use crate::data::LabelledImages;
use crate::data::counter::{Counter, draw};

const TRAIN: u64 = 0x7472_6169;
const TEST: u64 = 0x7465_7374;
const POINT: u64 = 0x706F_696E;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// The seed; the same seed gives the same images.
    pub seed: u64,
}

impl Default for Embedded {
    /// 10,000 + 10,000 images of seed 0: a training set for minutes, and a test set as large as
    /// MNIST's, so that errors compare.
    fn default() -> Self {
        Self { train: 10_000, test: 10_000, seed: 0 }
    }
}

/// Generates both sets. Image `i` is of class `i mod 10`, so each prefix is as balanced as it can
/// be; the sets share no random numbers.
pub fn generate(what: &Embedded) -> Mnist {
    Mnist { train: set(what.seed, TRAIN, what.train), test: set(what.seed, TEST, what.test) }
}

fn set(seed: u64, purpose: u64, n: usize) -> LabelledImages {
    let labels = (0..n).map(|i| (i % CLASSES) as u8).collect();
    let mut images = vec![0; n * SIDE * SIDE];
    images
        .par_chunks_exact_mut(SIDE * SIDE)
        .enumerate()
        .for_each(|(i, out)| write(i % CLASSES, draw(seed, purpose, i as u64), out));
    LabelledImages::grey(images, labels, SIDE, SIDE, CLASSES)
}

/// Draws one digit of `class`; `key` decides everything else.
fn write(class: usize, key: u64, out: &mut [u8]) {
    let mut random = Counter::new(key, 0, 0);
    let style = pick(styles(class), &mut random);
    let handwriting = Handwriting::new(&mut random, key);
    let mut strokes: Vec<Vec<Point>> =
        style.strokes.iter().map(|stroke| handwriting.distort(stroke, style.width)).collect();
    for stroke in &mut strokes {
        hook(stroke, &mut random);
    }
    fit(&mut strokes, &mut random);

    let mut canvas = Canvas::new();
    let radius = 0.95 + 0.4 * random.gauss();
    let radius = radius.clamp(0.45, 2.0);
    let mut line = Vec::new();
    for stroke in &strokes {
        line.clear();
        curve(stroke, 5, &mut line);
        // The pen's pressure drifts from one end of the stroke to the other.
        let (begin, end) = (1.0 + 0.15 * random.gauss(), 1.0 + 0.2 * random.gauss());
        let last = (line.len() - 1) as f32;
        let pen: Vec<f32> = (0..line.len())
            .map(|i| radius * (begin + (end - begin) * i as f32 / last).clamp(0.5, 1.6))
            .collect();
        canvas.polyline(&line, &pen);
    }
    let gain = random.between(0.85, 1.25);
    for (out, &ink) in out.iter_mut().zip(&canvas.ink) {
        // Paper stays clean, as in MNIST; ink is uneven.
        let uneven = if ink > 0.0 { 1.0 + 0.08 * random.gauss() } else { 1.0 };
        *out = (255.0 * ink * gain * uneven).clamp(0.0, 255.0) as u8;
    }
}

fn pick(styles: &'static [Style], random: &mut Counter) -> &'static Style {
    let mut ticket = random.below(styles.iter().map(|s| u64::from(s.weight)).sum());
    for style in styles {
        match ticket.checked_sub(u64::from(style.weight)) {
            Some(rest) => ticket = rest,
            None => return style,
        }
    }
    // Not reached: the ticket is less than the sum of the weights.
    &styles[0]
}

/// How one digit departs from its model: one random map of the plane, and a tremor for each control
/// point.
struct Handwriting {
    key: u64,
    tremor: f32,
    /// Matrix of slant, rotation and stretch.
    linear: [f32; 4],
    /// Coefficients of x², xy, y² and y³ for both coordinates.
    warp: [[f32; 4]; 2],
}

impl Handwriting {
    fn new(random: &mut Counter, key: u64) -> Self {
        // Writers differ in care: most are steady, some are not.
        let tremor = 0.016 + 0.03 * random.unit() * random.unit();
        // Most hands lean to the right.
        let slant = 0.12 + 0.17 * random.gauss();
        // A rotation by a small angle a as two shears (and back): exact enough below 0.4, and
        // without sine and cosine.
        let angle = 0.08 * random.gauss();
        let width = (1.0 + 0.13 * random.gauss()).clamp(0.6, 1.5);
        let linear = [width, angle - slant, -angle * width, 1.0];
        let mut coefficient = || 0.13 * random.gauss();
        let warp = [
            [coefficient(), coefficient(), coefficient(), coefficient()],
            [coefficient(), coefficient(), coefficient(), coefficient()],
        ];
        Self { key, tremor, linear, warp }
    }

    /// The stroke's control points as this handwriting has them, around (0, 0) and about 1 high.
    fn distort(&self, stroke: &[Point], width: f32) -> Vec<Point> {
        stroke
            .iter()
            .map(|&(x, y)| {
                // Drawn from the point's own coordinates, so that strokes that meet in a point
                // still do.
                let mut tremor = Counter::new(
                    self.key,
                    POINT,
                    u64::from(x.to_bits()) << 32 | u64::from(y.to_bits()),
                );
                let x = x - 0.5 + self.tremor * tremor.gauss();
                let y = y - 0.5 + self.tremor * tremor.gauss();
                let terms = [x * x, x * y, y * y, 2.0 * y * y * y];
                let warped = |base: f32, c: &[f32; 4]| {
                    base + terms.iter().zip(c).map(|(t, c)| t * c).sum::<f32>()
                };
                let (x, y) = (warped(x, &self.warp[0]) * width, warped(y, &self.warp[1]));
                (self.linear[0] * x + self.linear[1] * y, self.linear[2] * x + self.linear[3] * y)
            })
            .collect()
    }
}

/// Sometimes lengthens, shortens or hooks the free-running ends of a stroke, as a pen that lands
/// early or lifts late.
fn hook(stroke: &mut Vec<Point>, random: &mut Counter) {
    for at_end in [false, true] {
        let chance = random.unit();
        let (reach, turn) = (0.1 * random.gauss(), random.gauss());
        let n = stroke.len();
        let (tip, next) =
            if at_end { (stroke[n - 1], stroke[n - 2]) } else { (stroke[0], stroke[1]) };
        let (dx, dy) = (tip.0 - next.0, tip.1 - next.1);
        if chance < 0.25 {
            let moved = (tip.0 + reach * dx * 3.0, tip.1 + reach * dy * 3.0);
            stroke[if at_end { n - 1 } else { 0 }] = moved;
        } else if chance < 0.37 {
            // A hook: a further point off to one side.
            let point =
                (tip.0 + 0.15 * dx - 0.25 * turn * dy, tip.1 + 0.15 * dy + 0.25 * turn * dx);
            stroke.insert(if at_end { n } else { 0 }, point);
        }
    }
}

/// Scales to MNIST's 20-pixel box, give or take, and puts it near the centre of the image.
fn fit(strokes: &mut [Vec<Point>], random: &mut Counter) {
    let points = || strokes.iter().flatten();
    let (left, right) = points().fold((f32::MAX, f32::MIN), |(l, r), p| (l.min(p.0), r.max(p.0)));
    let (top, bottom) = points().fold((f32::MAX, f32::MIN), |(t, b), p| (t.min(p.1), b.max(p.1)));
    let scale = random.between(16.0, 20.0) / (right - left).max(bottom - top);
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let (x, y) = (middle + 0.7 * random.gauss(), middle + 0.7 * random.gauss());
    for point in strokes.iter_mut().flatten() {
        *point = (
            x + scale * (point.0 - (left + right) / 2.0),
            y + scale * (point.1 - (top + bottom) / 2.0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(seed: u64) -> Mnist {
        generate(&Embedded { train: 2000, test: 1000, seed })
    }

    #[test]
    fn a_seed_names_the_same_bytes_on_every_machine() {
        // Our own pin: no other program draws these. A change orphans every result on them.
        assert_eq!(small(0).content_hash(), "619ef1c26cc54310");
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let one =
            rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| small(3));
        let four =
            rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap().install(|| small(3));
        assert_eq!(one, four);
    }

    #[test]
    fn a_longer_set_begins_with_the_shorter_one() {
        let long = generate(&Embedded { train: 50, test: 0, seed: 9 }).train;
        let short = generate(&Embedded { train: 20, test: 0, seed: 9 }).train;
        assert_eq!(long.images[..20 * SIDE * SIDE], short.images);
    }

    #[test]
    fn seeds_and_sets_differ() {
        let a = generate(&Embedded { train: 10, test: 10, seed: 1 });
        assert_ne!(a.train.images, a.test.images);
        assert_ne!(a.train, generate(&Embedded { train: 10, test: 10, seed: 2 }).train);
    }

    #[test]
    fn classes_are_balanced_and_images_are_inked_inside_a_clean_border() {
        let set = small(0).train;
        assert_eq!(set.class_counts(), [200; 10]);
        for image in set.images.chunks_exact(SIDE * SIDE) {
            assert!(image.iter().filter(|&&p| p > 128).count() >= 8);
        }
        let corners = set
            .images
            .chunks_exact(SIDE * SIDE)
            .filter(|image| image[0] > 0 || image[SIDE * SIDE - 1] > 0)
            .count();
        assert!(corners < 20, "{corners} of 2000 images reach a corner");
    }

    #[test]
    fn the_nearest_class_mean_is_right_more_often_than_chance_and_not_always() {
        let Mnist { train, test } = small(0);
        let mut means = vec![[0.0f32; SIDE * SIDE]; CLASSES];
        for (image, &label) in train.images.chunks_exact(SIDE * SIDE).zip(&train.labels) {
            for (mean, &pixel) in means[usize::from(label)].iter_mut().zip(image) {
                *mean += f32::from(pixel) / 200.0;
            }
        }
        let distance = |image: &[u8], mean: &[f32]| {
            image.iter().zip(mean).map(|(&p, m)| (f32::from(p) - m).powi(2)).sum::<f32>()
        };
        let right = test
            .images
            .chunks_exact(SIDE * SIDE)
            .zip(&test.labels)
            .filter(|(image, label)| {
                let nearest = (0..CLASSES).min_by(|&a, &b| {
                    distance(image, &means[a]).total_cmp(&distance(image, &means[b]))
                });
                nearest == Some(usize::from(**label))
            })
            .count();
        // On the whole of MNIST this rule is right for 82 %.
        assert!((500..=950).contains(&right), "{right} of 1000");
    }
}
