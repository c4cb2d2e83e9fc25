//! Generated images for machines without a network: textured shapes before textured ground, of
//! CIFAR's form, and not CIFAR.
//!
//! A class is a family of shapes (its group) with a texture. Seven shapes of eight have about the
//! colours of their family and texture, as leaves are mostly green: a network learns that much from
//! a few hundred steps. Everything else is random: the other colours, place, size, flatness and
//! turn of the shape, direction, period and phase of its texture, the ground and its texture, a
//! piece of another shape, light and noise. For the rest a network has to find the shape, to tell
//! its outline, and to tell its texture from the ground's. Image `i` of a set is a function of
//! `(seed, set, i)` alone and is computed without functions whose last bits differ between
//! platforms: a seed names the same bytes everywhere, whatever the number of threads.

use rayon::prelude::*;

use super::set::{Cifar, PIXELS, SIDE};
use super::shapes::{FAMILIES, Family};
use super::textures::{TEXTURES, Texture, noise};
use crate::data::counter::{Counter, draw};
use crate::data::{CoarseLabels, LabelledImages};

/// Number of classes.
pub const CLASSES: usize = FAMILIES.len() * TEXTURES.len();
/// Number of groups of classes.
pub const GROUPS: usize = FAMILIES.len();

const TRAIN: u64 = 0x7472_6169;
const TEST: u64 = 0x7465_7374;
const PLANE: usize = SIDE * SIDE;

// How hard it is.
/// Largest contrast of the ground's texture, least contrast of the shape's with the ground and
/// within its texture.
const GROUND: f32 = 0.1;
const CONTRAST: f32 = 0.35;
/// Radius of the shape, in pixels.
const RADIUS: (f32, f32) = (9.0, 13.0);
/// Radius of a small shape in the background, in pixels.
const CLUTTER_RADIUS: (f32, f32) = (1.5, 3.0);
/// Largest deviation of the noise.
const NOISE: f32 = 0.05;
/// One shape in so many has random colours in place of those of its class.
const ODD: u64 = 8;
/// Largest distance of a channel from the colour of the class.
const SPREAD: f32 = 0.08;
/// The first colour of each family, and the colour of each texture's pattern on it.
const FAMILY_COLOURS: [Colour; GROUPS] =
    [[0.8, 0.3, 0.3], [0.3, 0.7, 0.3], [0.3, 0.4, 0.8], [0.8, 0.7, 0.2], [0.6, 0.3, 0.7]];
const TEXTURE_COLOURS: [Colour; TEXTURES.len()] =
    [[0.15, 0.15, 0.15], [0.85, 0.85, 0.85], [0.2, 0.7, 0.7], [0.85, 0.5, 0.7]];

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
    /// 4,000 + 1,000 images of seed 0: a training set for minutes.
    fn default() -> Self {
        Self { train: 4000, test: 1000, seed: 0 }
    }
}

/// Generates both sets. Image `i` is of class `i mod 20`, so each prefix is as balanced as it can
/// be; class `c` is of group `c / 4`. The sets share no random numbers.
pub fn generate(what: &Embedded) -> Cifar {
    Cifar { train: set(what.seed, TRAIN, what.train), test: set(what.seed, TEST, what.test) }
}

fn set(seed: u64, purpose: u64, n: usize) -> LabelledImages {
    let labels: Vec<u8> = (0..n).map(|i| (i % CLASSES) as u8).collect();
    let coarse = Some(CoarseLabels {
        labels: labels.iter().map(|&l| l / TEXTURES.len() as u8).collect(),
        classes: GROUPS,
    });
    let mut images = vec![0; n * PIXELS];
    images
        .par_chunks_exact_mut(PIXELS)
        .enumerate()
        .for_each(|(i, out)| write(i % CLASSES, draw(seed, purpose, i as u64), out));
    LabelledImages { images, labels, coarse, channels: 3, rows: SIDE, cols: SIDE, classes: CLASSES }
}

/// Channels in `[0, 1]`.
type Colour = [f32; 3];

