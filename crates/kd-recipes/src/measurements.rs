//! What can be measured on the image of a digit without knowing which digit it is: the facts of
//! source `measurements`.
//!
//! A pixel is ink where it is at least 128 of 255; the box is the smallest rectangle with all ink.

use kd_core::Result;
use kd_core::data::{Facts, LabelledImages};

/// The names of the facts, in their order.
const NAMES: [&str; 8] = [
    // The mean of all pixels, of 1.
    "ink",
    // Connected regions without ink that do not reach the border; by edges, not corners.
    "holes",
    // The share of the image's pixels in them.
    "hole-area",
    // The logarithm of the box's height divided by its width.
    "aspect",
    // How far the strokes lean: the covariance of the two places of a pixel, weighed by its value,
    // divided by the variance of its height.
    "slant",
    // 1 less the mean difference between the box and its mirror image, left to right.
    "mirror-left-right",
    // The same from top to bottom.
    "mirror-top-bottom",
    // The share of the pixels' sum in the upper half of the box.
    "upper-half",
];

const INK: u8 = 128;

/// The facts of every image, as they are, not standardised.
///
/// # Errors
/// Bad input when the images are not grey.
pub fn measured(images: &LabelledImages) -> Result<Facts> {
    if images.channels != 1 {
        return Err(kd_core::Error::bad_input(format!(
            "facts: measurements: expected grey images, got {} channels",
            images.channels
        )));
    }
    let names = NAMES.into_iter().map(str::to_owned).collect();
    let (rows, cols) = (images.rows, images.cols);
    let of = |pixels: &[u8]| Image { pixels, rows, cols }.facts();
    Facts::new(names, images.images.chunks_exact(images.pixels().max(1)).map(of))
}

struct Image<'a> {
    pixels: &'a [u8],
    rows: usize,
    cols: usize,
}

/// A rectangle, both ends within it.
struct Area {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Image<'_> {
    fn at(&self, y: usize, x: usize) -> f64 {
        f64::from(self.pixels[y * self.cols + x])
    }

    /// In the order of [`NAMES`]; 0 for all but the first where there is no ink.
    fn facts(&self) -> [f32; NAMES.len()] {
        let ink = self.pixels.iter().map(|&p| f64::from(p)).sum::<f64>()
            / (255. * self.pixels.len() as f64);
        let Some(area) = self.area() else {
            let mut none = [0.; NAMES.len()];
            none[0] = ink as f32;
            return none;
        };
        let (holes, hole_area) = self.holes();
        let height = (area.bottom - area.top + 1) as f64;
        let width = (area.right - area.left + 1) as f64;
        let (mut sum, mut upper) = (0., 0.);
        let (mut across, mut down) = (0., 0.);
        for y in area.top..=area.bottom {
            for x in area.left..=area.right {
                let v = self.at(y, x);
                sum += v;
                across += (v - self.at(y, area.left + area.right - x)).abs();
                down += (v - self.at(area.top + area.bottom - y, x)).abs();
                // The middle row of an odd number counts half.
                let from_top = 2 * (y - area.top) + 1;
                let half = area.bottom - area.top + 1;
                upper += match from_top.cmp(&half) {
                    std::cmp::Ordering::Less => v,
                    std::cmp::Ordering::Equal => v / 2.,
                    std::cmp::Ordering::Greater => 0.,
                };
            }
        }
        [
            ink,
            holes as f64,
            hole_area as f64 / self.pixels.len() as f64,
            (height / width).ln(),
            self.slant(),
            1. - across / (2. * sum),
            1. - down / (2. * sum),
            upper / sum,
        ]
        .map(|fact| fact as f32)
    }

    fn area(&self) -> Option<Area> {
        let lit = (0..self.pixels.len()).filter(|&i| self.pixels[i] >= INK);
        let mut area: Option<Area> = None;
        for i in lit {
            let (y, x) = (i / self.cols, i % self.cols);
            let a = area.get_or_insert(Area { top: y, bottom: y, left: x, right: x });
            a.bottom = y;
            (a.left, a.right) = (a.left.min(x), a.right.max(x));
        }
        area
    }

