//! BLEU beside sacrebleu and Moses' multi-bleu.perl (`scripts/oracles/bleu.py`), and its laws.

use kd_translation::bleu::{Bleu, Smoothing, Statistics, multi_bleu, sacrebleu, tokenize_13a};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    signature: String,
    tokenized: Vec<(String, String)>,
    corpora: Vec<Corpus>,
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    hypothesis: String,
    references: Vec<String>,
    tokens: String,
    /// Tokens of hypothesis and reference, matches of 1-grams to 4-grams, n-grams of 1 to 4.
    #[serde(rename = "13a")]
    cut: [u64; 10],
    /// The same of the segment as it is.
    none: [u64; 10],
}

#[derive(Deserialize)]
struct Corpus {
    start: usize,
    end: usize,
    score: f64,
    precisions: [f64; 4],
    brevity: f64,
    none: f64,
    multi_bleu: String,
    multi_bleu_lc: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/bleu.json")).unwrap()
}

fn flat(s: &Statistics) -> [u64; 10] {
    let mut all = [s.hypothesis_length, s.reference_length, 0, 0, 0, 0, 0, 0, 0, 0];
    all[2..6].copy_from_slice(&s.matches);
    all[6..].copy_from_slice(&s.ngrams);
    all
}

#[test]
fn tokens_are_those_of_sacrebleu() {
    let golden = golden();
    assert_eq!(golden.signature, "case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0");
    assert!(golden.segments.len() >= 2000);
    let segments = golden.segments.iter().map(|s| (&s.hypothesis, &s.tokens));
    for (text, tokens) in
        segments.chain(golden.tokenized.iter().map(|(text, tokens)| (text, tokens)))
    {
        assert_eq!(tokenize_13a(text), *tokens, "{text:?}");
    }
}

#[test]
fn the_statistics_of_each_segment_are_those_of_sacrebleu() {
    for segment in golden().segments {
        let (hypothesis, references) =
            (&[&segment.hypothesis], std::slice::from_ref(&segment.references));
        assert_eq!(
            flat(&sacrebleu(hypothesis, references).unwrap().statistics),
            segment.cut,
            "{:?}",
            segment.hypothesis
        );
        assert_eq!(
            flat(&multi_bleu(hypothesis, references, false).unwrap().statistics),
            segment.none,
            "{:?}",
            segment.hypothesis
        );
    }
}

#[test]
fn the_scores_of_corpora_are_those_of_sacrebleu() {
    let golden = golden();
    for Corpus { start, end, score, precisions, brevity, none, .. } in golden.corpora {
        let segments = &golden.segments[start..end];
        let hypotheses: Vec<&str> = segments.iter().map(|s| s.hypothesis.as_str()).collect();
        let references: Vec<Vec<String>> = segments.iter().map(|s| s.references.clone()).collect();
        let bleu = sacrebleu(&hypotheses, &references).unwrap();
        let expected =
            [score, precisions[0], precisions[1], precisions[2], precisions[3], 100.0 * brevity];
        let [p1, p2, p3, p4] = bleu.precisions;
        for (got, expected) in
            [bleu.score, p1, p2, p3, p4, 100.0 * bleu.brevity_penalty].into_iter().zip(expected)
        {
            assert!((got - expected).abs() < 1e-9, "{start}..{end}: {got} beside {expected}");
        }
        let plain = multi_bleu(&hypotheses, &references, false).unwrap().score;
        assert!((plain - none).abs() < 1e-9, "{start}..{end}: {plain} beside {none}");
    }
}

/// The line that multi-bleu.perl prints.
fn line(bleu: &Bleu) -> String {
    let Bleu { score, precisions: [a, b, c, d], brevity_penalty, statistics } = bleu;
    let (h, r) = (statistics.hypothesis_length, statistics.reference_length);
    let ratio = h as f64 / r as f64;
    format!(
        "BLEU = {score:.2}, {a:.1}/{b:.1}/{c:.1}/{d:.1} (BP={brevity_penalty:.3}, ratio={ratio:.3}, hyp_len={h}, ref_len={r})"
    )
}

/// The numbers of such a line.
fn numbers(line: &str) -> Vec<f64> {
    line.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|n| n.parse().ok()).collect()
}

#[test]
fn the_scores_of_corpora_are_those_of_multi_bleu() {
    let golden = golden();
    let mut silent = 0;
    for Corpus { start, end, multi_bleu: plain, multi_bleu_lc: lower, .. } in golden.corpora {
        let segments = &golden.segments[start..end];
        let hypotheses: Vec<&str> = segments.iter().map(|s| s.hypothesis.as_str()).collect();
        let references: Vec<Vec<String>> = segments.iter().map(|s| s.references.clone()).collect();
        for (expected, lowercase) in [(plain, false), (lower, true)] {
            let bleu = multi_bleu(&hypotheses, &references, lowercase).unwrap();
            if expected.is_empty() {
                // The script divided by the hypotheses' length.
                assert_eq!((bleu.score, bleu.statistics.hypothesis_length), (0.0, 0));
                silent += 1;
                continue;
            }
            let (got, expected) = (numbers(&line(&bleu)), numbers(&expected));
            assert_eq!(got.len(), 9);
            // Printed numbers may round the other way where the last bit of a float differs: score,
            // four precisions, penalty, ratio, and two lengths that do not round.
            let steps = [0.01, 0.1, 0.1, 0.1, 0.1, 0.001, 0.001, 0.0, 0.0];
            for ((got, expected), step) in got.iter().zip(&expected).zip(steps) {
                assert!(
                    (got - expected).abs() <= 1.001 * step,
                    "{start}..{end}: {got} beside {expected}"
                );
            }
        }
    }
    assert!(silent < 10, "{silent}");
}

