//! Decoding with cached keys and values beside decoding of the whole prefix.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::model::Mode;
use kd_translation::bpe::BOS;
use kd_translation::transformer::{
    Decoding, MAX_POSITIONS, Memory, Norm, Transformer, TransformerSpec,
};

use super::{close, drawn, rows_of, spec, stack, words};

const VOCABULARY: usize = 30;
const BEAM: usize = 3;

fn networks() -> Result<Vec<Transformer>> {
    let deep = spec(VOCABULARY, VOCABULARY, stack(2, 16, 24), stack(3, 16, 24));
    let specs = [TransformerSpec { norm: Norm::Pre, ..deep.clone() }, deep.tiny(), deep];
    specs.iter().map(|spec| Ok(drawn(spec, 3)?.1)).collect()
}

fn memory(network: &Transformer, lengths: &[usize]) -> Result<Memory> {
    let longest = lengths.iter().copied().max().expect("a sentence");
    let ids = words(lengths.len() * longest, VOCABULARY, "source");
    network.encode(
        &Tensor::from_vec(ids, (lengths.len(), longest), &Device::Cpu)?,
        lengths,
        Mode::Evaluate,
    )
}

/// Hypotheses in step with a [`Decoding`], each with its sentence.
struct Prefixes {
    rows: Vec<(u32, Vec<u32>)>,
}

impl Prefixes {
    /// Adds words to both, and compares the logits.
    fn step(
        &mut self,
        decoding: &mut Decoding,
        network: &Transformer,
        memory: &Memory,
        words: &[u32],
    ) -> Result<()> {
        self.rows.iter_mut().zip(words).for_each(|((_, row), &word)| row.push(word));
        let cached = decoding.step(&Tensor::new(words, &Device::Cpu)?)?;
        let (n, length) = (self.rows.len(), self.rows[0].1.len());
        assert_eq!(decoding.words(), length);
        let prefix = Tensor::from_vec(
            self.rows.iter().flat_map(|(_, row)| row.clone()).collect(),
            (n, length),
            &Device::Cpu,
        )?;
        let sentences: Vec<u32> = self.rows.iter().map(|(sentence, _)| *sentence).collect();
        let whole = network.decode(&rows_of(memory, &sentences)?, &prefix, Mode::Evaluate)?;
        close(
            &cached,
            &network.logits(&whole.narrow(1, length - 1, 1)?.squeeze(1)?)?,
            1e-5,
            &format!("{:?}, word {length}", network.spec()),
        )
    }

    fn select(&mut self, rows: &[u32]) {
        self.rows = rows.iter().map(|&row| self.rows[row as usize].clone()).collect();
    }
}

#[test]
fn logits_of_cached_decoding_are_those_of_the_whole_prefix_also_after_hypotheses_moved_and_sentences_went()
-> Result<()> {
    for network in networks()? {
        let memory = memory(&network, &[7, 3, 5, 1])?;
        let mut decoding = Decoding::new(&network, &memory, BEAM)?;
        let mut prefixes = Prefixes {
            rows: (0..4 * BEAM as u32).map(|row| (row / BEAM as u32, Vec::new())).collect(),
        };
        prefixes.step(&mut decoding, &network, &memory, &[BOS; 12])?;
        prefixes.step(&mut decoding, &network, &memory, &words(12, VOCABULARY, "second"))?;
        // Hypotheses of each sentence in another order, one of them twice.
        let moved = [2, 0, 0, 3, 4, 5, 8, 7, 6, 10, 10, 10];
        decoding.select(&[0, 1, 2, 3], &moved)?;
        prefixes.select(&moved);
        prefixes.step(&mut decoding, &network, &memory, &words(12, VOCABULARY, "third"))?;
        // The first and the third sentence stay, then the third alone.
        let moved = [1, 2, 0, 8, 8, 7];
        decoding.select(&[0, 2], &moved)?;
        prefixes.select(&moved);
        assert_eq!(decoding.sentences(), 2);
        prefixes.step(&mut decoding, &network, &memory, &words(6, VOCABULARY, "fourth"))?;
        decoding.select(&[1], &[5, 3, 4])?;
        prefixes.select(&[5, 3, 4]);
        // More words than a cache has room for at first.
        for i in 5..37 {
            prefixes.step(
                &mut decoding,
                &network,
                &memory,
                &words(3, VOCABULARY, &format!("word {i}")),
            )?;
            let turned = [1, 2, 0];
            decoding.select(&[0], &turned)?;
            prefixes.select(&turned);
        }
    }
    Ok(())
}

#[test]
fn padding_behind_a_sentence_does_not_reach_its_translation() -> Result<()> {
    for network in networks()? {
        let (alone, padded) = (words(3, VOCABULARY, "source"), words(9, VOCABULARY, "source"));
        let read = |ids: Vec<u32>| -> Result<Tensor> {
            let memory = network.encode(
                &Tensor::from_vec(ids.clone(), (1, ids.len()), &Device::Cpu)?,
                &[3],
                Mode::Evaluate,
            )?;
            network.logits(&network.decode(
                &memory,
                &Tensor::new(&[[BOS, 9, 8]], &Device::Cpu)?,
                Mode::Evaluate,
            )?)
        };
        close(&read(alone)?, &read(padded)?, 1e-5, "padded")?;
    }
    Ok(())
}

#[test]
fn a_sentence_of_more_words_than_there_are_positions_is_refused() -> Result<()> {
    let network = drawn(&spec(VOCABULARY, VOCABULARY, stack(1, 4, 4), stack(1, 4, 4)), 1)?.1;
    let ids = Tensor::ones((1, MAX_POSITIONS + 1), candle_core::DType::U32, &Device::Cpu)?;
    let Err(e) = network.encode(&ids, &[MAX_POSITIONS + 1], Mode::Evaluate) else {
        panic!("it was read")
    };
    assert!(e.is_bad_input() && e.to_string().contains("at most 1024 words, got 1025"), "{e}");
    Ok(())
}
