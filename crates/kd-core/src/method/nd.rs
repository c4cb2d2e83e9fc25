//! "Improving knowledge distillation via regularizing feature norm and direction" (Wang, Cheng,
//! Duan, Wang, Feng and Kong 2023): a term that joins another method, which the paper then calls
//! "++".
//!
//! L = L_labels + min(1, e / warm-up-epochs) · L_teacher + weight · ND(A(s), t) at epoch e, counted
//! from 0, with the terms of `base` by which the labels and the teacher pull, the pooled vectors s
//! and t of student and teacher, and [`norm_and_direction`] ND. Its centres are the means of the
//! teacher's pooled vectors over the training images of each class, as they are, without
//! augmentation. They are made before the first step and are a buffer after. A is nothing where the
//! two widths agree, and a batch-norm, dropout and a dense layer where they differ; it trains and
//! is dropped.
//!
//! kd++ is this with soft-targets as base, dkd++ with dkd and review++ with review; any other
//! method can take their place, but this. The warm-up multiplies one that the base has of its own:
//! the official program's is from 0 for all, so that the base's own is 0 there.
//!
//! Source: section 3 and the official program: warm-up of 20 epochs, dropout 0.5. The dense layer
//! begins as PyTorch's default, its bias at 0.
//!
//! Deviation: the program makes its centres of images that are cropped and mirrored at random, and
//! rounds features to four decimals.

use candle_core::{Tensor, Var};
use candle_nn::Init;
use kd_kernels::Activation;
use kd_kernels::dropout::dropout;
use serde::{Deserialize, Serialize};

use super::{
    Context, Distillation, MethodSpec, Pull, Recipe, Step, Teaching, Term, Wants, check_weight,
    rise,
};
use crate::loss::norm_and_direction;
use crate::model::layers::{BatchNorm, ConvInit, Dense, DenseInit, Maker};
use crate::model::{Mode, Model, NetworkSpec, Outputs};
use crate::params::buffer;
use crate::{Error, Result};

/// Where both networks have the vector that the classifier sees.
const POOLED: &str = "pooled";

/// Norm and direction beside another method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Weight of norm and direction.
    pub weight: f64,
    /// Epochs over which the weights rise of those of the base's terms by which the teacher pulls;
    /// 0 for none.
    pub warm_up_epochs: usize,
    /// Share of the student's features that the adapter drops, from 0 to below 1; it counts where
    /// the widths differ.
    pub dropout: f64,
    /// The method that it joins.
    pub base: Box<MethodSpec>,
}

/// Terms: those of the base, and `norm-direction`.
pub struct Nd {
    weight: f64,
    warm_up_epochs: usize,
    base: Box<dyn Distillation>,
    adapter: Option<Adapter>,
    centres: Var,
    /// How many training images each class has.
    counts: Vec<usize>,
    wants: Wants,
    /// Where the pooled vector stands among the taps of student and teacher.
    places: [usize; 2],
}

/// From the student's width to the teacher's.
struct Adapter {
    norm: BatchNorm,
    dropout: f64,
    dense: Dense,
}

impl Recipe for Spec {
    fn check(&self) -> Result<()> {
        check_weight("weight", self.weight)?;
        Error::unless_within("method.warm-up-epochs", self.warm_up_epochs, 0..=1_000_000)?;
        if !(0. ..1.).contains(&self.dropout) {
            return Err(Error::bad_input(format!(
                "method.dropout: expected a probability in [0, 1), got {}",
                self.dropout
            )));
        }
        if matches!(*self.base, MethodSpec::Nd(_)) {
            return Err(Error::bad_input("method.base: expected another method than nd, got nd"));
        }
        self.base.check()
    }