    fn slant(&self) -> f64 {
        let (mut sum, mut my, mut mx) = (0., 0., 0.);
        let places = || (0..self.rows).flat_map(|y| (0..self.cols).map(move |x| (y, x)));
        for (y, x) in places() {
            let v = self.at(y, x);
            sum += v;
            my += v * y as f64;
            mx += v * x as f64;
        }
        (my, mx) = (my / sum, mx / sum);
        let (mut covariance, mut variance) = (0., 0.);
        for (y, x) in places() {
            let v = self.at(y, x);
            covariance += v * (y as f64 - my) * (x as f64 - mx);
            variance += v * (y as f64 - my).powi(2);
        }
        if variance > 0. { covariance / variance } else { 0. }
    }

    /// The number of holes, and of pixels in them.
    fn holes(&self) -> (usize, usize) {
        let mut seen: Vec<bool> = self.pixels.iter().map(|&p| p >= INK).collect();
        let (mut holes, mut pixels) = (0, 0);
        for start in 0..seen.len() {
            if seen[start] {
                continue;
            }
            seen[start] = true;
            let (mut region, mut open, mut size) = (vec![start], false, 0);
            while let Some(i) = region.pop() {
                size += 1;
                let (y, x) = (i / self.cols, i % self.cols);
                open |= y == 0 || x == 0 || y + 1 == self.rows || x + 1 == self.cols;
                let around = [
                    (y > 0).then(|| i - self.cols),
                    (y + 1 < self.rows).then(|| i + self.cols),
                    (x > 0).then(|| i - 1),
                    (x + 1 < self.cols).then(|| i + 1),
                ];
                for next in around.into_iter().flatten() {
                    if !seen[next] {
                        seen[next] = true;
                        region.push(next);
                    }
                }
            }
            if !open {
                holes += 1;
                pixels += size;
            }
        }
        (holes, pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The facts of an image drawn with `#` and `.`.
    fn of(drawing: &[&str]) -> Result<Vec<f32>> {
        let pixels: Vec<u8> = drawing
            .iter()
            .flat_map(|row| row.bytes())
            .map(|b| if b == b'#' { 255 } else { 0 })
            .collect();
        let (rows, cols) = (drawing.len(), drawing[0].len());
        let facts = measured(&LabelledImages::grey(pixels, vec![0], rows, cols, 1))?;
        Ok(facts.row(0)?.to_vec())
    }

    fn fact(facts: &[f32], name: &str) -> f32 {
        facts[NAMES.iter().position(|n| *n == name).expect("a fact")]
    }

    #[test]
    fn an_eight_has_two_holes_and_is_its_own_mirror_image() -> Result<()> {
        let eight =
            of(&[".......", ".#####.", ".#...#.", ".#####.", ".#.#.#.", ".#####.", "......."])?;
        assert_eq!(fact(&eight, "holes"), 3.);
        let eight =
            of(&[".......", ".#####.", ".#...#.", ".#####.", ".#...#.", ".#####.", "......."])?;
        assert_eq!(fact(&eight, "holes"), 2.);
        assert_eq!(fact(&eight, "hole-area"), 6. / 49.);
        assert_eq!(
            (fact(&eight, "mirror-left-right"), fact(&eight, "mirror-top-bottom")),
            (1., 1.)
        );
        assert!((fact(&eight, "upper-half") - 0.5).abs() < 1e-6);
        assert_eq!((fact(&eight, "aspect"), fact(&eight, "slant")), (0., 0.));
        Ok(())
    }

    #[test]
    fn a_leaning_stroke_has_a_slant_and_a_tall_one_an_aspect() -> Result<()> {
        let leaning = of(&["....", ".#..", "..#.", "...."])?;
        assert!((fact(&leaning, "slant") - 1.).abs() < 1e-6);
        assert_eq!(fact(&leaning, "mirror-left-right"), 0.);
        let tall = of(&["...", ".#.", ".#.", "...", "..."])?;
        assert!((fact(&tall, "aspect") - 2f32.ln()).abs() < 1e-6);
        assert_eq!((fact(&tall, "holes"), fact(&tall, "upper-half")), (0., 0.5));
        Ok(())
    }

    #[test]
    fn an_image_without_ink_has_finite_facts() -> Result<()> {
        assert_eq!(of(&["...", "...", "..."])?, [0.; NAMES.len()]);
        let dim = LabelledImages::grey(vec![51; 4], vec![0], 2, 2, 1);
        assert_eq!(measured(&dim)?.row(0)?[0], 0.2);
        Ok(())
    }
}
