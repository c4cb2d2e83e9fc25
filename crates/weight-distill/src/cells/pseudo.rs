//! `pseudo`: a teacher's translations of the training text, the other half of what students of sequence-level distillation learn from
//! (Kim and Rush 2016, section 3.2).
//!
//! Metrics: `pairs`, and `bleu-on-training`, of the translations against the text's own.

use std::path::Path;

use kd_base::atomic;
use kd_core::Error;
use kd_experiment::{CellResult, Result};
use kd_translation::bitext::MAX_LINE;
use kd_translation::bleu::sacrebleu;
use kd_translation::translate;

use super::{Work, one_line};
use crate::spec::PseudoCell;

/// The translations in the cell's folder, one a line.
pub const FILE: &str = "train.translations.txt";
/// The names of its metrics.
pub const METRICS: [&str; 2] = ["pairs", "bleu-on-training"];
/// Sentences that are translated between two writes of a part, from which a killed run goes on.
const PART: usize = 2048;

/// Translates the training text in parts, each of which is kept as it is finished.
///
/// # Errors
/// When a file cannot be written.
pub fn run(cell: &PseudoCell, work: &Work) -> Result<CellResult> {
    let text = work.paper.text(&cell.text)?;
    let teacher = work.network("teacher", &text)?;
    let sources = text.vocabularies.encode(&text.train).source;
    let mut lines: Vec<String> = Vec::with_capacity(sources.len());
    let mut told = work.counter(sources.len());
    let parts: Vec<_> = sources.chunks(PART).enumerate().map(|(i, part)| (work.place.dir.join(format!("part-{i}.txt")), part)).collect();
    for (file, part) in &parts {
        let done = lines.len();
        let found = match file.exists() {
            true => self::lines(file, part.len())?,
            false => {
                let found = translate(&teacher.network, part, &cell.search, &mut |n| told(done + n))?;
                let found: Vec<String> = found.iter().map(|h| text.vocabularies.target.decode(&h.words)).collect();
                found.iter().try_for_each(|line| one_line(line))?;
                atomic::write(file, joined(&found).as_bytes())?;
                found
            }
        };
        lines.extend(found);
    }
    atomic::write(&work.place.dir.join(FILE), joined(&lines).as_bytes())?;
    for (file, _) in &parts {
        // The whole is written; a part that stays costs disk space only.
        let _ = std::fs::remove_file(file);
    }
    let references: Vec<Vec<&str>> = text.train.target.iter().map(|line| vec![line.as_str()]).collect();
    Ok(CellResult::of(METRICS, [lines.len() as f64, sacrebleu(&lines, &references)?.score]))
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The translations in the folder of a finished cell, for a text of so many pairs.
///
/// # Errors
/// Bad input when there are not as many.
pub fn read(dir: &Path, expected: usize) -> kd_core::Result<Vec<String>> {
    lines(&dir.join(FILE), expected)
}

fn lines(path: &Path, expected: usize) -> kd_core::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
    if let Some(i) = lines.iter().position(|line| line.len() > MAX_LINE) {
        return Err(Error::bad_input(format!("{}: line {}: expected at most {MAX_LINE} bytes", path.display(), i + 1)));
    }
    match lines.len() == expected {
        true => Ok(lines),
        false => Err(Error::bad_input(format!("{}: expected {expected} lines, got {}", path.display(), lines.len()))),
    }
}
