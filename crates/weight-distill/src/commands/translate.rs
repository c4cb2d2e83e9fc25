//! `translate MODEL`: lines of text become lines of text, some at a time.

use std::fmt;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kd_base::message::count;
use kd_base::{Blame, Destination, Fault, FileError, stop};
use kd_experiment::cli::{Application, output_error, remark};
use kd_experiment::{Error, Result};
use kd_translation::bitext::{Lines, sentence};
use kd_translation::bpe::Bpe;
use kd_translation::transformer::MAX_POSITIONS;
use kd_translation::translate;

use super::model::{Model, SearchArguments};
use crate::paper::WeightDistillation;

/// Batches that are read and sorted by length together, so that a batch has little padding. A batch
/// of one sentence has none.
const BATCHES: usize = 8;

/// The arguments of `translate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A network's file with its vocabularies beside it, a folder with both, or TABLE/ROW[#SEED]
    /// of a finished cell at this preset
    model: String,
    /// The text, a sentence a line; gzipped where its name ends in .gz [default: standard input]
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where translations go, written as they are done [default: standard output]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    search: SearchArguments,
}

/// Translates each line as [`sentence()`] reads it. A line without words gives an empty line, and how
/// many there were is told on standard error.
///
/// Lines are read, translated and written [`BATCHES`] batches at a time, in order: memory does not
/// grow with the text, and what is written stays if the program is killed. A file is read through
/// first, so that nothing is written where one of its lines cannot be translated; of a stream, the
/// lines before the bad one are.
///
/// # Errors
/// Bad input when the model or a line cannot be used, or the output is the input.
pub fn run(
    arguments: &Arguments,
    application: &Application<WeightDistillation>,
    out: &mut dyn Write,
) -> Result<()> {
    let paper = application.paper;
    let input = arguments.input.as_deref();
    let to = arguments.output.as_ref().map(|path| Destination::new(path, arguments.force));
    let to = to.transpose()?;
    if let Some(to) = &to {
        refuse_input(input, to.path())?;
    }
    let search = arguments.search.search()?;
    let model = Model::load(&arguments.model, application, &paper.machine().device)?;
    let source = &model.vocabularies.source;
    if input.is_some_and(Path::is_file) {
        Sentences::open(input, source)?.try_for_each(|ids| ids.map(drop))?;
    }
    let mut sentences = Sentences::open(input, source)?;
    let mut file = to.as_ref().map(Destination::stream).transpose()?;
    let window = if search.batch == 1 { 1 } else { BATCHES * search.batch };
    let (mut empty, mut done) = (0, 0);
    loop {
        if stop::asked() {
            return Err(Stopped { done }.into());
        }
        // What comes before a bad line is translated all the same.
        let (mut ids, mut end) = (Vec::new(), Ok(true));
        while ids.len() < window {
            match sentences.next() {
                Some(Ok(next)) => ids.push(next),
                Some(Err(e)) => end = Err(e),
                None => end = Ok(false),
            }
            if !matches!(end, Ok(true)) {
                break;
            }
        }
        done += ids.len();
        empty += ids.iter().filter(|ids| ids.is_empty()).count();
        let mut text = String::new();
        for found in translate(&model.saved.network, &ids, &search, &mut |_| ())? {
            text.push_str(&model.vocabularies.target.decode(&found.words));
            text.push('\n');
        }
        match (&mut file, &to) {
            (Some(file), Some(to)) => {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.flush());
                written.map_err(FileError::of("write", to.path()))?;
            }
            _ => {
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(output_error)?;
            }
        }
        if !end? {
            break;
        }
    }
    if empty > 0 {
        let stay = if empty == 1 { "stays" } else { "stay" };
        let empty = count(empty, "empty line");
        remark(format_args!("{}: {empty}, which {stay} empty", name(input)));
    }
    Ok(())
}

/// The user asked to stop: what is translated is written.
#[derive(Debug)]
struct Stopped {
    done: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped; {} written", count(self.done, "line"))
    }
}

impl std::error::Error for Stopped {}

impl Blame for Stopped {
    fn fault(&self) -> Fault {
        Fault::Stopped
    }
}

/// The input's name in messages.
fn name(input: Option<&Path>) -> String {
    input.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
}

/// The lines of a text as a network reads them: the ids of each, none for a line without words.
struct Sentences<'a> {
    name: String,
    lines: Lines,
    vocabulary: &'a Bpe,
}

impl<'a> Sentences<'a> {
    fn open(input: Option<&Path>, vocabulary: &'a Bpe) -> Result<Self> {
        let lines = match input {
            Some(path) => Lines::open(path).map_err(kd_core::Error::from)?,
            None => Lines::of(name(None), io::stdin()),
        };
        Ok(Self { name: name(input), lines, vocabulary })
    }
}

impl Iterator for Sentences<'_> {
    type Item = Result<Vec<u32>>;

    fn next(&mut self) -> Option<Self::Item> {
        // What is translated is written before the next line is asked for.
        let line = match stop::waiting(|| self.lines.next())? {
            Ok(line) => line,
            Err(e) => return Some(Err(kd_core::Error::from(e).into())),
        };
        let ids = self.vocabulary.encode(&sentence(&line));
        if ids.len() >= MAX_POSITIONS {
            return Some(Err(Error::bad_input(format!(
                "{}: line {}: expected at most {} vocabulary units, got {}",
                self.name,
                self.lines.number(),
                MAX_POSITIONS - 1,
                ids.len()
            ))));
        }
        Some(Ok(ids))
    }
}

/// Fails where the output is the file that is read, which would be emptied before it is read.
fn refuse_input(input: Option<&Path>, output: &Path) -> Result<()> {
    if is_same(input, output).unwrap_or(false) {
        return Err(Error::bad_input(format!(
            "--output {}: expected another file than the text's",
            output.display()
        )));
    }
    Ok(())
}

/// Whether both are one regular file, by whatever names.
#[cfg(unix)]
fn is_same(input: Option<&Path>, output: &Path) -> io::Result<bool> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let read = match input {
        Some(path) => std::fs::metadata(path)?,
        None => File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()?,
    };
    let written = std::fs::metadata(output)?;
    Ok(read.is_file() && (read.dev(), read.ino()) == (written.dev(), written.ino()))
}

/// Whether both are one file.
#[cfg(not(unix))]
fn is_same(input: Option<&Path>, output: &Path) -> io::Result<bool> {
    let Some(input) = input else { return Ok(false) };
    Ok(std::fs::canonicalize(input)? == std::fs::canonicalize(output)?)
}
