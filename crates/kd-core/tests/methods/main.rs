//! Distillation methods: their losses beside PyTorch's, and as a training step sees them, what they
//! want of a pair of networks, their terms, and gradients of their adapters.

#[path = "../formula/mod.rs"]
mod formula;

mod adapters;
mod cat_kd_maps;
mod class_means;
mod ctkd;
mod distillation_losses;
mod fits;
mod golden_cases;
mod itrd_features;
mod mlkd_views;
mod nd_centres;
mod newer_feature_losses;
mod newer_losses;
mod norm_student;
mod on_logits;
mod sdd_cells;
mod simkd_student;
mod student_gradients;
mod transfer_losses;
mod wiring;
mod wkd;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{
    Context, Distillation, MethodSpec, Recipe, Soft, Step, at, cat_kd, cc, dkd, itrd, nd, nst, pkt,
    rkd, sdd, sp, vid,
};
use kd_core::model::{Model, NetworkSpec, Outputs};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::{Result, Seed};

/// A student that trains and a frozen teacher.
struct Pair {
    student: Box<dyn Model>,
    params: Params,
    vb: VarBuilder<'static>,
    teacher: Teacher,
}

impl Pair {
    fn new(student: &str, teacher: &str) -> Result<Self> {
        let device = &Device::Cpu;
        let (params, vb) = Params::seeded(Seed(7), device);
        let student = NetworkSpec::from_name(student, 10)?.build(vb.clone())?;
        let teacher_spec = NetworkSpec::from_name(teacher, 10)?;
        let (weights, teacher_vb) = Params::seeded(Seed(8), device);
        teacher_spec.build(teacher_vb)?;
        let teacher = Frozen::build(weights.snapshot()?, device, |vb| teacher_spec.build(vb))?;
        Ok(Self { student, params, vb, teacher })
    }

    fn build(&self, spec: &MethodSpec) -> Result<Box<dyn Distillation>> {
        spec.build(&Context::new(&*self.student, Some(&self.teacher), &[], &self.params, &self.vb))
    }
}

/// A step of the second epoch on these outputs.
fn step<'a>(
    student: &'a Outputs,
    teacher: &'a Outputs,
    labels: &'a Tensor,
    numbers: &'a [u32],
) -> Step<'a> {
    let draws = StepSeed { seed: Seed(3), epoch: 1, step: 0 };
    let (student, teacher) = (Some(student), Some(teacher));
    Step { student, teacher, second: None, labels, numbers, epoch: 1, draws }
}

/// The methods of this file's tests, with the weights of their sources, on hard targets and joined
/// with soft ones.
fn specs() -> Vec<MethodSpec> {
    let (hard_weight, soft) = (1., Some(Soft { temperature: 4., weight: 0.5 }));
    vec![
        at::Spec { weight: 1000., hard_weight, soft }.into(),
        sp::Spec { weight: 3000., hard_weight, soft }.into(),
        cc::Spec { weight: 0.02, width: 128, hard_weight, soft }.into(),
        vid::Spec { weight: 1., variance: 5., least_variance: 1e-5, hard_weight, soft }.into(),
        rkd::Spec { distance_weight: 25., angle_weight: 50., hard_weight, soft }.into(),
        itrd::Spec { correlation_weight: 2., mutual_weight: 1., alpha: 1.01, hard_weight, soft }
            .into(),
        sdd::Spec {
            grids: vec![1, 2, 4],
            complementary_weight: 2.,
            base: sdd::Base::Kd { temperature: 4., weight: 0.9 },
            hard_weight,
            soft,
        }
        .into(),
        cat_kd::Spec {
            weight: 15.,
            side: 2,
            normalised: true,
            bias: cat_kd::Bias::Dropped,
            hard_weight,
            soft,
        }
        .into(),
        nd::Spec {
            weight: 2.,
            warm_up_epochs: 0,
            dropout: 0.5,
            base: Box::new(
                dkd::Spec {
                    temperature: 4.,
                    alpha: 2.,
                    beta: 8.,
                    warm_up_epochs: 0,
                    hard_weight,
                    soft,
                    standardised: false,
                }
                .into(),
            ),
        }
        .into(),
        pkt::Spec { weight: 30_000., hard_weight, soft }.into(),
        nst::Spec { weight: 50., hard_weight, soft }.into(),
        dkd::Spec {
            temperature: 4.,
            alpha: 1.,
            beta: 2.,
            warm_up_epochs: 20,
            hard_weight,
            soft,
            standardised: false,
        }
        .into(),
    ]
}
