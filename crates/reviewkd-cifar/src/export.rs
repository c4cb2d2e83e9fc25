//! `export NETWORK`: a network of this workspace for PyTorch.

use std::io::Write;
use std::path::PathBuf;

use candle_core::Device;
use kd_base::Destination;
use kd_core::exchange;
use kd_core::model::NetworkSpec;
use kd_core::train::checkpoint;
use kd_experiment::cli::{self, Application};
use kd_experiment::{Paper, Result};
use kd_paper::compare::find_network;

/// The arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file, or TABLE/ROW[#SEED] of a finished cell at this preset
    network: String,
    /// Where the weights go: a safetensors file
    #[arg(long)]
    to: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Writes the weights with PyTorch's names, counters of batch-norm included.
///
/// # Errors
/// Bad input when the name means no network, or the target exists.
pub fn run<P: Paper>(
    arguments: &Arguments,
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let to = Destination::new(&arguments.to, arguments.force)?;
    let network = find_network(&arguments.network, application)?;
    let (tensors, _) = checkpoint::load::<NetworkSpec>(&network, &Device::Cpu)?;
    to.write(&exchange::export(&tensors)?)?;
    let line = format!(
        "{}; in PyTorch: model.load_state_dict(safetensors.torch.load_file(...))",
        arguments.to.display()
    );
    cli::say(out, &line)
}
