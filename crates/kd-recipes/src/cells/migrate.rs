//! The parameters that come from a teacher's: at once, or by a projection that trains first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_core::method::{Context, MethodSpec, Recipe};
use kd_core::migration::ProjectedMlp;
use kd_core::model::NetworkSpec;
use kd_core::model::mlp::MlpSpec;
use kd_core::params::Params;
use kd_core::train::{EpochRecord, Examples, Fit, Observer, checkpoint};
use kd_core::{Error, Result};
use kd_paper::TrainingContext;

use crate::spec::{MigrationPart, ProjectionPart};

/// One migration.
pub struct Run<'a> {
    /// What is asked for.
    pub part: &'a MigrationPart,
    /// The student.
    pub net: &'a MlpSpec,
    /// What a projection trains on.
    pub examples: &'a dyn Examples,
    /// How its loss is made.
    pub method: &'a MethodSpec,
    /// Where.
    pub context: &'a TrainingContext<'a>,
}

impl Run<'_> {
    /// The student's parameters from those in the teacher's file, and the records of the training
    /// that it took.
    ///
    /// # Errors
    /// Bad input when the teacher is no perceptron, or its parameters do not fit.
    pub fn moved(
        &self,
        teacher: &Path,
        observer: &mut dyn Observer,
    ) -> Result<(BTreeMap<String, Tensor>, Vec<EpochRecord>)> {
        let (tensors, about) = checkpoint::load::<NetworkSpec>(teacher, &Device::Cpu)?;
        let NetworkSpec::Mlp(wide) = about else {
            return Err(Error::bad_input(format!(
                "{}: expected a multi-layer perceptron, got {}",
                teacher.display(),
                about.name()
            )));
        };
        match (self.part.way.at_once(), &self.part.projection) {
            (Some(way), _) => Ok((way.apply(&tensors, &wide, self.net)?, Vec::new())),
            (None, Some(projection)) => self.projected(projection, &tensors, &wide, observer),
            (None, None) => Err(Error::bad_input("migration.projection: expected one, got none")),
        }
    }

    fn projected(
        &self,
        projection: &ProjectionPart,
        tensors: &BTreeMap<String, Tensor>,
        wide: &MlpSpec,
        observer: &mut dyn Observer,
    ) -> Result<(BTreeMap<String, Tensor>, Vec<EpochRecord>)> {
        let &TrainingContext { device, seed, save_every, .. } = self.context;
        let (params, vb) = Params::seeded(seed, device);
        let on_device = tensors
            .iter()
            .map(|(name, t)| Ok((name.clone(), t.to_device(device)?)))
            .collect::<Result<_>>()?;
        let model = ProjectedMlp::new(&on_device, wide, self.net, projection.start, &vb)?;
        let method = self.method.build(&Context::new(&model, None, &[], &params, &vb))?;
        let fit = Fit {
            state: Some(state(self.context)),
            save_every,
            ..Fit::new(&model, &params, &*method, self.examples, &projection.train, seed, device)
        };
        // Its last state stays until the cell is finished: a run that is killed later finds it
        // here and trains no epoch of it again.
        let records = fit.run(observer)?;
        Ok((model.materialise()?, records))
    }
}

fn state(context: &TrainingContext) -> PathBuf {
    context.dir.join("projection.safetensors")
}

/// Removes the state of a projection. A failure costs disk space only.
pub fn drop_state(context: &TrainingContext) {
    let _ = std::fs::remove_file(state(context));
}
