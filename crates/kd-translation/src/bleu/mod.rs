//! BLEU (Papineni et al. 2002) of a corpus, as the two programs compute it whose numbers are
//! published.
//!
//! [`sacrebleu`] takes text as people write it and cuts it into tokens itself; [`multi_bleu`] takes
//! text that is tokenised already. The two give different numbers for the same translations, and
//! only numbers of one kind can be compared.
//!
//! ```
//! let hypotheses = ["The cat sat on the mat."];
//! let references = [vec!["The cat sat on a mat.", "There was a cat on the mat."]];
//! let bleu = kd_translation::bleu::sacrebleu(&hypotheses, &references)?;
//! assert_eq!(format!("{:.2}", bleu.score), "79.53");
//! # Ok::<(), kd_core::Error>(())
//! ```

mod statistics;
mod tokenize;

pub use statistics::{Bleu, ORDER, Smoothing, Statistics};
pub use tokenize::tokenize_13a;

use kd_core::{Error, Result};

/// BLEU as sacrebleu computes it by default (Post 2018): case matters, tokens are those of
/// [`tokenize_13a`], and a precision without a match is smoothed ([`Smoothing::Exp`]).
/// `references[i]` are those of `hypotheses[i]`, one or more.
///
/// Checked against sacrebleu 2.6.0, signature `case:mixed|eff:no|tok:13a|smooth:exp`.
///
/// # Errors
/// [`Error::BadInput`] for no hypotheses, another number of references, or a hypothesis without
/// any.
pub fn sacrebleu<H: AsRef<str>, R: AsRef<str>>(
    hypotheses: &[H],
    references: &[Vec<R>],
) -> Result<Bleu> {
    let statistics = sum(hypotheses, references, tokenize_13a, |text| {
        text.split(' ').filter(|token| !token.is_empty()).collect()
    })?;
    Ok(statistics.bleu(Smoothing::Exp))
}

/// BLEU as the Moses script multi-bleu.perl computes it: tokens are what stands between white
/// space, and there is no smoothing. `lowercase` is its option `-lc`; it lowers the letters A to Z
/// alone, as the script does, which reads bytes. `references[i]` are those of `hypotheses[i]`, one
/// or more.
///
/// Deviation: the script divides by zero where all hypotheses are empty; this gives 0.
///
/// # Errors
/// [`Error::BadInput`] for no hypotheses, another number of references, or a hypothesis without
/// any.
pub fn multi_bleu<H: AsRef<str>, R: AsRef<str>>(
    hypotheses: &[H],
    references: &[Vec<R>],
    lowercase: bool,
) -> Result<Bleu> {
    let prepare = |text: &str| if lowercase { text.to_ascii_lowercase() } else { text.to_string() };
    let statistics =
        sum(hypotheses, references, prepare, |text| tokenize::ascii_words(text).collect())?;
    Ok(statistics.bleu(Smoothing::None))
}

/// The statistics of all segments together; `prepare` changes a segment, and `split` cuts what it
/// became into tokens.
fn sum<H: AsRef<str>, R: AsRef<str>>(
    hypotheses: &[H],
    references: &[Vec<R>],
    prepare: impl Fn(&str) -> String,
    split: impl Fn(&str) -> Vec<&str>,
) -> Result<Statistics> {
    if hypotheses.is_empty() || hypotheses.len() != references.len() {
        let (h, r) = (hypotheses.len(), references.len());
        return Err(Error::bad_input(format!(
            "BLEU: expected as many lists of references as hypotheses, at least 1, got {r} for {h}"
        )));
    }
    let mut all = Statistics::default();
    for (i, (hypothesis, references)) in hypotheses.iter().zip(references).enumerate() {
        if references.is_empty() {
            return Err(Error::bad_input(format!(
                "BLEU: expected at least one reference for hypothesis {i}, got none"
            )));
        }
        let hypothesis = prepare(hypothesis.as_ref());
        let references: Vec<String> =
            references.iter().map(|reference| prepare(reference.as_ref())).collect();
        let references: Vec<Vec<&str>> =
            references.iter().map(|reference| split(reference)).collect();
        all += Statistics::of(&split(&hypothesis), &references);
    }
    Ok(all)
}
