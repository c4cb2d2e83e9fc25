//! What a paper's networks compute on.

use std::time::Duration;

use candle_core::Device;
use kd_core::{device, process};
use kd_experiment::Result;
use kd_experiment::cli::Options;

/// Where a paper's networks compute, and how often they are saved.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The device.
    pub device: Device,
    /// Least time between two saves of the state of a network that trains.
    pub save_every: Duration,
}

impl Machine {
    /// What the command line asks for, with the threads that it asks for started. To be called
    /// once, before anything computes. A command that does not compute, as one that submits jobs to
    /// other machines, needs no device of its own: it gets the CPU.
    ///
    /// # Errors
    /// Bad input when this build knows no such device, or, for a command that computes, the machine
    /// has none; when the threads have been started already, or the environment asks for kernels
    /// that there are not.
    pub fn start(options: &Options, computes: bool) -> Result<Self> {
        process::check_environment()?;
        options.start_threads()?;
        device::check_build(options.device)?;
        Ok(Self {
            device: if computes { device::open(options.device)? } else { Device::Cpu },
            save_every: Duration::from_secs(options.save_every),
        })
    }

    /// The device's name, as results record it.
    pub fn name(&self) -> String {
        device::name(&self.device)
    }
}
