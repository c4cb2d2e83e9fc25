//! `speed`: how fast a student decodes beside its teacher, by turns on the same sentences.
//!
//! Metrics, all timings but the first: `compression` (the student's parameters over the teacher's),
//! `words-per-second`, `teacher-words-per-second`, `speed-up` (the teacher's median time over the
//! student's).

use kd_core::frozen::NETWORK;
use kd_experiment::{CellResult, Result};
use kd_translation::bpe::Vocabularies;
use kd_translation::{SavedTransformer, evaluate};

use super::work::Work;
use crate::spec::SpeedCell;

/// The names of its metrics.
pub const METRICS: [&str; 4] =
    ["compression", "teacher-words-per-second", "words-per-second", "speed-up"];

/// Times both networks.
///
/// # Errors
/// When the cell names no teacher or no student.
pub fn run(cell: &SpeedCell, work: &Work) -> Result<CellResult> {
    let data = work.corpus.data()?;
    let load = |role: &str| -> Result<_> {
        let dir = &work.needed.one(role)?.dir;
        Ok((
            SavedTransformer::load(&dir.join(NETWORK), work.context.device)?,
            Vocabularies::load(dir)?,
        ))
    };
    let (teacher, student) = (load("teacher")?, load("student")?);
    let count = cell.sentences.min(data.test.len());
    let (sentences, references) = (&data.test.source[..count], &data.test_references()[..count]);
    let mut times = [Vec::new(), Vec::new()];
    let mut words = [0, 0];
    for _ in 0..cell.rounds {
        for (i, (saved, vocabularies)) in [&teacher, &student].into_iter().enumerate() {
            let found = evaluate(
                &saved.network,
                vocabularies,
                sentences,
                references,
                &cell.search,
                &mut |_| (),
            )?;
            times[i].push(found.seconds);
            words[i] = found.words;
        }
    }
    let [teacher_time, student_time] = times.map(median);
    let compression =
        student.0.about.network.parameters() as f64 / teacher.0.about.network.parameters() as f64;
    let numbers = [
        compression,
        words[0] as f64 / teacher_time,
        words[1] as f64 / student_time,
        teacher_time / student_time,
    ];
    Ok(CellResult::of(METRICS, numbers))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
