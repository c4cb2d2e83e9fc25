//! Where a cell trains a network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::Device;
use kd_core::Seed;
use kd_experiment::{Job, Progress};

use crate::{Machine, Meter};

/// The state of a network that is still training, in its cell's folder.
const STATE: &str = "state.safetensors";

/// Where and on what a cell trains a network.
#[derive(Clone, Copy)]
pub struct TrainingContext<'a> {
    /// The cell's folder.
    pub dir: &'a Path,
    /// The seed of every draw.
    pub seed: Seed,
    /// The device.
    pub device: &'a Device,
    /// Least time between two saves of the state.
    pub save_every: Duration,
    /// Who is told how far it has come.
    pub progress: &'a dyn Progress,
}

impl<'a> TrainingContext<'a> {
    /// Of a cell that is to be computed on a machine.
    pub fn of(job: &Job<'a>, machine: &'a Machine) -> Self {
        let Machine { device, save_every } = machine;
        Self {
            dir: job.dir.path(),
            seed: Seed(job.cell.seed),
            device,
            save_every: *save_every,
            progress: job.progress,
        }
    }

    /// A meter of a training of so many epochs.
    pub fn meter(&self, epochs: usize) -> Meter<'a> {
        Meter::new(self.progress, epochs)
    }

    /// The file of the state of a network that is still training.
    pub fn state(&self) -> PathBuf {
        self.dir.join(STATE)
    }

    /// The file of each epoch's records.
    pub fn epochs(&self) -> PathBuf {
        self.dir.join("epochs.csv")
    }

    /// The file of the finished network.
    pub fn network(&self) -> PathBuf {
        self.dir.join(kd_core::frozen::NETWORK)
    }

    /// Removes the state of a training whose network is written: twice its size, it has served. A
    /// failure costs disk space only.
    pub fn drop_state(&self) {
        let _ = std::fs::remove_file(self.state());
    }
}
