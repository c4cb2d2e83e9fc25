//! The options of every binary.

use std::path::PathBuf;

use clap::Args;
use kd_base::DeviceChoice;
use kd_base::threads::parse_threads;

use crate::{Error, Preset, Seeds, Shard};

/// Threads for each core that are started at most: with more, a program on a small machine spends
/// its first seconds on starting them.
const PER_CORE: usize = 8;

/// Options that stand before or after any command.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Budget: quick (minutes), laptop (hours on two cores), paper (as published)
    #[arg(long, global = true, default_value = "quick")]
    pub preset: Preset,
    /// Data set; `auto` looks in --data-dir, then in the Hugging Face cache, then downloads, and
    /// falls back to generated data
    #[arg(long, global = true, default_value = "auto", value_name = "NAME")]
    pub data: String,
    /// Folder with the data set's files
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Device: auto, cpu, cuda, cuda:N or metal
    #[arg(long, global = true, default_value = "auto")]
    pub device: DeviceChoice,
    /// Seeds in place of the preset's: 1,2,3 or 1..3 (both ends belong to it)
    #[arg(long, global = true)]
    pub seeds: Option<Seeds>,
    /// Part I of N of the cells, to split the work over machines or processes
    #[arg(long, global = true, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Folder of the runs: finished cells are never run again
    #[arg(long, global = true, value_name = "DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// Folder of the tables
    #[arg(long, global = true, value_name = "DIR", default_value = "results")]
    pub out: PathBuf,
    /// Folder of the experiment files [default: `experiments` here or in a parent folder, else the
    /// built-in ones]
    #[arg(long, global = true, value_name = "DIR")]
    pub experiments: Option<PathBuf>,
    /// Least seconds between two saves of a network that is training: what a killed run may lose
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20)]
    pub save_every: u64,
    /// Threads of the CPU kernels, at most 1024, of which no more than eight a core are started
    /// [default: all cores]; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = parse_threads)]
    pub threads: Option<usize>,
}

impl Options {
    /// Gives the process's rayon pool the number of threads that was asked for. To be called once,
    /// before anything computes; an error where the pool has been started already.
    pub fn start_threads(&self) -> Result<(), Error> {
        let Some(threads) = self.threads else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.min(PER_CORE * cores));
        let pool = pool.build_global();
        pool.map_err(|error| Error::bad_input(format!("--threads {threads}: {error}")))
    }
}
