//! Where the pixels under a kernel lie, worked out once per call for a block of images and used for
//! all channels and blocks.
//!
//! The columns of a block are its output pixels one after another, cut into registers. A register's
//! lanes may come from several rows of an image, or from several images where maps are small, and
//! some lie outside. So a register is described by parts: an offset and a mask for each stretch of
//! lanes that one masked load brings. Rows that continue each other in memory share a part, so that
//! a whole map without strides needs one masked load per register, whatever its width.

/// A walk over the pixels of images: column (image, i, j) reads the pixel (i·step + dy, j·step +
/// dx).
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Columns of an image: `rows` by `cols`.
    pub rows: usize,
    pub cols: usize,
    /// Height and width of the map that is read.
    pub height: usize,
    pub width: usize,
    /// Pixels between neighbouring columns, in both directions.
    pub step: usize,
    /// Numbers between one image and the next.
    pub image: usize,
}

/// Lanes of one register that one masked load brings: lane l lies at `offset + l · step`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub offset: isize,
    pub mask: u32,
}

/// The parts of every register under every tap.
#[derive(Debug)]
pub(super) struct Places {
    /// Pixels between neighbouring lanes.
    pub step: usize,
    /// Registers under one tap.
    pub vectors: usize,
    starts: Vec<u32>,
    parts: Vec<Part>,
}

impl Places {
    /// The places of `images` images under each tap (dy, dx), in registers of `lanes`.
    pub(super) fn new(walk: Walk, taps: &[(isize, isize)], images: usize, lanes: usize) -> Self {
        let columns = images * walk.rows * walk.cols;
        let vectors = columns.div_ceil(lanes);
        let mut starts = Vec::with_capacity(taps.len() * vectors + 1);
        let mut parts: Vec<Part> = Vec::new();
        for &(dy, dx) in taps {
            let first = starts.len();
            let (from, to) = inside(dx, walk.step, walk.width, walk.cols);
            for image in 0..images {
                for i in 0..walk.rows {
                    let row = (i * walk.step) as isize + dy;
                    if row < 0 || row >= walk.height as isize {
                        continue;
                    }
                    let left = (image * walk.image) as isize + row * walk.width as isize + dx;
                    let column = (image * walk.rows + i) * walk.cols;
                    let mut j = from;
                    while j < to {
                        let (vector, lane) = ((column + j) / lanes, (column + j) % lanes);
                        let count = (lanes - lane).min(to - j);
                        let offset =
                            left + j as isize * walk.step as isize - (lane * walk.step) as isize;
                        let mask = (((1u64 << count) - 1) << lane) as u32;
                        let fresh = first + vector >= starts.len();
                        while starts.len() <= first + vector {
                            starts.push(parts.len() as u32);
                        }
                        match parts.last_mut() {
                            Some(last) if !fresh && last.offset == offset => last.mask |= mask,
                            _ => parts.push(Part { offset, mask }),
                        }
                        j += count;
                    }
                }
            }
            starts.resize(first + vectors, parts.len() as u32);
        }
        starts.push(parts.len() as u32);
        Self { step: walk.step, vectors, starts, parts }
    }

    /// The parts of one register under one tap; none where all its lanes lie outside.
    #[inline(always)]
    pub(super) fn parts(&self, tap: usize, vector: usize) -> &[Part] {
        let at = tap * self.vectors + vector;
        &self.parts[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

/// The columns from..to of a row whose pixel `j · step + d` lies in 0..width.
fn inside(d: isize, step: usize, width: usize, cols: usize) -> (usize, usize) {
    let first = (-d).max(0) as usize;
    let from = first.div_ceil(step).min(cols);
    let room = width as isize - d;
    let to = if room <= 0 { 0 } else { (room as usize).div_ceil(step).min(cols) };
    (from, to.max(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a register through its parts.
    fn read(places: &Places, x: &[f32], tap: usize, vector: usize, lanes: usize) -> Vec<f32> {
        let mut register = vec![0.0; lanes];
        for part in places.parts(tap, vector) {
            for (l, value) in
                register.iter_mut().enumerate().filter(|(l, _)| part.mask >> l & 1 == 1)
            {
                *value = x[(part.offset + (l * places.step) as isize) as usize];
            }
        }
        register
    }

    #[test]
    fn every_column_is_the_pixel_under_its_tap() {
        for (height, width, step, padding, kernel, images) in [
            (5, 7, 1, 1, 3, 3),
            (8, 8, 2, 1, 3, 2),
            (4, 4, 1, 0, 1, 5),
            (9, 6, 3, 2, 4, 2),
            (1, 1, 2, 3, 3, 4),
            (2, 20, 1, 5, 2, 1),
        ] {
            let out = |size: usize| (size + 2 * padding - kernel) / step + 1;
            let walk = Walk {
                rows: out(height),
                cols: out(width),
                height,
                width,
                step,
                image: height * width + 3,
            };
            let x: Vec<f32> = (1..=images * walk.image).map(|v| v as f32).collect();
            let near = |k: usize| k as isize - padding as isize;
            let taps: Vec<_> =
                (0..kernel * kernel).map(|t| (near(t / kernel), near(t % kernel))).collect();
            for lanes in [8, 16] {
                let places = Places::new(walk, &taps, images, lanes);
                for (t, (dy, dx)) in taps.iter().enumerate() {
                    let got: Vec<f32> =
                        (0..places.vectors).flat_map(|v| read(&places, &x, t, v, lanes)).collect();
                    let columns = images * walk.rows * walk.cols;
                    for (column, got) in got.iter().enumerate() {
                        let (image, i, j) = (
                            column / walk.cols / walk.rows,
                            column / walk.cols % walk.rows,
                            column % walk.cols,
                        );
                        let (y, x_) = ((i * step) as isize + dy, (j * step) as isize + dx);
                        let outside = y < 0
                            || x_ < 0
                            || y >= height as isize
                            || x_ >= width as isize
                            || column >= columns;
                        let want = if outside {
                            0.0
                        } else {
                            x[image * walk.image + y as usize * width + x_ as usize]
                        };
                        assert_eq!(
                            *got, want,
                            "column {column} of {walk:?} under {dy},{dx} in {lanes} lanes"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_map_without_strides_needs_one_part_per_register() {
        for side in [2, 4, 8, 16, 32] {
            let walk = Walk {
                rows: side,
                cols: side,
                height: side,
                width: side,
                step: 1,
                image: side * side,
            };
            let taps: Vec<_> = (0..9).map(|t| (t / 3 - 1, t % 3 - 1)).collect();
            let places = Places::new(walk, &taps, 1, 16);
            assert!(
                (0..9).all(|t| (0..places.vectors).all(|v| places.parts(t, v).len() <= 1)),
                "side {side}"
            );
        }
    }
}