    fn student(&self, network: NetworkSpec, teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        self.base.student(network, teacher)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        let base = self.base.build(context)?;
        let (student, teacher) =
            (context.student().tap(POOLED)?, context.teacher_model()?.tap(POOLED)?);
        let mut wants = base.wants().clone();
        if !wants.student || wants.survey.is_some() {
            return Err(Error::bad_input(
                "method.base: expected a method that trains the student and looks at no training set before, got another",
            ));
        }
        let mut taught = match &wants.teaching {
            Teaching::Live { taps } => taps.clone(),
            Teaching::None | Teaching::Logits => Vec::new(),
        };
        let places = [place(&mut wants.student_taps), place(&mut taught)];
        wants.teaching = Teaching::Live { taps: taught };
        wants.survey = Some(vec![POOLED.to_owned()]);
        let classes = context.student().classes();
        let vb = context.vb().pp("nd");
        buffer(&vb, (classes, teacher.channels), "centres", Init::Const(0.))?;
        let centres = context.var("nd.centres")?;
        // A phase before this one may have made them, of the same images.
        centres.set(&centres.zeros_like()?)?;
        let mut counts = vec![0; classes];
        for &label in context.labels() {
            *counts.get_mut(usize::from(label)).ok_or_else(|| {
                Error::bad_input(format!("nd: expected labels below {classes}, got {label}"))
            })? += 1;
        }
        let adapter = (student.channels != teacher.channels)
            .then(|| -> Result<Adapter> {
                let mut make = Maker::new(ConvInit::Uniform, context.precision());
                let widths = (student.channels, teacher.channels);
                Ok(Adapter {
                    norm: BatchNorm::new(vb.pp("0"), widths.0)?,
                    dropout: self.dropout,
                    dense: make.dense(
                        vb.pp("2"),
                        widths.0,
                        widths.1,
                        DenseInit::UniformZeroBias,
                    )?,
                })
            })
            .transpose()?;
        Ok(Box::new(Nd {
            weight: self.weight,
            warm_up_epochs: self.warm_up_epochs,
            base,
            adapter,
            centres,
            counts,
            wants,
            places,
        }))
    }
}

/// Where the pooled vector stands among these taps, to which it is added where it is not there.
fn place(taps: &mut Vec<String>) -> usize {
    taps.iter().position(|tap| tap == POOLED).unwrap_or_else(|| {
        taps.push(POOLED.to_owned());
        taps.len() - 1
    })
}

impl Adapter {
    fn forward(&self, xs: &Tensor, step: &Step) -> Result<Tensor> {
        let mode = Mode::Train(step.draws);
        let mut xs = self.norm.forward(xs, None, Activation::None, mode)?;
        if self.dropout > 0. {
            xs = dropout(&xs, self.dropout, step.draws.stream("nd.dropout"))?;
        }
        self.dense.forward(&xs, mode)
    }
}

impl Nd {
    /// The outputs that the base asked for: the first of those of the step.
    fn of_base(&self, outputs: Option<&Outputs>, taps: usize) -> Option<Outputs> {
        outputs.map(|all| Outputs {
            logits: all.logits.clone(),
            taps: all.taps.iter().take(taps).cloned().collect(),
        })
    }

    /// What `look` makes of the step as the base asked for it.
    fn with_base<T>(&self, step: &Step, look: impl Fn(&Step) -> Result<T>) -> Result<T> {
        let wants = self.base.wants();
        let student = self.of_base(step.student, wants.student_taps.len());
        let teacher = match &wants.teaching {
            Teaching::None => None,
            Teaching::Logits => self.of_base(step.teacher, 0),
            Teaching::Live { taps } => self.of_base(step.teacher, taps.len()),
        };
        look(&Step { student: student.as_ref(), teacher: teacher.as_ref(), ..*step })
    }
}

impl Distillation for Nd {
    fn wants(&self) -> &Wants {
        &self.wants
    }

    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let rise = rise(step.epoch, self.warm_up_epochs);
        let mut terms = self.with_base(step, |step| self.base.terms(step))?;
        for term in terms.iter_mut().filter(|term| term.pull == Pull::Teacher) {
            term.weight *= rise;
        }
        let [of_student, of_teacher] = self.places;
        let (student, teacher) =
            (&step.student()?.taps[of_student], &step.teacher()?.taps[of_teacher]);
        let adapted = self.adapter.as_ref().map(|a| a.forward(student, step)).transpose()?;
        let distance = norm_and_direction(
            adapted.as_ref().unwrap_or(student),
            teacher,
            self.centres.as_tensor(),
            step.labels,
        )?;
        terms.push(Term::teacher("norm-direction", distance, self.weight));
        Ok(terms)
    }

    /// Adds the images' share of the means of their classes.
    fn survey(&self, step: &Step) -> Result<()> {
        let pooled = &step.teacher()?.taps[0];
        let labels = step.labels.to_vec1::<u32>()?;
        let share = |label: &u32| {
            let count = self.counts.get(*label as usize).copied().unwrap_or_default();
            if count == 0 {
                return Err(Error::bad_input(format!(
                    "nd: expected the labels of all training images, got none of class {label}"
                )));
            }
            Ok((1. / count as f64) as f32)
        };
        let shares = labels.iter().map(share).collect::<Result<Vec<f32>>>()?;
        let shares = Tensor::from_vec(shares, (labels.len(), 1), pooled.device())?;
        let parts = pooled.broadcast_mul(&shares)?;
        Ok(self.centres.set(&self.centres.as_detached_tensor().index_add(
            step.labels,
            &parts,
            0,
        )?)?)
    }

    fn remember(&self, step: &Step) -> Result<()> {
        self.with_base(step, |step| self.base.remember(step))
    }
}
