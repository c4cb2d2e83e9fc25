//! "Wasserstein distance rivals Kullback-Leibler divergence for knowledge distillation" (Lv, Yang
//! and Li, NeurIPS 2024), on logits: WKD-L, and beside WKD-F.
//!
//! L = hard-weight · CE + target-weight · [`trusted_labels`] + δ(e) · weight ·
//! [`transport_of_others`] at epoch e, counted from 1: cross-entropy with the labels, each case
//! weighed by what the teacher gives its label, and the cost of bringing the student's
//! probabilities of the other classes, at T, to the teacher's. δ is what is left of the weight
//! ([`Decay`]). Logits are `[b, c]`. With `features`, L has δ(e) · weight · (mean-weight · M + D) of
//! [`super::wkd_f`] too.
//!
//! What it costs to take one class for another is 1 − exp(−κ · (1 − A)), with κ `sharpening` and A
//! the linear centred kernel alignment of the classes
//! ([`class_costs`](crate::loss::alignment::class_costs)): of the teacher's last map of each
//! training image, as it is, without augmentation, each pixel is a vector of its channels, and that
//! of the k-th image of one class is compared with that of the k-th of another. The costs are made
//! before the first step and are a buffer after.
//!
//! Source: section 3.1 and the official program: κ 1, regularisation 0.05, 10 iterations,
//! target-weight 1, hard-weight 1; weight 600 and T = 8 for resnet32x4 and resnet8x4, 200 and 6 for
//! wrn-40-2 and shufflenet-v1; the weight falls from epoch 150 on, to 0 at the last, 240. For
//! CIFAR-100 the program makes A of maps, as here, and for ImageNet of logits, which is not here.
//! Which image of one class stands beside which of another is chance, so that A compares where in
//! the image features are. Pooled vectors have no place, and hardly tell pairs of classes apart.
//!
//! Deviations: the published costs are files that were made of the authors' teachers; here they are
//! of the run's own. The program takes all images: `images-per-class` bounds the memory that their
//! maps take before the first step.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::class_costs::ClassCosts;
use super::on_logits::wants_logits;
use super::wkd_f::{FeatureTerms, Features};
use super::{
    Context, Decay, Distillation, LogitTerms, Recipe, Soft, Step, Term, Wants, check_temperature,
    check_weight,
};
use crate::loss::normalised::trusted_labels;
use crate::loss::transport::{Sinkhorn, transport_of_others};
use crate::model::Activated;
use crate::{Error, Result};

/// The most iterations of Sinkhorn's.
const MOST: usize = 1000;

/// Transport between the other classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The temperature T among the other classes; the true class has none.
    pub temperature: f64,
    /// Weight of the transport.
    pub weight: f64,
    /// Weight of the cross-entropy with the labels that the teacher weighs.
    pub target_weight: f64,
    /// How fast costs rise where classes have less in common (κ).
    pub sharpening: f64,
    /// How many images of each class the costs are made of, at most.
    pub images_per_class: usize,
    /// What divides the costs in Sinkhorn's iterations.
    pub regularisation: f64,
    /// How many iterations there are.
    pub iterations: usize,
    /// The epochs over which the weight falls, and that of the features.
    pub decay: Decay,
    /// Weight of the cross-entropy with the labels.
    pub hard_weight: f64,
    /// Softened targets beside it.
    pub soft: Option<Soft>,
    /// Features as normal distributions beside it; none where an experiment file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
}

impl Spec {
    fn logit_terms(&self) -> LogitTerms {
        LogitTerms { hard_weight: self.hard_weight, soft: self.soft }
    }
}

/// Terms: `target`, `transport`, `means` and `deviations` with features, and those of
/// [`LogitTerms`].
pub struct WkdL {
    spec: Spec,
    wants: Wants,
    costs: ClassCosts,
    features: Option<FeatureTerms>,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_temperature(self.temperature)?;
        check_weight("weight", self.weight)?;
        check_weight("target-weight", self.target_weight)?;
        check_within("sharpening", self.sharpening, 1e-3, 1e3)?;
        // Below, e^(-1/ε) and its products are no numbers of float32.
        check_within("regularisation", self.regularisation, 0.02, 1e3)?;
        Error::unless_within("method.images-per-class", self.images_per_class, 2..=1_000_000)?;
        Error::unless_within("method.iterations", self.iterations, 1..=MOST)?;
        self.decay.check()?;
        self.features.map_or(Ok(()), |features| features.check("features."))?;
        self.logit_terms().check()
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let mut wants = wants_logits(context, "wkd-l")?;
        let stages = context.teacher_model()?.stages(Activated::After);
        let last = stages.last().ok_or_else(|| {
            Error::bad_input("wkd-l: expected a teacher with stages, got one without")
        })?;
        let surveyed = vec![last.name.clone()];
        let costs = ClassCosts::new(context, self.images_per_class, self.sharpening)?;
        let features = self
            .features
            .map(|features| FeatureTerms::new(context, features, "wkd-l"))
            .transpose()?;
        if let Some(features) = &features {
            wants = features.wants.clone();
        }
        wants.survey = Some(surveyed);
        Ok(Box::new(WkdL { spec: self.clone(), wants, costs, features }))
    }
}

/// Checks a number that has to be above 0.
fn check_within(name: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "method.{name}: expected a number from {least} to {most}, got {value}"
    )))
}

impl Distillation for WkdL {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let spec = &self.spec;
        let (student, teacher) = (&step.student()?.logits, &step.teacher()?.logits);
        let Spec { regularisation, iterations, .. } = *spec;
        let sinkhorn = Sinkhorn { regularisation, iterations };
        let share = spec.decay.share(step.epoch + 1);
        let costs = self.costs.costs()?;
        let target = trusted_labels(student, teacher, step.labels)?;
        let transport: Tensor =
            transport_of_others(student, teacher, step.labels, &costs, spec.temperature, sinkhorn)?;
        let mut terms = spec.logit_terms().terms(step)?;
        terms.push(Term::teacher("target", target, spec.target_weight));
        terms.push(Term::teacher("transport", transport, spec.weight * share));
        if let Some(features) = &self.features {
            terms.extend(features.terms(step, share)?);
        }
        Ok(terms)
    }

    fn survey(&self, step: &Step) -> Result<()> {
        self.costs.survey(step)
    }
}
