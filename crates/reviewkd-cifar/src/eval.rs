//! `eval NETWORK`: the accuracy of one network on the test images.

use std::io::Write;

use kd_core::Error;
use kd_core::data::normalised;
use kd_core::exchange::{self, Imported};
use kd_core::frozen::Frozen;
use kd_core::params::is_buffer;
use kd_core::train::Errors;
use kd_core::train::evaluate::top_accuracy;
use kd_experiment::Result;
use kd_experiment::cli::{self, Application};
use kd_paper::compare::find_network;

use crate::network_file::NetworkFile;
use crate::paper::ReviewKd;

/// Images in one forward pass.
const CHUNK: usize = 250;
/// The other number that papers print.
const TOP: usize = 5;

/// The arguments of `eval`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file, NETWORK=FILE or NETWORK:NORMALISATION=FILE of a checkpoint, or
    /// TABLE/ROW[#SEED] of a finished cell at this preset. The network is told by its tensors where
    /// it is not given; the normalisation is the one that the file says, else the one given, else crd
    network: String,
    /// Print the accuracy on each class too
    #[arg(long)]
    per_class: bool,
}

/// Measures the network and prints what came out.
///
/// # Errors
/// Bad input when there is no such network, or it is of other classes than the data's.
pub fn run(
    arguments: &Arguments,
    application: &Application<ReviewKd>,
    out: &mut dyn Write,
) -> Result<()> {
    let text = &arguments.network;
    let given: NetworkFile = text.parse().map_err(|e| Error::bad_input(format!("{text}: {e}")))?;
    let given = match given.bare() {
        Some(_) => {
            let file = find_network(text, application)?;
            given.at(file)
        }
        None => given,
    };
    let known = given.identify()?;
    let (spec, paper) = (&known.spec, application.paper);
    let (images, provenance) = paper.data()?;
    images.check_classes(&known.file, spec.classes())?;
    let Imported { tensors, notes, .. } = exchange::import(&known.file, spec)?;
    let weights = tensors.iter().filter(|(name, _)| !is_buffer(name));
    let parameters: usize = weights.map(|(_, t)| t.elem_count()).sum();
    let device = &paper.machine().device;
    let network = Frozen::build(tensors.clone(), device, |vb| spec.build(vb))?;
    let test = &images.test;
    let logits = normalised::logits(&**network.model(), test, known.normalisation, CHUNK, device)?;
    let errors = Errors::count(&logits, &test.labels)?;

    let mut say = |line: String| cli::say(out, line);
    let stated = if known.trained_on.is_some() { "" } else { ", which the file does not say" };
    say(format!("{}: {}, {parameters} parameters", known.file.display(), spec.name()))?;
    for note in notes {
        say(format!("from the file: {note}"))?;
    }
    say(format!("data: {}", provenance.found))?;
    say(format!("normalisation: {}{stated}", known.normalisation.name()))?;
    say(format!("top-1: {:.2} % of {} test images", errors.accuracy(), errors.of))?;
    if spec.classes() > TOP {
        let top = top_accuracy(&logits, &test.labels, TOP)?;
        say(format!("top-{TOP}: {top:.2} %"))?;
    }
    if !arguments.per_class {
        return Ok(());
    }
    for (class, count) in test.class_counts().into_iter().enumerate() {
        let name = kd_base::message::escaped(images.class(class));
        let wrong = errors.per_class.get(class).copied().unwrap_or_default();
        say(match count {
            0 => format!("  {name}: no test image"),
            _ => {
                let right = 100. * (count - wrong.min(count)) as f64 / count as f64;
                format!("  {name}: {right:.2} % of {count}")
            }
        })?;
    }
    Ok(())
}
