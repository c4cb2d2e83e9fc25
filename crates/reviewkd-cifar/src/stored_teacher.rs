//! `--store-teacher`: what a teacher says of the training images is kept, and computed once for all
//! students that see the same.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use candle_core::Device;
use kd_core::data::{CropFlip, Normalisation, Validation};
use kd_core::stored_outputs::StoredOutputs;
use kd_core::{Error, Result, Seed, device};
use kd_experiment::{Experiment, Preset};
use kd_kernels::switch;
use serde::Serialize;
use toml::{Table, Value};

use crate::precision::Precision;
use crate::spec::{TeacherStatistics, TrainCell};

/// The folder of the stores, among those of the papers' runs.
const FOLDER: &str = "teacher-outputs";

/// How many views of each training image there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Views {
    /// One for each epoch, as without a store.
    All,
    /// So many.
    Some(NonZeroUsize),
}

impl FromStr for Views {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => {
                number.parse().map(Self::Some).map_err(|_| "expected all, or 1 or more".into())
            }
        }
    }
}

/// Has the students of these tables at this preset see so many views of each training image; those
/// of no more epochs stay as they are. A row that states `examples.views` itself is left alone.
///
/// # Errors
/// Bad input that names a row whose teacher says another thing of the same view in another batch.
pub fn apply(experiments: &mut [Experiment], preset: Preset, views: Option<Views>) -> Result<()> {
    let Some(asked) = views else { return Ok(()) };
    for experiment in experiments {
        for row in &mut experiment.rows {
            let learns = row.needs.iter().any(|(role, _)| role == "teacher");
            let spec = row.spec.at_mut(preset);
            let epochs = epochs(spec);
            let Some(examples) = spec.get_mut("examples").and_then(Value::as_table_mut) else {
                continue;
            };
            let stated = examples.get("views").and_then(Value::as_integer);
            let views = match (stated, asked) {
                (Some(stated), _) => usize::try_from(stated).unwrap_or(0),
                (None, Views::Some(views)) => views.get(),
                (None, Views::All) => 0,
            };
            // 0 stands for as many as epochs.
            if !learns || views == 0 || epochs <= views {
                continue;
            }
            examples.insert("views".to_owned(), Value::Integer(views as i64));
            if spec.get("teacher-statistics").and_then(Value::as_str) == Some("batch") {
                return Err(Error::bad_input(format!(
                    "--store-teacher: {}/{}: expected all or at least its {epochs} epochs, since its teacher normalises with the statistics of each batch, got {views}",
                    experiment.name, row.name
                )));
            }
        }
    }
    Ok(())
}

/// The epochs of all phases that a row states.
fn epochs(spec: &Table) -> usize {
    let of = |phase: Option<&Value>| -> usize {
        let epochs = phase.and_then(|phase| phase.get("epochs")?.as_integer());
        epochs.and_then(|epochs| epochs.try_into().ok()).unwrap_or(0)
    };
    let before = spec.get("before").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    before.iter().map(|phase| of(phase.get("train"))).sum::<usize>() + of(spec.get("train"))
}

/// Where teachers' outputs are kept.
#[derive(Clone, Debug)]
pub struct Stores {
    root: PathBuf,
    limit: u64,
}

/// All that decides what a teacher says of an image in an epoch.
#[derive(Serialize)]
struct About<'a> {
    teacher: &'a str,
    teacher_statistics: TeacherStatistics,
    data: &'a str,
    images: usize,
    validation: Option<Validation>,
    normalisation: Normalisation,
    augmentation: CropFlip,
    views: usize,
    /// Epochs and batch size of each phase, where they differ in the latter; else the latter.
    batches: Vec<Vec<usize>>,
    seed: u64,
    conv: Precision,
    /// Other instructions round otherwise.
    instructions: &'static str,
    device: String,
}

impl Stores {
    /// Stores below the folder of all runs, of at most so many gibibytes each.
    pub fn new(runs: &std::path::Path, limit: f64) -> Result<Self> {
        if !(limit > 0. && limit <= 1e6) {
            let what = "--store-limit: expected above 0 and at most 1000000, got";
            return Err(Error::bad_input(format!("{what} {limit}")));
        }
        Ok(Self { root: runs.join(FOLDER), limit: (limit * f64::from(1 << 30)) as u64 })
    }

    /// The store of the teacher with this name for the student of `cell`, which trains on so many
    /// images.
    ///
    /// # Errors
    /// As [`StoredOutputs::open`].
    pub fn open(
        &self,
        cell: &TrainCell,
        teacher: &str,
        data: &str,
        images: usize,
        seed: Seed,
        on: &Device,
    ) -> Result<StoredOutputs> {
        let phases = cell.phases();
        let mut sizes: Vec<usize> = phases.iter().map(|phase| phase.train.batch_size).collect();
        sizes.dedup();
        let batches = match sizes[..] {
            [size] => vec![vec![size]],
            _ => phases.iter().map(|p| vec![p.train.epochs, p.train.batch_size]).collect(),
        };
        let about = About {
            teacher,
            teacher_statistics: cell.teacher_statistics,
            data,
            images,
            validation: cell.validation,
            normalisation: cell.examples.normalisation,
            augmentation: cell.examples.augmentation,
            views: cell.examples.views,
            batches,
            seed: seed.0,
            conv: cell.conv,
            instructions: switch::instructions()?,
            device: device::name(on),
        };
        let views = NonZeroUsize::new(cell.examples.views);
        StoredOutputs::open(&self.root, &about, images, views, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_all_or_a_number_above_zero() {
        assert_eq!("all".parse(), Ok(Views::All));
        assert_eq!("4".parse(), Ok(Views::Some(NonZeroUsize::new(4).expect("above 0"))));
        for text in ["0", "-1", "", "ALL", "1.5"] {
            assert_eq!(
                text.parse::<Views>(),
                Err("expected all, or 1 or more".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn limits_outside_their_domain_are_refused() {
        let said = |limit| Stores::new("runs".as_ref(), limit).map(drop).map_err(|e| e.to_string());
        for limit in [0., -1., f64::NAN, f64::INFINITY] {
            let text = said(limit).expect_err("refused");
            assert!(text.starts_with("--store-limit: expected above 0"), "{text}");
        }
        assert_eq!(said(0.5), Ok(()));
    }

    #[test]
    fn epochs_are_those_of_all_phases() {
        let spec =
            "before = [{ train = { epochs = 3 } }, { train = { epochs = 4 } }]\ntrain.epochs = 24";
        assert_eq!(epochs(&spec.parse().expect("a table")), 31);
        assert_eq!(epochs(&Table::new()), 0);
    }
}
