//! What a binary brings to the shared commands.

use crate::cli::options::Options;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::paper::Paper;
use crate::progress::Progress;

/// A paper's files, as compiled into its binary.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// Its experiment files: name and text.
    pub experiments: &'static [(&'static str, &'static str)],
    /// Its `reference.csv`.
    pub reference: &'static str,
}

/// What a binary brings to the shared commands.
pub struct Application<'a, P> {
    /// The meaning of its cells.
    pub paper: &'a P,
    /// What the command line says.
    pub options: &'a Options,
    /// Its files, for where it is run away from a checkout.
    pub files: Files,
    /// Changes the experiments after they are read, as options of the binary's own ask.
    pub adjust: &'a dyn Fn(&mut Vec<Experiment>) -> Result<()>,
    /// Shows the progress of `run`.
    pub progress: &'a dyn Progress,
}

impl<P: Paper> Application<'_, P> {
    /// The paper's name.
    pub fn name(&self) -> &'static str {
        self.paper.name()
    }
}
