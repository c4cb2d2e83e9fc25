//! Beam search beside plain programs that decode whole prefixes.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::model::Mode;
use kd_kernels::softmax::log_softmax;
use kd_translation::bpe::{BOS, EOS, PAD};
use kd_translation::search::Hypothesis;
use kd_translation::transformer::Transformer;
use kd_translation::{Search, translate};

use super::{drawn, formula, spec, stack, words};

const SEARCH: Search =
    Search { beam: 1, length_penalty: 1., length_factor: 0., length_extra: 4, batch: 64 };
/// A beam that holds every hypothesis of up to four words of three, each with four continuations.
const EXHAUSTIVE: usize = 324;

fn network(vocabulary: usize, seed: u64) -> Result<Transformer> {
    Ok(drawn(&spec(40, vocabulary, stack(1, 16, 24), stack(2, 16, 24)), seed)?.1)
}

fn sources(count: usize) -> Vec<Vec<u32>> {
    (0..count).map(|i| words([5, 2, 9, 1, 5, 3, 7][i % 7], 40, &format!("source {i}"))).collect()
}

/// ln p of each word after `prefix`; padding and the start symbol cannot follow.
fn following(network: &Transformer, source: &[u32], prefix: &[u32]) -> Result<Vec<f64>> {
    let ids = |before: &[u32], words: &[u32], after: &[u32]| {
        Tensor::new([before, words, after].concat(), &Device::Cpu)?.unsqueeze(0)
    };
    let memory = network.encode(&ids(&[], source, &[EOS])?, &[source.len() + 1], Mode::Evaluate)?;
    let states = network.decode(&memory, &ids(&[BOS], prefix, &[])?, Mode::Evaluate)?;
    let mut scores =
        formula::values(&log_softmax(&network.logits(&states.narrow(1, prefix.len(), 1)?)?)?)?;
    scores[PAD as usize] = f64::NEG_INFINITY;
    scores[BOS as usize] = f64::NEG_INFINITY;
    Ok(scores)
}

fn score(log_probability: f64, words: usize, alpha: f64) -> f64 {
    log_probability / (words as f64).powf(alpha)
}

fn best(found: impl IntoIterator<Item = Hypothesis>) -> Hypothesis {
    found
        .into_iter()
        .reduce(|best, other| if other.score > best.score { other } else { best })
        .expect("a hypothesis")
}

/// All hypotheses that end within `longest` words.
fn enumerate(
    network: &Transformer,
    source: &[u32],
    longest: usize,
    alpha: f64,
) -> Result<Vec<Hypothesis>> {
    let (mut open, mut ended) = (vec![(Vec::new(), 0.)], Vec::new());
    while let Some((words, log_probability)) = open.pop() {
        for (word, p) in following(network, source, &words)?
            .into_iter()
            .enumerate()
            .filter(|(_, p)| p.is_finite())
        {
            if word as u32 == EOS {
                ended.push(Hypothesis {
                    score: score(log_probability + p, words.len() + 1, alpha),
                    words: words.clone(),
                });
            } else if words.len() < longest {
                open.push(([&words[..], &[word as u32]].concat(), log_probability + p));
            }
        }
    }
    Ok(ended)
}

