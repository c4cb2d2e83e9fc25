//! `pseudo`: a teacher's translations of the training text, the other half of what students of
//! sequence-level distillation learn from (Kim and Rush 2016, section 3.2).
//!
//! Metrics: `pairs`, and `bleu-on-training`, of the translations against the text's own.

use kd_base::atomic;
use kd_experiment::{CellResult, Result};
use kd_translation::bleu::sacrebleu;
use kd_translation::translate;

use super::translations_file::{FILE, joined, lines as read_lines, one_line};
use super::work::Work;
use crate::spec::PseudoCell;

/// The names of its metrics.
pub const METRICS: [&str; 2] = ["pairs", "bleu-on-training"];
/// Sentences that are translated between two writes of a part, from which a killed run goes on.
const PART: usize = 2048;

/// Translates the training text in parts, each of which is kept as it is finished.
///
/// # Errors
/// When a file cannot be written.
pub fn run(cell: &PseudoCell, work: &Work) -> Result<CellResult> {
    let text = work.corpus.text(&cell.text)?;
    let teacher = work.network("teacher", &text)?;
    let sources = text.vocabularies.encode(&text.train).source;
    let mut lines: Vec<String> = Vec::with_capacity(sources.len());
    let mut report = work.counter(sources.len());
    let parts: Vec<_> = sources
        .chunks(PART)
        .enumerate()
        .map(|(i, part)| (work.context.dir.join(format!("part-{i}.txt")), part))
        .collect();
    for (file, part) in &parts {
        let done = lines.len();
        let found = if file.exists() {
            read_lines(file, part.len())?
        } else {
            let found = translate(&teacher.network, part, &cell.search, &mut |n| report(done + n))?;
            let found: Vec<String> =
                found.iter().map(|h| text.vocabularies.target.decode(&h.words)).collect();
            found.iter().try_for_each(|line| one_line(line))?;
            atomic::write(file, joined(&found).as_bytes())?;
            found
        };
        lines.extend(found);
    }
    atomic::write(&work.context.dir.join(FILE), joined(&lines).as_bytes())?;
    for (file, _) in &parts {
        // The whole is written; a part that stays costs disk space only.
        let _ = std::fs::remove_file(file);
    }
    let references: Vec<Vec<&str>> =
        text.train.target.iter().map(|line| vec![line.as_str()]).collect();
    Ok(CellResult::of(METRICS, [lines.len() as f64, sacrebleu(&lines, &references)?.score]))
}
