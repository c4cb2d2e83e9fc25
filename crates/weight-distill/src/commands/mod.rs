//! Commands beside the tables: each works on files, without an experiment.

pub mod decode;
pub mod materialise;
pub mod model;
pub mod score;
pub mod train;
pub mod translate;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kd_experiment::cli::output_error;
use kd_experiment::{Error, Result};
use kd_translation::bitext::MAX_LINE;

/// The lines of a file, or of standard input where there is none. A last line without a line end
/// counts; `\r\n` ends a line as `\n` does.
///
/// # Errors
/// Bad input that names the file and the line: not UTF-8, or longer than [`MAX_LINE`] bytes.
pub fn read_lines(path: Option<&Path>) -> Result<Vec<String>> {
    let name = path.map_or_else(|| "standard input".to_owned(), |p| p.display().to_string());
    let input: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path).map_err(|e| kd_core::Error::io(path, e))?),
        None => Box::new(std::io::stdin()),
    };
    let mut reader = BufReader::new(input);
    let mut lines = Vec::new();
    loop {
        let (at, mut bytes) = (lines.len() + 1, Vec::new());
        // One byte more than the limit tells a line at the limit from a longer one.
        let read = reader
            .by_ref()
            .take(MAX_LINE as u64 + 2)
            .read_until(b'\n', &mut bytes)
            .map_err(|e| kd_core::Error::io(&name, e))?;
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

/// Writes lines to a file that is not there yet, or to `out` where no file is named.
///
/// # Errors
/// Bad input when the file exists and `force` is not set, or it cannot be written.
pub fn write_lines(
    lines: &[String],
    path: Option<&Path>,
    force: bool,
    out: &mut dyn std::io::Write,
) -> Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    match path {
        None => out.write_all(text.as_bytes()).map_err(output_error),
        Some(path) => {
            refuse_existing(path, force)?;
            Ok(kd_base::atomic::write(path, text.as_bytes())?)
        }
    }
}

/// # Errors
/// Bad input when the file exists and `force` is not set.
pub fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !force {
        return Err(Error::bad_input(format!(
            "{}: exists already; name another file, or give --force to replace it",
            path.display()
        )));
    }
    Ok(())
}