#[test]
fn a_precision_without_a_match_is_halved_with_each_further_one() {
    // 1 of 4 unigrams, and none of 3, 2 and 1.
    let bleu = sacrebleu(&["a b c d"], &[vec!["a x y z"]]).unwrap();
    assert_eq!(bleu.precisions, [25.0, 100.0 / 6.0, 12.5, 12.5]);
    assert_eq!(sacrebleu(&["a b c d"], &[vec!["w x y z"]]).unwrap().score, 0.0);
    assert_eq!(bleu.statistics.bleu(Smoothing::None).score, 0.0);
}

#[test]
fn of_two_references_equally_close_in_length_the_shorter_counts() {
    let bleu = multi_bleu(&["a b c"], &[vec!["a b c d", "a b"]], false).unwrap();
    assert_eq!((bleu.statistics.reference_length, bleu.brevity_penalty), (2, 1.0));
}

#[test]
fn matches_are_clipped_at_the_reference_that_has_most() {
    let bleu =
        multi_bleu(&["the the the the the"], &[vec!["the cat the", "the dog"]], false).unwrap();
    assert_eq!(bleu.statistics.matches, [2, 0, 0, 0]);
}

#[test]
fn lower_case_is_that_of_ascii_letters() {
    let score = |lowercase| {
        multi_bleu(&["THE CAT SAW Äpfel"], &[vec!["the cat saw Äpfel"]], lowercase).unwrap().score
    };
    assert_eq!((score(false), score(true).round()), (0.0, 100.0));
    let bleu = multi_bleu(&["ÄPFEL"], &[vec!["äpfel"]], true).unwrap();
    assert_eq!(bleu.statistics.matches[0], 0);
}

#[test]
fn segments_without_references_are_bad_input() {
    let none: [Vec<&str>; 0] = [];
    let messages = [
        sacrebleu(&["a", "b"], &[vec!["a"]]).unwrap_err(),
        sacrebleu(&[] as &[&str], &none).unwrap_err(),
        multi_bleu(&["a", "b"], &[vec!["a"], vec![]], false).unwrap_err(),
    ];
    assert!(messages.iter().all(kd_core::Error::is_bad_input));
    insta::assert_snapshot!(messages.map(|m| m.to_string()).join("\n"), @r"
    BLEU: expected as many lists of references as hypotheses, at least 1, got 1 for 2
    BLEU: expected as many lists of references as hypotheses, at least 1, got 0 for 0
    BLEU: expected at least one reference for hypothesis 1, got none
    ");
}

#[test]
fn a_score_prints_on_one_line() {
    let bleu = sacrebleu(&["The cat sat on the mat."], &[vec!["The cat sat on a mat."]]).unwrap();
    insta::assert_snapshot!(bleu.to_string(), @"48.89 (85.7/66.7/40.0/25.0, brevity penalty 1.000, 7 tokens for 7)");
}

fn sentences() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    let sentence = || {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d.", "e,", "5-6"]), 0..12)
            .prop_map(|w| w.join(" "))
    };
    prop::collection::vec((sentence(), prop::collection::vec(sentence(), 1..4)), 1..8)
}

proptest! {
    #[test]
    fn scores_are_between_0_and_100_and_do_not_depend_on_the_order(corpus in sentences()) {
        let score = |corpus: &[(String, Vec<String>)]| {
            let (hypotheses, references): (Vec<_>, Vec<_>) = corpus.iter().cloned().unzip();
            let plain = multi_bleu(&hypotheses, &references, false).unwrap().score;
            let bleu = sacrebleu(&hypotheses, &references).unwrap();
            // Smoothing only ever raises the score of the same tokens.
            assert!(bleu.statistics.bleu(Smoothing::None).score <= bleu.score);
            [plain, bleu.score]
        };
        let first = score(&corpus);
        prop_assert!(first.iter().all(|s| (0.0..=100.0 + 1e-9).contains(s)), "{first:?}");
        let mut turned = corpus.clone();
        turned.reverse();
        for (_, references) in &mut turned {
            references.reverse();
        }
        prop_assert_eq!(first, score(&turned));
    }

    #[test]
    fn a_copy_of_a_reference_scores_100(corpus in sentences()) {
        let hypotheses: Vec<&String> = corpus.iter().map(|(_, references)| &references[0]).collect();
        let references: Vec<Vec<String>> = corpus.iter().map(|(_, references)| references.clone()).collect();
        let bleu = multi_bleu(&hypotheses, &references, false).unwrap();
        prop_assume!(bleu.statistics.ngrams[3] > 0);
        prop_assert!((bleu.score - 100.0).abs() < 1e-9, "{bleu}");
    }

    #[test]
    fn statistics_of_a_corpus_are_the_sums_of_its_segments(corpus in sentences()) {
        let (hypotheses, references): (Vec<_>, Vec<_>) = corpus.iter().cloned().unzip();
        let mut sum = Statistics::default();
        for (h, r) in hypotheses.iter().zip(&references) {
            sum += sacrebleu(&[h], std::slice::from_ref(r)).unwrap().statistics;
        }
        prop_assert_eq!(sum, sacrebleu(&hypotheses, &references).unwrap().statistics);
    }

    #[test]
    fn any_text_becomes_tokens_with_one_space_between_them(text in "\\PC*|[ -~\\n]*") {
        let tokens = tokenize_13a(&text);
        prop_assert!(tokens.is_empty() || tokens.split(' ').all(|t| !t.is_empty() && !t.contains(char::is_whitespace)), "{tokens:?}");
    }
}
