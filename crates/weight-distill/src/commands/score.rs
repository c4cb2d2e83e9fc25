//! `score TRANSLATIONS REFERENCES…`: BLEU of a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use kd_base::message::count;
use kd_experiment::cli;
use kd_experiment::{Error, Result};
use kd_translation::bitext::MAX_LINE;
use kd_translation::bleu::{multi_bleu, sacrebleu};

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
    let hypotheses = read_lines(&arguments.translations)?;
    let mut references: Vec<Vec<String>> = vec![Vec::new(); hypotheses.len()];
    for path in &arguments.references {
        let lines = read_lines(path)?;
        if lines.len() != hypotheses.len() {
            let (expected, got) = (count(hypotheses.len(), "line"), lines.len());
            let (file, translations) = (path.display(), arguments.translations.display());
            return Err(Error::bad_input(format!(
                "{file}: expected {expected} as in {translations}, got {got}"
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

/// The lines of a file as they are: sacrebleu counts a byte-order mark, and so does this. A last
/// line without a line end counts; `\r\n` ends a line as `\n` does.
///
/// # Errors
/// Bad input that names the file and the line: not UTF-8, or longer than [`MAX_LINE`] bytes.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    let name = path.display();
    let io = |e| kd_core::Error::io(path, e);
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut lines = Vec::new();
    loop {
        let (at, mut bytes) = (lines.len() + 1, Vec::new());
        // One byte more than the limit tells a line at the limit from a longer one.
        let read =
            reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut bytes).map_err(io)?;
        if read == 0 {
            return Ok(lines);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MAX_LINE {
            return Err(Error::bad_input(format!(
                "{name}: line {at}: expected at most {MAX_LINE} bytes, got more"
            )));
        }
        let text = String::from_utf8(bytes);
        lines.push(text.map_err(|e| {
            Error::bad_input(format!(
                "{name}: line {at}: expected UTF-8, got another byte at {}",
                e.utf8_error().valid_up_to()
            ))
        })?);
    }
}
