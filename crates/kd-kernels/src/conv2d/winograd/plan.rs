//! Where the tiles of a batch lie in memory.
//!
//! Sixteen tiles make a unit: one vector holds the same pixel of each. A row of tiles is widened to
//! a power of two of tiles (1 to 16), so that a unit is a whole number of rows and a tile's
//! neighbours are in its own vector; rows are counted through all images of the batch. The
//! pixels that a unit needs of one image row are M vectors of 16, and each vector is read in pieces
//! of as many pixels as lie in a row.

use super::tile::Tile;
use crate::vector::Permutation;
use std::ops::Range;

/// Images that are cut into tiles: the shape of one operand, of which a tile covers M×M pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Images {
    pub count: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Images {
    /// Pixels of all channels.
    pub(super) fn len(&self) -> usize {
        self.count * self.channels * self.height * self.width
    }
}

/// One vector's piece: the lanes that it fills, and the pixel of the batch that lane 0 would be,
/// counted in the first channel.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub at: isize,
    pub lanes: u16,
}

/// The pieces of some units: of each, a number of image rows of M vectors.
pub(super) struct Tables {
    pieces: Vec<Piece>,
    /// Pieces of a vector.
    pub per_vector: usize,
    per_unit: usize,
}

impl Tables {
    /// The pieces of each unit. Those of vector `r` of image row `k`, counted from the first that a
    /// tile needs, are the `per_vector` pieces from (k·M + r)·`per_vector` on.
    #[inline(always)]
    pub(super) fn units(&self) -> std::slice::ChunksExact<'_, Piece> {
        self.pieces.chunks_exact(self.per_unit)
    }
}

/// How the tiles of a batch are cut into units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub images: Images,
    /// Tiles in a row, widened to a power of two.
    slots: usize,
    /// Rows of tiles of one image.
    rows: usize,
    /// Outputs on a tile's edge.
    m: usize,
    pub units: usize,
}

impl Plan {
    /// The widest images that a unit's row of tiles can hold.
    pub(super) const fn widest(m: usize) -> usize {
        16 * m
    }

    /// `images` is not wider than [`Plan::widest`], and not empty.
    pub(super) fn new<F: Tile>(images: Images) -> Self {
        let slots = images.width.div_ceil(F::M).next_power_of_two();
        let rows = images.height.div_ceil(F::M);
        Self { images, slots, rows, m: F::M, units: (images.count * rows).div_ceil(16 / slots) }
    }

    /// The pieces of some units: for each tile `height` image rows, from `above` rows above the
    /// tile's first on. Rows outside the image and tiles past the last have no lanes.
    pub(super) fn tables(&self, units: Range<usize>, height: usize, above: usize) -> Tables {
        let Images { count, channels, height: h, width: w } = self.images;
        let run = (self.slots * self.m).min(16);
        let per_vector = 16 / run;
        let per_unit = height * self.m * per_vector;
        let rows_per_unit = 16 / self.slots;
        let mut pieces = vec![Piece { at: 0, lanes: 0 }; units.len() * per_unit];
        let mut row = units.start * rows_per_unit;
        for pieces in pieces.chunks_exact_mut(per_unit) {
            for row_in_unit in 0..rows_per_unit {
                let (image, tile_row) = (row / self.rows, row % self.rows);
                row += 1;
                if image >= count {
                    break;
                }
                for k in 0..height {
                    let Some(y) = (tile_row * self.m + k).checked_sub(above).filter(|y| *y < h)
                    else {
                        continue;
                    };
                    let start = image * channels * h * w + y * w;
                    for x in (0..w).step_by(run) {
                        let pixel = row_in_unit * self.slots * self.m + x;
                        let lane = pixel % 16;
                        let lanes = ((1u32 << (w - x).min(run)) - 1) << lane;
                        let piece =
                            Piece { at: (start + x) as isize - lane as isize, lanes: lanes as u16 };
                        pieces[(k * self.m + pixel / 16) * per_vector + lane / run] = piece;
                    }
                }
            }
        }
        Tables { pieces, per_vector, per_unit }
    }

    /// Each tile's left and right neighbour in its row, in the order of lanes of `F`; 0 at the
    /// ends.
    pub(super) fn neighbours<F: Tile>(&self) -> [Permutation; 2] {
        let lane_of =
            |tile: usize| (0..16).find(|lane| F::tile_of(*lane) == tile).unwrap_or(0) as i32;
        let mut both = [Permutation { from: [-1; 16] }; 2];
        for lane in 0..16 {
            let tile = F::tile_of(lane);
            if tile % self.slots > 0 {
                both[0].from[lane] = lane_of(tile - 1);
            }
            if (tile + 1) % self.slots > 0 {
                both[1].from[lane] = lane_of(tile + 1);
            }
        }
        both
    }
}