/// The plain algorithm: of all continuations the 2k best; ends among the first k end, the best k
/// others go on, until k have ended or the words are used up.
fn plain(network: &Transformer, source: &[u32], search: &Search) -> Result<Hypothesis> {
    let (mut open, mut ended) = (vec![(Vec::new(), 0.)], Vec::new());
    for length in 0..=search.length_extra {
        let mut all = Vec::new();
        for (words, log_probability) in &open {
            for (word, p) in following(network, source, words)?
                .into_iter()
                .enumerate()
                .filter(|(_, p)| p.is_finite())
            {
                all.push(([&words[..], &[word as u32]].concat(), log_probability + p));
            }
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let before = std::mem::take(&mut open);
        for (rank, (mut words, log_probability)) in
            all.into_iter().take(2 * search.beam).enumerate()
        {
            if words.last() != Some(&EOS) {
                open.push((words, log_probability));
            } else if rank < search.beam && ended.len() < search.beam {
                words.pop();
                ended.push(Hypothesis {
                    score: score(log_probability, length + 1, search.length_penalty),
                    words,
                });
            }
        }
        open.truncate(search.beam);
        if length == search.length_extra && ended.is_empty() {
            ended.extend(before.into_iter().map(|(words, p)| Hypothesis {
                score: score(p, length, search.length_penalty),
                words,
            }));
        }
        if ended.len() == search.beam {
            break;
        }
    }
    Ok(best(ended))
}

fn same(ours: &Hypothesis, theirs: &Hypothesis, context: &str) {
    assert!((ours.score - theirs.score).abs() < 1e-5, "{context}: {ours:?}, expected {theirs:?}");
    assert_eq!(ours.words, theirs.words, "{context}");
}

#[test]
fn a_beam_that_holds_everything_finds_the_best_of_all_hypotheses() -> Result<()> {
    for seed in [1, 2, 3] {
        let network = network(6, seed)?;
        for length_penalty in [0., 0.6, 1., 2.] {
            let sources = sources(4);
            let found = translate(
                &network,
                &sources,
                &Search { beam: EXHAUSTIVE, length_penalty, ..SEARCH },
                &mut |_| (),
            )?;
            for (source, found) in sources.iter().zip(&found) {
                let all = enumerate(&network, source, SEARCH.length_extra, length_penalty)?;
                assert_eq!(all.len(), 1 + 3 + 9 + 27 + 81);
                same(found, &best(all), &format!("seed {seed}, α = {length_penalty}"));
            }
        }
    }
    Ok(())
}

#[test]
fn beams_narrower_and_wider_than_the_vocabulary_are_the_plain_algorithms() -> Result<()> {
    for (vocabulary, beams) in [(6, [2, 5, 8]), (25, [2, 3, 6])] {
        let network = network(vocabulary, 4)?;
        for beam in beams {
            let (sources, search) = (sources(8), Search { beam, length_extra: 7, ..SEARCH });
            for (source, found) in
                sources.iter().zip(translate(&network, &sources, &search, &mut |_| ())?)
            {
                same(
                    &found,
                    &plain(&network, source, &search)?,
                    &format!("{vocabulary} words, a beam of {beam}"),
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_beam_of_one_takes_the_likeliest_word_each_time() -> Result<()> {
    let network = network(25, 5)?;
    let (sources, search) = (sources(14), Search { length_factor: 1.5, length_extra: 3, ..SEARCH });
    let (mut ended, mut cut) = (0, 0);
    for (source, found) in sources.iter().zip(translate(&network, &sources, &search, &mut |_| ())?)
    {
        let longest = (1.5 * source.len() as f64) as usize + 3;
        let (mut words, mut log_probability, mut last) = (Vec::new(), 0., 0);
        while last != EOS && words.len() < longest {
            let scores = following(&network, source, &words)?;
            let (word, p) =
                scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a word");
            (last, log_probability) = (word as u32, log_probability + p);
            words.push(last);
        }
        let expected = match last {
            EOS => Hypothesis {
                score: score(log_probability, words.len(), 1.),
                words: words[..words.len() - 1].to_vec(),
            },
            _ => match following(&network, source, &words)? {
                // The end may still follow the last word that there is room for.
                scores if scores.iter().all(|&p| p <= scores[EOS as usize]) => Hypothesis {
                    score: score(log_probability + scores[EOS as usize], words.len() + 1, 1.),
                    words,
                },
                _ => Hypothesis { score: score(log_probability, words.len(), 1.), words },
            },
        };
        if last == EOS {
            ended += 1
        } else {
            cut += 1
        }
        same(&found, &expected, &format!("{source:?}"));
    }
    assert!(
        ended > 0 && cut > 0,
        "{ended} ended by themselves, {cut} were cut off: the test needs both"
    );
    Ok(())
}

#[test]
fn which_sentences_are_translated_together_and_in_which_order_changes_nothing() -> Result<()> {
    let network = network(25, 6)?;
    let (sources, search) = (sources(21), Search { beam: 3, length_factor: 2., ..SEARCH });
    let alone = translate(&network, &sources, &Search { batch: 1, ..search }, &mut |_| ())?;
    for batch in [2, 5, 64] {
        let mut reports = Vec::new();
        let together = translate(&network, &sources, &Search { batch, ..search }, &mut |done| {
            reports.push(done)
        })?;
        alone.iter().zip(&together).for_each(|(a, b)| same(b, a, &format!("a batch of {batch}")));
        assert!(
            reports.len() == 21usize.div_ceil(batch)
                && reports.is_sorted()
                && reports.last() == Some(&21),
            "{reports:?}"
        );
    }
    let backwards: Vec<Vec<u32>> = sources.iter().rev().cloned().collect();
    let found = translate(&network, &backwards, &Search { batch: 4, ..search }, &mut |_| ())?;
    alone.iter().rev().zip(&found).for_each(|(a, b)| same(b, a, "backwards"));
    Ok(())
}

#[test]
fn no_translation_is_longer_than_its_limit_and_special_words_do_not_occur() -> Result<()> {
    let network = network(25, 7)?;
    let sources = sources(14);
    let (mut reached, mut words) = (0, 0);
    for (length_factor, length_extra, beam) in [(0.5, 1, 2), (1., 0, 1), (0., 0, 3), (2., 3, 4)] {
        let search = Search { beam, length_factor, length_extra, ..SEARCH };
        for (source, found) in
            sources.iter().zip(translate(&network, &sources, &search, &mut |_| ())?)
        {
            // At least one word can be written, whatever the limits say.
            let longest = ((length_factor * source.len() as f64) as usize + length_extra).max(1);
            assert!(
                found.words.len() <= longest,
                "{search:?}: {} of {longest} words",
                found.words.len()
            );
            assert!(found.words.iter().all(|w| ![PAD, BOS, EOS].contains(w)), "{found:?}");
            reached += usize::from(found.words.len() == longest);
            words += found.words.len();
        }
    }
    assert!(reached > 0 && words > 0, "no translation reached its limit");
    Ok(())
}

#[test]
fn a_larger_length_penalty_never_prefers_a_shorter_translation() -> Result<()> {
    let network = network(6, 8)?;
    let sources = sources(7);
    let lengths = |length_penalty| -> Result<Vec<usize>> {
        let found = translate(
            &network,
            &sources,
            &Search { beam: EXHAUSTIVE, length_penalty, ..SEARCH },
            &mut |_| (),
        )?;
        Ok(found.iter().map(|h| h.words.len()).collect())
    };
    let all = [0., 0.5, 1., 2.].into_iter().map(lengths).collect::<Result<Vec<_>>>()?;
    for (shorter, longer) in all.iter().zip(&all[1..]) {
        assert!(shorter.iter().zip(longer).all(|(a, b)| a <= b), "{shorter:?} to {longer:?}");
    }
    assert_ne!(all[0], all[3], "the penalty made no difference: the test needs one");
    Ok(())
}

#[test]
fn sentences_without_words_have_translations_without_words_and_change_no_other() -> Result<()> {
    let network = network(6, 8)?;
    let full = sources(7);
    let mut with_empty = full.clone();
    with_empty.insert(0, Vec::new());
    with_empty.insert(5, Vec::new());
    let mut told = Vec::new();
    let mut found = translate(&network, &with_empty, &SEARCH, &mut |done| told.push(done))?;
    assert_eq!(told.last(), Some(&with_empty.len()));
    for at in [5, 0] {
        let none = found.remove(at);
        assert!(none.words.is_empty() && none.score == 0., "{none:?}");
    }
    assert_eq!(found, translate(&network, &full, &SEARCH, &mut |_| ())?);
    assert_eq!(translate(&network, &[Vec::new()], &SEARCH, &mut |_| ())?.len(), 1);
    Ok(())
}

#[test]
fn a_search_that_makes_no_sense_and_a_network_of_nans_are_refused() -> Result<()> {
    let (params, network) = drawn(&spec(40, 25, stack(1, 16, 24), stack(2, 16, 24)), 9)?;
    for (search, part) in [
        (Search { beam: 0, ..SEARCH }, "beam"),
        (Search { batch: 0, ..SEARCH }, "batch"),
        (Search { length_penalty: -1., ..SEARCH }, "length-penalty"),
        (Search { length_factor: f64::NAN, ..SEARCH }, "length-factor"),
    ] {
        let e = translate(&network, &sources(2), &search, &mut |_| ()).expect_err(part);
        assert!(e.is_bad_input() && e.to_string().contains(part), "{e}");
    }
    let name = "decoder.output_projection.weight";
    let (_, table) = params.named().into_iter().find(|(n, _)| n == name).expect("the table");
    table.set(&(table.as_tensor() * f64::NAN)?)?;
    let e =
        translate(&network, &sources(2), &SEARCH, &mut |_| ()).expect_err("nothing to choose by");
    assert!(e.to_string().contains("log-sum-exp is NaN"), "{e}");
    Ok(())
}
