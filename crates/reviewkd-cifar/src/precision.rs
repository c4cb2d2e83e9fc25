//! `--conv`: the precision of convolutions, as an experiment file and the command line write it.

use kd_experiment::Experiment;
use kd_kernels::conv2d;
use serde::{Deserialize, Serialize};
use toml::Value;

/// See [`conv2d::Precision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Winograd F(2×2, 3×3) and direct convolution.
    Precise,
    /// Winograd F(4×4, 3×3) where a convolution allows it.
    Fast,
}

impl From<Precision> for conv2d::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Precise => Self::Precise,
            Precision::Fast => Self::Fast,
        }
    }
}

/// Sets `conv` of every row that has it. A row with a grid over it compares the two and is left
/// alone.
pub fn apply(experiments: &mut [Experiment], precision: Option<Precision>) {
    let Some(precision) = precision else { return };
    let name = match precision {
        Precision::Precise => "precise",
        Precision::Fast => "fast",
    };
    for row in experiments
        .iter_mut()
        .flat_map(|e| &mut e.rows)
        .filter(|row| row.grids.iter().all(|g| g.path != "conv"))
    {
        for spec in [&mut row.spec.quick, &mut row.spec.laptop, &mut row.spec.paper] {
            if let Some(conv) = spec.get_mut("conv") {
                *conv = Value::String(name.to_owned());
            }
        }
    }
}
