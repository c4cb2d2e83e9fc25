//! Batches of sentence pairs: what is in them, which pairs go together, and that draws decide
//! nothing but the order.

use candle_core::Device;
use kd_core::Seed;
use kd_translation::bpe::{BOS, EOS, PAD};
use kd_translation::token_batches::{BatchSize, TokenBatches, TokenPairs};
use proptest::prelude::*;

fn pairs(lengths: &[(usize, usize)]) -> TokenPairs {
    let sentence = |i: usize, n: usize| (0..n).map(|k| (4 + i + k) as u32).collect();
    let side = |pick: fn(&(usize, usize)) -> usize| {
        lengths.iter().enumerate().map(|(i, l)| sentence(i, pick(l))).collect()
    };
    TokenPairs { source: side(|l| l.0), target: side(|l| l.1) }
}

fn batches(lengths: &[(usize, usize)], tokens: usize) -> TokenBatches {
    TokenBatches::new(pairs(lengths), BatchSize { tokens, pairs: None }).unwrap()
}

#[test]
fn a_batch_holds_padded_sentences_with_their_beginnings_and_ends() {
    let pairs = TokenPairs {
        source: vec![vec![10, 11], vec![20]],
        target: vec![vec![12], vec![21, 22, 23]],
    };
    let batches = TokenBatches::new(pairs, BatchSize { tokens: 100, pairs: None }).unwrap();
    let batch = batches.batch(&[0, 1], &Device::Cpu).unwrap();
    assert_eq!(batch.source.to_vec2::<u32>().unwrap(), [[10, 11, EOS], [20, EOS, PAD]]);
    assert_eq!(batch.target_in.to_vec2::<u32>().unwrap(), [[BOS, 12, PAD, PAD], [BOS, 21, 22, 23]]);
    assert_eq!(
        batch.target_out.to_vec2::<u32>().unwrap(),
        [[12, EOS, PAD, PAD], [21, 22, 23, EOS]]
    );
    assert_eq!(
        (batch.source_lengths, batch.target_lengths, batch.target_tokens),
        (vec![3, 2], vec![2, 4], 6)
    );
}

#[test]
fn rows_come_in_the_order_they_are_asked_for() {
    let batches = batches(&[(1, 1), (2, 2), (3, 3)], 100);
    let batch = batches.batch(&[2, 0], &Device::Cpu).unwrap();
    assert_eq!(batch.source_lengths, [4, 2]);
}

#[test]
fn the_longer_side_counts_with_its_padding() {
    // 4 tokens with the end of sentence: three pairs are 12, and the fourth would be 16.
    let batches = batches(&[(3, 1), (1, 3), (3, 3), (2, 3)], 15);
    assert_eq!(batches.in_order(), [vec![1, 3, 0], vec![2]]);
}

#[test]
fn a_batch_has_at_most_the_pairs_it_may_have() {
    let batches =
        TokenBatches::new(pairs(&[(1, 1); 7]), BatchSize { tokens: 1000, pairs: Some(3) }).unwrap();
    assert_eq!(batches.in_order(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn epochs_and_seeds_have_orders_of_their_own_and_repeat_them() {
    let batches = batches(&[(3, 3); 40], 16);
    let plan = batches.shuffled(Seed(1), 5);
    assert_eq!(plan, batches.shuffled(Seed(1), 5));
    for (seed, epoch) in [(1, 6), (2, 5)] {
        let other = batches.shuffled(Seed(seed), epoch);
        assert_ne!(plan, other);
        // Not the batches alone are shuffled, but also who is in them.
        assert!(!other.contains(&plan[0]));
    }
}

#[test]
fn an_order_is_fixed_for_ever() {
    let batches = batches(&[(3, 3), (1, 2), (3, 3), (2, 2), (3, 3), (1, 1)], 8);
    assert_eq!(batches.shuffled(Seed(1), 0), [vec![3, 4], vec![5, 1], vec![2, 0]]);
}

#[test]
fn what_cannot_be_batched_is_refused() {
    let new = |lengths: &[(usize, usize)], tokens, pairs| {
        let size = BatchSize { tokens, pairs };
        TokenBatches::new(self::pairs(lengths), size).unwrap_err().to_string()
    };
    let uneven = TokenPairs { source: vec![vec![4]], target: vec![] };
    let messages = [
        new(&[(1, 1), (2, 9), (9, 2)], 9, None),
        new(&[(1, 1)], 9, Some(0)),
        TokenBatches::new(uneven, BatchSize { tokens: 9, pairs: None }).unwrap_err().to_string(),
        batches(&[(1, 1)], 9).batch(&[], &Device::Cpu).unwrap_err().to_string(),
        batches(&[(1, 1)], 9).batch(&[1], &Device::Cpu).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    tokens of a batch: expected at least 10, the tokens of pair 1 with its end of sentence, got 9
    pairs of a batch: expected at least 1, got 0
    target sentences: expected 1 elements, got 0
    rows of a batch: expected at least 1, got 0
    sentence pair: expected less than 1, got 1
    ");
}

#[test]
fn no_pairs_make_no_batches() {
    let batches = batches(&[], 9);
    assert!(batches.is_empty());
    assert!(batches.shuffled(Seed(0), 0).is_empty());
}

proptest! {
    #[test]
    fn each_pair_is_in_one_batch_and_no_batch_is_too_large(
        lengths in prop::collection::vec((0usize..20, 0usize..20), 1..120),
        tokens in 21usize..200,
        most in prop::option::of(1usize..9),
        seed in any::<u64>(),
        epoch in 0usize..1000,
    ) {
        let batches = TokenBatches::new(pairs(&lengths), BatchSize { tokens, pairs: most }).unwrap();
        for plan in [batches.shuffled(Seed(seed), epoch), batches.in_order()] {
            let mut rows: Vec<u32> = plan.iter().flatten().copied().collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len() as u32).collect::<Vec<_>>());
            for rows in &plan {
                prop_assert!(!rows.is_empty() && most.is_none_or(|most| rows.len() <= most));
                let batch = batches.batch(rows, &Device::Cpu).unwrap();
                let (b, ts) = batch.source.dims2().unwrap();
                let (_, tt) = batch.target_in.dims2().unwrap();
                prop_assert!(b * ts.max(tt) <= tokens);
                prop_assert_eq!(batch.target_tokens, batch.target_lengths.iter().sum::<usize>());
                prop_assert_eq!(Some(&ts), batch.source_lengths.iter().max());
                prop_assert_eq!(Some(&tt), batch.target_lengths.iter().max());
                let out = batch.target_out.to_vec2::<u32>().unwrap();
                prop_assert_eq!(out.iter().flatten().filter(|&&id| id != PAD).count(), batch.target_tokens);
            }
        }
    }
}
