//! "Scale decoupled distillation" (Wei, Luo and Luo, CVPR 2024): soft targets of parts of the
//! image.
//!
//! The network's own classifier is applied to the means of its last map over the cells of some
//! grids. The loss of soft targets is then taken in each cell; one in which the teacher is right
//! where it is wrong about the whole image, or the reverse, counts `complementary-weight` times
//! ([`over_cells`]). With `base` kd
//!
//! L = hard-weight · CE + weight · KL_T over the cells,
//!
//! and with dkd, at epoch e, counted from 1,
//!
//! L = hard-weight · CE + min(1, e / warm-up-epochs) · (alpha · TCKD + beta · NCKD) over the cells.
//!
//! CE sees the logits of the whole image. Gradients reach the student's classifier from all cells.
//!
//! Source: section 3 and the official program: grids [1, 2] for resnet8x4 and vgg8, [1, 2, 4] for
//! other students, complementary-weight 2; temperature, weights and warm-up are those of kd (0.9
//! and 0.1 of CE) and of [`super::dkd`]. The program makes the cells of 2×2 of those of 4×4, which
//! is the same for the maps of its networks.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::classified::LastMaps;
use super::{
    Context, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_temperature,
    check_weight, rise,
};
use crate::loss::cells::{cell_logits, over_cells};
use crate::loss::decoupled::{non_target_class, target_class};
use crate::loss::softened_kl;
use crate::{Error, Result};

/// The most cells in a row of a grid.
const FINEST: usize = 32;

/// Soft targets in cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Cells in a row of each grid, from 1, the whole image, to finer ones.
    pub grids: Vec<usize>,
    /// What a cell counts in which the teacher is right or wrong where it is not about the whole.
    pub complementary_weight: f64,
    /// The loss in a cell.
    pub base: Base,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets of the whole image beside it.
    pub soft: Option<Soft>,
}

/// The loss in a cell, as an experiment file writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Base {
    /// Softened targets (Hinton, Vinyals and Dean 2015).
    Kd {
        /// The temperature T of both softmaxes.
        temperature: f64,
        /// Weight of the divergence, which already carries T².
        weight: f64,
    },
    /// Decoupled ones (Zhao et al. 2022).
    Dkd {
        /// The temperature T of both.
        temperature: f64,
        /// Weight of how sure student and teacher are of the true class.
        alpha: f64,
        /// Weight of how they rank the other classes.
        beta: f64,
        /// Epochs over which both weights rise; 0 for none.
        warm_up_epochs: usize,
    },
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `cells` with kd, `cells-target` and `cells-non-target` with dkd, and those of
/// [`LogitTerms`].
pub struct Sdd {
    spec: Spec,
    wants: Wants,
    maps: LastMaps,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        let rising = self.grids.windows(2).all(|pair| pair[0] < pair[1]);
        if self.grids.first() != Some(&1) || !rising || self.grids.last() > Some(&FINEST) {
            return Err(Error::bad_input(format!(
                "method.grids: expected rising numbers from 1 to {FINEST} at most, the first of them 1, got {:?}",
                self.grids
            )));
        }
        check_weight("complementary-weight", self.complementary_weight)?;
        match self.base {
            Base::Kd { temperature, weight } => {
                check_temperature(temperature)?;
                check_weight("base.weight", weight)?;
            }
            Base::Dkd { temperature, alpha, beta, warm_up_epochs } => {
                check_temperature(temperature)?;
                check_weight("base.alpha", alpha)?;
                check_weight("base.beta", beta)?;
                Error::unless_within("method.base.warm-up-epochs", warm_up_epochs, 0..=1_000_000)?;
            }
        }
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let maps = LastMaps::of(context, "sdd")?;
        Ok(Box::new(Sdd { spec: self.clone(), wants: maps.wants(), maps }))
    }
}

impl Distillation for Sdd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let grids = &self.spec.grids;
        let [student, teacher] = self.maps.of_step(step)?.map(|(map, classifier)| {
            cell_logits(map, &classifier.weight, Some(&classifier.bias), grids)
        });
        let (student, teacher) = (student?, teacher?);
        let over = |loss: &dyn Fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>| {
            over_cells(&student, &teacher, step.labels, self.spec.complementary_weight, loss)
        };
        let mut terms = self.spec.logit_terms().terms(step)?;
        match self.spec.base {
            Base::Kd { temperature, weight } => {
                let cells = over(&|s, t, _| softened_kl(s, t, temperature))?;
                terms.push(Term::teacher("cells", cells, weight));
            }
            Base::Dkd { temperature, alpha, beta, warm_up_epochs } => {
                let rise = rise(step.epoch + 1, warm_up_epochs);
                let target = over(&|s, t, y| target_class(s, t, y, temperature))?;
                let others = over(&|s, t, y| non_target_class(s, t, y, temperature))?;
                terms.push(Term::teacher("cells-target", target, alpha * rise));
                terms.push(Term::teacher("cells-non-target", others, beta * rise));
            }
        }
        Ok(terms)
    }
}
