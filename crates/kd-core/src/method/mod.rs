//! Distillation methods: one a file, behind one trait and one closed enum.
//!
//! A method says what it wants from teacher and student and turns one step's outputs into named
//! loss terms. The arithmetic is in [`crate::loss`]; a method is wiring. Each file has two things:
//! `Spec`, the hyper-parameters as an experiment file writes them, which is a [`Recipe`], and the
//! [`Distillation`] that it builds for a student and a teacher. To add a method, write its file
//! beside [`fitnet`] and name it in the list at the end of this one. [`choosing`] says which method
//! is for which case.

pub mod ab;
pub mod abkd;
mod anchored;
pub mod at;
pub mod cat_kd;
pub mod cc;
pub mod choosing;
mod class_costs;
mod class_means;
mod classified;
pub mod crd;
pub mod cross_stage;
pub mod ctkd;
mod decay;
pub mod dist;
pub mod dkd;
mod entropy_weights;
pub mod fitnet;
pub mod fsp;
pub mod ft;
pub mod gkl;
pub mod hard_targets;
mod interface;
pub mod itrd;
pub mod logit_regression;
mod logits;
pub mod luminet;
pub mod mlkd;
pub mod nd;
pub mod nkd;
pub mod norm;
pub mod norm_kd;
pub mod nst;
pub mod ofd;
mod on_logits;
mod pairs;
pub mod paraphraser;
pub mod pkt;
mod regressor;
pub mod review;
pub mod rkd;
pub mod rld;
pub mod sdd;
pub mod simkd;
pub mod skd;
pub mod soft_targets;
pub mod sp;
mod stages;
pub mod ttm;
pub mod vid;
pub mod wkd_f;
pub mod wkd_l;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::model::{Model, NetworkSpec};

pub use anchored::{Anchored, check_penalty};
pub use decay::Decay;
pub use entropy_weights::{EntropyBound, EntropyWeights};
pub use interface::{
    Context, Distillation, PREFIX, Pull, Recipe, SecondView, Step, Teaching, Term, Wants,
};
pub use logits::{LogitTerms, Soft, check_temperature, check_weight, rise};
use logits::{check_exponent, check_warm_up, compared};

/// Makes [`MethodSpec`] of the methods' modules.
macro_rules! methods {
    ($($(#[$about:meta])* $variant:ident($module:ident)),+ $(,)?) => {
        /// The methods there are, with their hyper-parameters, as an experiment file writes them: `{ kind = "fitnet", weight = 100.0, … }`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum MethodSpec {
            $($(#[$about])* $variant($module::Spec)),+
        }

        impl MethodSpec {
            fn recipe(&self) -> &dyn Recipe {
                match self {
                    $(Self::$variant(spec) => spec),+
                }
            }
        }

        $(impl From<$module::Spec> for MethodSpec {
            fn from(spec: $module::Spec) -> Self {
                Self::$variant(spec)
            }
        })+
    };
}

impl Recipe for MethodSpec {
    fn check(&self) -> Result<()> {
        self.recipe().check()
    }

    fn needs_teacher(&self) -> bool {
        self.recipe().needs_teacher()
    }

    fn student(&self, network: NetworkSpec, teacher: Option<&dyn Model>) -> Result<NetworkSpec> {
        self.recipe().student(network, teacher)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Distillation>> {
        self.check()?;
        self.recipe().build(context)
    }
}

methods! {
    /// Heo et al. 2019, activation boundaries: the first of two phases. See [`ab`].
    Ab(ab),
    /// Wang et al. 2025, the α-β-divergence. See [`abkd`].
    Abkd(abkd),
    /// Zagoruyko and Komodakis 2017, attention transfer. See [`at`].
    At(at),
    /// Guo et al. 2023, class attention transfer. See [`cat_kd`].
    CatKd(cat_kd),
    /// Peng et al. 2019, correlation congruence. See [`cc`].
    Cc(cc),
    /// Tian et al. 2020, contrastive representation distillation. See [`crd`].
    Crd(crd),
    /// Chen et al. 2021, one stage to one stage. See [`cross_stage`].
    CrossStage(cross_stage),
    /// Li et al. 2023, a temperature that works against the student. See [`ctkd`].
    Ctkd(ctkd),
    /// Huang et al. 2022, correlations of predictions. See [`dist`].
    Dist(dist),
    /// Zhao et al. 2022, decoupled soft targets. See [`dkd`].
    Dkd(dkd),
    /// Romero et al. 2015, hints. See [`fitnet`].
    Fitnet(fitnet),
    /// Yim et al. 2017, flow of solution procedure: the first of two phases. See [`fsp`].
    Fsp(fsp),
    /// Kim et al. 2018, factor transfer: the second of two phases. See [`ft`].
    Ft(ft),
    /// Cui et al. 2024 and 2026, divergence in two parts: IKL and GKL. See [`gkl`].
    Gkl(gkl),
    /// Cross-entropy with the labels alone: no distillation. See [`hard_targets`].
    HardTargets(hard_targets),
    /// Miles et al. 2022, information theoretic representation distillation. See [`itrd`].
    Itrd(itrd),
    /// The limit of soft targets at high temperature. See [`logit_regression`].
    LogitRegression(logit_regression),
    /// Hossain et al. 2025, perceptions of a batch. See [`luminet`].
    Luminet(luminet),
    /// Jin et al. 2023, multi-level logit distillation. See [`mlkd`].
    Mlkd(mlkd),
    /// Wang et al. 2023, norm and direction of features beside another method. See [`nd`].
    Nd(nd),
    /// Yang et al. 2023, normalised soft targets. See [`nkd`].
    Nkd(nkd),
    /// Liu et al. 2023, N-to-one representation matching. See [`norm`].
    Norm(norm),
    /// Chi et al. 2023, temperatures in proportion to the spread of the logits. See [`norm_kd`].
    NormKd(norm_kd),
    /// Huang and Wang 2017, neuron selectivity. See [`nst`].
    Nst(nst),
    /// Heo et al. 2019, the overhaul of feature distillation. See [`ofd`].
    Ofd(ofd),
    /// Kim et al. 2018, the first phase of factor transfer. See [`paraphraser`].
    Paraphraser(paraphraser),
    /// Passalis and Tefas 2018, probabilistic knowledge transfer. See [`pkt`].
    Pkt(pkt),
    /// Chen et al. 2021, knowledge review. See [`review`].
    Review(review),
    /// Park et al. 2019, relational knowledge distillation. See [`rkd`].
    Rkd(rkd),
    /// Sun et al. 2025, refined logits. See [`rld`].
    Rld(rld),
    /// Wei, Luo and Luo 2024, scale decoupled distillation. See [`sdd`].
    Sdd(sdd),
    /// Chen et al. 2022, the reused teacher classifier. See [`simkd`].
    Simkd(simkd),
    /// Streamlined knowledge distillation, 2026. See [`skd`].
    Skd(skd),
    /// Hinton, Vinyals and Dean 2015. See [`soft_targets`].
    SoftTargets(soft_targets),
    /// Tung and Mori 2019, similarity-preserving distillation. See [`sp`].
    Sp(sp),
    /// Zheng and Yang 2024, transformed teacher matching. See [`ttm`].
    Ttm(ttm),
    /// Ahn et al. 2019, variational information distillation. See [`vid`].
    Vid(vid),
    /// Lv, Yang and Li 2024, features as normal distributions. See [`wkd_f`].
    WkdF(wkd_f),
    /// Lv, Yang and Li 2024, transport between classes. See [`wkd_l`].
    WkdL(wkd_l),
}
