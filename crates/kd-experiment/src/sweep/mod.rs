//! A sweep: a grid over a row's spec, measured on training images that are held out.
//!
//! ```text
//! --over KEY=VALUES        axis      one setting of the row and its values
//!      | product           points    every combination
//!      | trial             trial     the row at each point, and what it needs, as an experiment
//!      v                             whose cells hold out a share of the training images
//!    cells, run as a table's are
//!      | halving           halving   where the budget is smaller than the grid: rungs
//!      v
//!    ranking               ranking   the points in order, and which are not told apart
//!      | picture, row      picture, chosen   what is shown and printed of them
//! ```
//!
//! A cell that holds out has [`VALIDATION`] in its spec and the metrics [`ACCURACY`] and [`IMAGES`]
//! in its result, and none of the test images: see [`Paper::holds_out`](crate::Paper::holds_out).

pub mod axis;
pub mod chosen;
pub mod halving;
pub mod picture;
pub mod points;
pub mod ranking;
pub mod trial;

pub use axis::Axis;
pub use halving::{Halving, Rung};
pub use points::Point;
pub use ranking::{Ranking, Standing};
pub use trial::Trial;

/// The key of a spec that holds images out: `validation = { share = 0.1, seed = 1 }`.
pub const VALIDATION: &str = "validation";

/// The metric that points are ranked by: percent of the held-out images that the network gets right.
pub const ACCURACY: &str = "validation-accuracy";

/// The metric that says how many images are held out.
pub const IMAGES: &str = "validation-images";
