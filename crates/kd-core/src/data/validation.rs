//! Training images that settings are chosen on, so that the test images play no part in a choice.

use serde::{Deserialize, Serialize};

use super::split::{self, Split};
use crate::seed::fnv1a;
use crate::{Error, Result};

/// A share of the training images that is kept apart, as a cell's specification writes it:
/// `validation = { share = 0.1, seed = 1 }`.
///
/// The split is of all training images and has a seed of its own, so that cells of different seeds
/// and of different parts of the training set keep the same images apart: a teacher's too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Validation {
    /// The share, above 0 and below 1.
    pub share: f64,
    /// Decides which images.
    pub seed: u64,
}

impl Validation {
    /// Checks the share.
    ///
    /// # Errors
    /// Bad input that names it.
    pub fn check(&self) -> Result<()> {
        if self.share > 0. && self.share < 1. {
            return Ok(());
        }
        let what = "validation.share: expected a share above 0 and below 1, got";
        Err(Error::bad_input(format!("{what} {}", self.share)))
    }

    /// Splits all training images by their labels: `round(share × n)` of them are kept apart, each
    /// class in proportion, see [`split::held_out`]. The draws are not those of cells that split by
    /// the same seed themselves.
    ///
    /// # Errors
    /// Bad input when the share is outside its domain, or so small or large that one of the two
    /// parts has no image.
    pub fn split(&self, labels: &[u8]) -> Result<Split> {
        self.check()?;
        let (all, apart) = (labels.len(), (self.share * labels.len() as f64).round() as usize);
        if apart == 0 || apart >= all {
            return Err(Error::bad_input(format!(
                "validation.share: expected a share that leaves images on both sides, got {}, {apart} of {all}",
                self.share
            )));
        }
        Ok(split::held_out(labels, apart, self.seed ^ fnv1a(b"validation"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_apart_class_by_class_and_the_seed_says_which_images() -> Result<()> {
        let labels: Vec<u8> = (0..1000).map(|i| (i % 10) as u8).collect();
        let of = |share, seed| Validation { share, seed }.split(&labels);
        let split = of(0.2, 1)?;
        assert_eq!((split.train.len(), split.held_out.len()), (800, 200));
        let class = |c: u8| split.held_out.iter().filter(|&&r| labels[r as usize] == c).count();
        assert!((0..10).all(|c| class(c) == 20));
        assert_eq!(of(0.2, 1)?, split);
        assert_ne!(of(0.2, 2)?, split);
        // Cells draw with seeds of their own, mostly 1: their splits are others.
        assert_ne!(split::held_out(&labels, 200, 1)?, split);
        Ok(())
    }

    #[test]
    fn shares_that_leave_a_side_without_images_are_refused() {
        let said = |share: f64, images: usize| {
            let error = Validation { share, seed: 1 }.split(&vec![0; images]).expect_err("refused");
            assert!(error.is_bad_input());
            error.to_string()
        };
        for share in [0., 1., -0.1, f64::NAN, f64::INFINITY] {
            let text = "expected a share above 0 and below 1, got";
            assert!(said(share, 100).contains(text), "{share}");
        }
        assert!(said(0.001, 100).ends_with("got 0.001, 0 of 100"));
        assert!(said(0.999, 100).ends_with("got 0.999, 100 of 100"));
    }
}
