use std::collections::{HashMap, HashSet};

use kd_translation::bitext::toy::generate;
use kd_translation::bitext::{BitextSplits, Toy};

fn small(seed: u64) -> BitextSplits {
    generate(&Toy { train: 2000, validation: 200, test: 300, seed }).unwrap()
}

#[test]
fn a_seed_names_the_same_text_on_every_machine() {
    let splits = small(0);
    // Our own pins: no other program makes this text. A change orphans every result on it.
    assert_eq!(splits.content_hash(), "3cecbb882b068aa4");
    let shown: Vec<String> = splits
        .train
        .pairs()
        .take(8)
        .map(|(source, target)| format!("{source}\n  {target}"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    the wewif kist the taiful rogars lustaig the stestof and it not tabof the stapif powosts?
      ke de lüšün da södöd daječ din selihe prözs grödašet, o on dim šuvözi sögrezen jagrezet nej?
    the stimik gumok wist musted a daidap kaigaw bogers and it not fopiked?
      ke da greča prösa lünes huduhs höjis enö düdüv jüdejela, o ona hipröjela nej?
    the daiwabs kostem kaigaw torek wolaims.
      du pröprasir nedüse dazüns höjis grišegrunt.
    the torek boger diwoked the best statur and it kist the waistam pigib putig.
      da nedüsa huduh dem pröčičer čövüz lelujela, o ona dö grujö düvazö jisöč grödašet.
    gaidog pigib putigs must and they memut faig.
      grul grevu düvazu jisöčir jüdejunt, o onu grisejunt.
    the torek toduw that durub the ristuk not tait the pagails tairef?
      dudus ke da dö jügruv zöduprenda nedüsa čačiv dim šilihen dahünet nej?
    a bastep pagail not goper the daip diwuds.
      en šečaprer šilih du grüprelu gručir vejanet nej.
    the pedaist pigib dotail taiwiked the gaidog gigok bufig moster?
      züvöv ke da predaza düvaza grüvüš dem grever prüver jeprüh leprela?
    ");
}

#[test]
fn no_source_sentence_occurs_twice() {
    let splits = small(3);
    let parts = [&splits.train, &splits.validation, &splits.test];
    assert_eq!(parts.map(|part| part.len()), [2000, 200, 300]);
    let all: HashSet<&String> = parts.iter().flat_map(|part| &part.source).collect();
    assert_eq!(all.len(), 2500);
}

#[test]
fn sentences_of_other_seeds_do_not_leak_either() {
    let tests: HashSet<String> = (0..3).flat_map(|seed| small(seed).test.source).collect();
    assert!(
        (0..3).all(|seed| small(seed).train.source.iter().all(|source| !tests.contains(source)))
    );
}

#[test]
fn a_longer_part_begins_with_the_shorter_one_whatever_the_others() {
    let long = generate(&Toy { train: 50, validation: 7, test: 30, seed: 9 }).unwrap();
    let short = generate(&Toy { train: 20, validation: 1, test: 10, seed: 9 }).unwrap();
    assert_eq!(long.train.source[..20], short.train.source);
    assert_eq!(long.test.target[..10], short.test.target);
}

#[test]
fn a_translation_is_a_function_of_its_source() {
    let mut meaning = HashMap::new();
    for seed in 0..5 {
        let splits = small(seed);
        for (source, target) in splits.train.pairs().map(|(s, t)| (s.to_string(), t.to_string())) {
            assert_eq!(*meaning.entry(source).or_insert_with(|| target.clone()), target);
        }
    }
}

#[test]
fn words_have_more_forms_in_the_target_for_the_rest_of_the_sentence_to_decide() {
    let train = small(0).train;
    let words = |side: &[String]| -> HashSet<String> {
        side.iter()
            .flat_map(|s| s.split(|c: char| !c.is_alphabetic()))
            .map(str::to_string)
            .collect()
    };
    let (source, target) = (words(&train.source), words(&train.target));
    assert!(["de", "da", "dö", "dem", "dan", "di"].iter().all(|article| target.contains(*article)));
    assert!(target.len() > 2 * source.len(), "{} and {}", source.len(), target.len());
}

#[test]
fn sentences_have_the_lengths_of_captions() {
    let train = small(0).train;
    let lengths = |side: &[String]| side.iter().map(|s| s.split(' ').count()).collect::<Vec<_>>();
    for side in [lengths(&train.source), lengths(&train.target)] {
        let mean = side.iter().sum::<usize>() as f64 / side.len() as f64;
        assert!((5.0..15.0).contains(&mean) && side.iter().all(|n| (1..45).contains(n)), "{mean}");
    }
}

#[test]
fn a_part_of_no_pairs_or_too_many_is_refused() {
    let messages = [(0, 1), (1, 20_000_000)].map(|(train, test)| {
        let toy = Toy { train, validation: 1, test, seed: 0 };
        generate(&toy).unwrap_err().to_string()
    });
    insta::assert_snapshot!(messages.join("\n"), @r"
    pairs of a generated part: expected 1 to 10000000, got 0
    pairs of a generated part: expected 1 to 10000000, got 20000000
    ");
}
