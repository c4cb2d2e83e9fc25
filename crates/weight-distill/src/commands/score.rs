//! `score TRANSLATIONS REFERENCES…`: BLEU of a file.

use std::io::Write;
use std::path::PathBuf;

use kd_experiment::cli;
use kd_experiment::{Error, Result};
use kd_translation::bleu::{multi_bleu, sacrebleu};

use super::read_lines;

/// The arguments of `score`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Translations, a sentence a line
    translations: PathBuf,
    /// References, a sentence a line, one file or more
    #[arg(required = true)]
    references: Vec<PathBuf>,
    /// Count as multi-bleu.perl does, on text that is tokenised already
    #[arg(long)]
    tokenized: bool,
    /// With --tokenized: lower the letters A to Z first (multi-bleu.perl -lc)
    #[arg(long, requires = "tokenized")]
    lower_case: bool,
}

/// Prints the score with its precisions.
///
/// # Errors
/// Bad input when a file cannot be read, is empty, or has another number of lines than the
/// translations.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let hypotheses = read_lines(Some(&arguments.translations))?;
    let mut references: Vec<Vec<String>> = vec![Vec::new(); hypotheses.len()];
    for path in &arguments.references {
        let lines = read_lines(Some(path))?;
        if lines.len() != hypotheses.len() {
            let (expected, got, file) = (hypotheses.len(), lines.len(), path.display());
            let translations = arguments.translations.display();
            return Err(Error::bad_input(format!(
                "{file}: expected {expected} lines as in {translations}, got {got}"
            )));
        }
        for (all, line) in references.iter_mut().zip(lines) {
            all.push(line);
        }
    }
    let bleu = if arguments.tokenized {
        multi_bleu(&hypotheses, &references, arguments.lower_case)?
    } else {
        sacrebleu(&hypotheses, &references)?
    };
    cli::say(out, format!("BLEU = {bleu}"))
}