/// Draws one image of `class`; `key` decides everything else.
fn write(class: usize, key: u64, out: &mut [u8]) {
    let random = &mut Counter::new(key, 0, 0);
    let mut canvas = [[0.0; 3]; PLANE];

    let odd = random.below(ODD) == 0;
    let first =
        if odd { colour(random) } else { near(FAMILY_COLOURS[class / TEXTURES.len()], random) };
    // Far enough from the shape's colour for the outline to show, fainter than the shape, and of
    // any texture.
    let base = shift(first, random.between(CONTRAST, 2.0 * CONTRAST), random);
    let shade = shift(base, GROUND * random.between(0.3, 1.0), random);
    let ground = ColouredTexture::new(pick(&TEXTURES, random), [base, shade], random);
    for (i, pixel) in canvas.iter_mut().enumerate() {
        *pixel = ground.at((i % SIDE) as f32, (i / SIDE) as f32);
    }
    // At times a small shape of some family and texture, behind the one that counts.
    if random.below(2) == 1 {
        clutter(random).paint(&mut canvas);
    }

    let second = if odd {
        shift(first, random.between(CONTRAST, 2.0 * CONTRAST), random)
    } else {
        near(TEXTURE_COLOURS[class % TEXTURES.len()], random)
    };
    let colours = [first, second];
    let radius = random.between(RADIUS.0, RADIUS.1);
    let (middle, room) = ((SIDE as f32 - 1.0) / 2.0, (SIDE as f32 - 1.0) / 2.0 - 0.75 * radius);
    let centre =
        (middle + room * random.between(-1.0, 1.0), middle + room * random.between(-1.0, 1.0));
    let (turn, flat) = (direction(random), random.between(0.7, 1.0));
    let texture = ColouredTexture::new(TEXTURES[class % TEXTURES.len()], colours, random);
    TexturedShape { family: FAMILIES[class / TEXTURES.len()], centre, turn, radius, flat, texture }
        .paint(&mut canvas);

    // Light changes smoothly over the image; the sensor is noisy.
    let (light, grain) = (random.bits(), random.between(0.5, 1.0) * NOISE);
    for (i, pixel) in canvas.iter().enumerate() {
        let bright = 0.75 + 0.5 * noise((i % SIDE) as f32 / 14.0, (i / SIDE) as f32 / 14.0, light);
        for (c, value) in pixel.iter().enumerate() {
            let value = value * bright + grain * random.gauss();
            out[c * PLANE + i] = (255.0 * value + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A small shape of any family and texture anywhere.
fn clutter(random: &mut Counter) -> TexturedShape {
    let first = colour(random);
    let colours = [first, shift(first, CONTRAST, random)];
    let edge = SIDE as f32 - 1.0;
    TexturedShape {
        family: pick(&FAMILIES, random),
        centre: (random.between(0.0, edge), random.between(0.0, edge)),
        turn: direction(random),
        radius: random.between(CLUTTER_RADIUS.0, CLUTTER_RADIUS.1),
        flat: random.between(0.4, 1.0),
        texture: ColouredTexture::new(pick(&TEXTURES, random), colours, random),
    }
}

/// A texture in two colours over the plane.
struct ColouredTexture {
    texture: Texture,
    /// Direction of the pattern, over its period in pixels.
    turn: (f32, f32),
    phase: (f32, f32),
    sharp: f32,
    key: u64,
    colours: [Colour; 2],
}

impl ColouredTexture {
    fn new(texture: Texture, colours: [Colour; 2], random: &mut Counter) -> Self {
        let (c, s) = direction(random);
        let period = random.between(3.6, 6.4);
        let phase = (random.unit(), random.unit());
        Self {
            texture,
            turn: (c / period, s / period),
            phase,
            sharp: random.between(2.5, 6.0),
            key: random.bits(),
            colours,
        }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let (c, s) = self.turn;
        let p = self.texture.at(
            c * x + s * y + self.phase.0,
            c * y - s * x + self.phase.1,
            self.sharp,
            self.key,
        );
        std::array::from_fn(|i| self.colours[0][i] + p * (self.colours[1][i] - self.colours[0][i]))
    }
}

/// A shape somewhere in the image, filled with a texture.
struct TexturedShape {
    family: Family,
    centre: (f32, f32),
    turn: (f32, f32),
    radius: f32,
    flat: f32,
    texture: ColouredTexture,
}

impl TexturedShape {
    /// Paints over what is there; a pixel on the outline is mixed by how much of it is covered,
    /// about.
    fn paint(&self, canvas: &mut [Colour; PLANE]) {
        let (c, s) = self.turn;
        for (i, pixel) in canvas.iter_mut().enumerate() {
            let (x, y) = ((i % SIDE) as f32 - self.centre.0, (i / SIDE) as f32 - self.centre.1);
            let (u, v) = ((c * x + s * y) / self.radius, (c * y - s * x) / self.radius);
            let cover = (0.5 - self.radius * self.family.distance(u, v, self.flat)).clamp(0.0, 1.0);
            if cover > 0.0 {
                let colour = self.texture.at(x, y);
                pixel.iter_mut().zip(colour).for_each(|(p, q)| *p += cover * (q - *p));
            }
        }
    }
}

fn pick<T: Copy>(all: &[T], random: &mut Counter) -> T {
    all[random.below(all.len() as u64) as usize]
}

/// A unit vector, its angle about uniform: `((1 − t²)/(1 + t²), 2t/(1 + t²))` of a uniform t needs
/// no sine and cosine, whose last bits differ between platforms.
fn direction(random: &mut Counter) -> (f32, f32) {
    // Half of an eighth turn has the tangent √2 − 1.
    let t = random.between(-0.414_213_57, 0.414_213_57);
    let (c, s) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
    match random.below(4) {
        0 => (c, s),
        1 => (-s, c),
        2 => (-c, -s),
        _ => (s, -c),
    }
}

fn colour(random: &mut Counter) -> Colour {
    std::array::from_fn(|_| random.between(0.1, 0.9))
}

/// A colour about that of a class.
fn near(colour: Colour, random: &mut Counter) -> Colour {
    colour.map(|c| (c + random.between(-SPREAD, SPREAD)).clamp(0.0, 1.0))
}

/// Another colour, `by` away in each channel on average, in a random direction; a channel that
/// would leave the scale goes the other way.
fn shift(from: Colour, by: f32, random: &mut Counter) -> Colour {
    let d: Colour = std::array::from_fn(|_| random.between(-1.0, 1.0));
    let length = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt().max(0.05);
    std::array::from_fn(|i| {
        // 1.7 is about √3, the length of (1, 1, 1).
        let step = by * 1.7 * d[i] / length;
        let to = from[i] + step;
        if (0.0..=1.0).contains(&to) { to } else { from[i] - step }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(seed: u64) -> Cifar {
        generate(&Embedded { train: 400, test: 200, seed })
    }

    #[test]
    fn a_seed_names_the_same_bytes_on_every_machine() {
        // Our own pin: no other program draws these. A change orphans every result on them.
        assert_eq!(small(0).content_hash(), "dc08f3c000662429");
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let with = |n| {
            rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| small(3))
        };
        assert_eq!(with(1), with(4));
    }

    #[test]
    fn a_longer_set_begins_with_the_shorter_one() {
        let long = generate(&Embedded { train: 50, test: 0, seed: 9 }).train;
        let short = generate(&Embedded { train: 20, test: 0, seed: 9 }).train;
        assert_eq!(long.images[..20 * PIXELS], short.images);
    }

    #[test]
    fn seeds_and_sets_differ() {
        let a = generate(&Embedded { train: 20, test: 20, seed: 1 });
        assert_ne!(a.train.images, a.test.images);
        assert_ne!(a.train, generate(&Embedded { train: 20, test: 20, seed: 2 }).train);
    }

    #[test]
    fn classes_are_balanced_and_their_groups_are_the_families() {
        let set = small(0).train;
        assert_eq!(set.class_counts(), [20; CLASSES]);
        let coarse = set.coarse.as_ref().unwrap();
        assert_eq!((CLASSES, coarse.classes), (20, 5));
        assert!(set.labels.iter().zip(&coarse.labels).all(|(&fine, &group)| fine / 4 == group));
    }

    #[test]
    fn the_mean_and_deviation_are_those_of_the_normalisation() {
        let set = generate(&Embedded { test: 0, ..Embedded::default() }).train;
        let normalisation = crate::data::Normalisation::Embedded;
        for c in 0..3 {
            let values = || {
                set.images
                    .chunks_exact(PLANE)
                    .skip(c)
                    .step_by(3)
                    .flatten()
                    .map(|&p| f64::from(p) / 255.0)
            };
            let n = (set.len() * PLANE) as f64;
            let mean = values().sum::<f64>() / n;
            let std = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!((mean - f64::from(normalisation.mean()[c])).abs() < 1e-4, "mean {c}: {mean}");
            assert!((std - f64::from(normalisation.std()[c])).abs() < 1e-4, "std {c}: {std}");
        }
    }

    #[test]
    fn the_mean_image_of_each_class_does_not_tell_the_classes_apart() {
        let Cifar { train, test } = generate(&Embedded { train: 2000, test: 500, seed: 0 });
        let mut means = vec![vec![0f32; PIXELS]; CLASSES];
        for (image, &label) in train.images.chunks_exact(PIXELS).zip(&train.labels) {
            means[usize::from(label)]
                .iter_mut()
                .zip(image)
                .for_each(|(mean, &pixel)| *mean += f32::from(pixel) / 100.0);
        }
        let distance = |image: &[u8], mean: &[f32]| {
            image.iter().zip(mean).map(|(&p, m)| (f32::from(p) - m).powi(2)).sum::<f32>()
        };
        let nearest = |image: &[u8]| {
            (0..CLASSES)
                .min_by(|&a, &b| distance(image, &means[a]).total_cmp(&distance(image, &means[b])))
        };
        let right = test
            .images
            .chunks_exact(PIXELS)
            .zip(&test.labels)
            .filter(|(i, l)| nearest(i) == Some(usize::from(**l)))
            .count();
        // Chance is 25 of 500, with deviation 5.
        assert!(right < 125, "{right} of 500");
    }
}
