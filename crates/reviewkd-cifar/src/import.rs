//! `import FILE --arch NAME`: a PyTorch checkpoint becomes a network of this workspace.

use std::io::Write;
use std::path::PathBuf;

use kd_base::Destination;
use kd_core::data::{Normalisation, normalised};
use kd_core::exchange::{self, Imported, Place};
use kd_core::frozen::Frozen;
use kd_core::model::NetworkSpec;
use kd_core::torch_checkpoint::MetadataValue;
use kd_core::train::checkpoint;
use kd_experiment::{Result, cli};

use crate::paper::ReviewKd;

/// Images in one forward pass of the evaluation.
const CHUNK: usize = 250;

/// The arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file that torch.save wrote, of either layout, or a safetensors file
    file: PathBuf,
    /// The network in it, for instance resnet56, resnet32x4, wrn-40-2, vgg13, resnet50; resnet20-pad
    /// is a resnet20 whose shortcuts have no parameters
    #[arg(long)]
    arch: String,
    /// How many classes it tells apart
    #[arg(long, default_value_t = 100)]
    classes: usize,
    /// The key of the state dict in the file, with points between keys within keys [default: model,
    /// state_dict, net and the like, or the top]
    #[arg(long)]
    key: Option<String>,
    /// What the names of the network's tensors begin with in the file, for instance teacher. [default:
    /// what all names begin with, or the only prefix behind which the network is]
    #[arg(long)]
    prefix: Option<String>,
    /// Where the network goes [default: FILE with the ending .safetensors]
    #[arg(long)]
    to: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Converts the file, and prints the network's accuracy where CIFAR is at hand: with each
/// normalisation, since a checkpoint does not say which one it was trained with and its accuracy
/// does.
///
/// # Errors
/// Bad input when the file is damaged or is of another network, or the target exists.
pub fn run(paper: &ReviewKd, arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let file = &arguments.file;
    let to = arguments.to.clone().unwrap_or_else(|| file.with_extension("safetensors"));
    let destination = Destination::new(&to, arguments.force)?;
    let spec = NetworkSpec::from_name(&arguments.arch, arguments.classes)?;
    let place = Place { key: arguments.key.clone(), prefix: arguments.prefix.clone() };
    let Imported { tensors, metadata, notes } = exchange::import_from(file, &spec, &place)?;
    let network = Frozen::build(tensors.clone(), &paper.machine().device, |vb| spec.build(vb))?;
    // Before the file is written: a data set that cannot be had is refused, and leaves nothing.
    let (data, provenance) = paper.data()?;
    destination.write(&checkpoint::bytes(&tensors, &spec)?)?;
    let mut say = |line: String| cli::say(out, &line);
    say(format!("{}: {}, {} tensors", to.display(), spec.name(), tensors.len()))?;
    for note in notes {
        say(format!("from the file: {note}"))?;
    }
    for (name, value) in metadata {
        match value {
            MetadataValue::Integer(n) => say(format!("the file says {name} = {n}"))?,
            MetadataValue::Number(x) => say(format!("the file says {name} = {x}"))?,
            MetadataValue::Text(text) => say(format!("the file says {name} = {text}"))?,
        }
    }
    if provenance.dataset == "embedded" || data.test.classes != network.model().classes() {
        let why = format!("{} has {} classes", provenance.dataset, data.test.classes);
        return say(format!(
            "accuracy not measured: no data set of {} classes at hand ({why})",
            network.model().classes()
        ));
    }
    for (name, normalisation) in
        [("reviewkd", Normalisation::Reviewkd), ("crd", Normalisation::Crd)]
    {
        let errors = normalised::errors(
            &**network.model(),
            &data.test,
            normalisation,
            CHUNK,
            &paper.machine().device,
        )?;
        let (mean, std) = (normalisation.mean(), normalisation.std());
        say(format!(
            "{:.2} % of {} test images with normalisation {name} (mean {mean:.4?}, std {std:.4?})",
            errors.accuracy(),
            errors.of
        ))?;
    }
    Ok(())
}
