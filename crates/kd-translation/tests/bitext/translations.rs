use std::fs;
use std::path::PathBuf;

use kd_translation::Bitext;
use kd_translation::bitext::Translations;
use parquet::basic::Compression;
use parquet::file::properties::WriterVersion;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::peak_bytes;
use crate::fixtures::{HUB, Layout, Row, corpus, languages, message, parquet, parquet_rows, rows};

/// The pairs of the tables with these bytes.
fn read(tables: &[Vec<u8>]) -> Result<Bitext, String> {
    let dir = TempDir::new().unwrap();
    let paths: Vec<PathBuf> =
        (0..tables.len()).map(|i| dir.path().join(format!("{i:04}.parquet"))).collect();
    paths.iter().zip(tables).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let open = || Translations::open(&paths, &languages("en-de"));
    open().and_then(|pairs| pairs.collect()).map_err(|e| message(e, dir.path()))
}

#[test]
fn tables_hold_what_was_written_in_each_layout() {
    // Version 2 without dictionaries writes delta encodings, which are refused; see the messages
    // below.
    let kinds = [
        (WriterVersion::PARQUET_1_0, true),
        (WriterVersion::PARQUET_1_0, false),
        (WriterVersion::PARQUET_2_0, true),
    ];
    let train = corpus().train;
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
    ] {
        for (version, dictionary) in kinds {
            for group_rows in [1, 12, 1000] {
                let bytes = parquet_rows(
                    &rows(&train),
                    &Layout { compression, version, dictionary, group_rows, ..HUB },
                );
                assert_eq!(
                    read(&[bytes]).unwrap(),
                    train,
                    "{compression} {version:?} {dictionary} {group_rows}"
                );
            }
        }
    }
}

#[test]
fn several_tables_follow_each_other_and_count_together() {
    let (dir, all) = (TempDir::new().unwrap(), corpus());
    let paths: Vec<PathBuf> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
    fs::write(&paths[0], parquet(&all.train)).unwrap();
    fs::write(&paths[1], parquet(&all.test)).unwrap();
    let open = || Translations::open(&paths, &languages("en-de")).unwrap();
    assert_eq!(open().total(), 45);
    let both: Bitext = all
        .train
        .pairs()
        .chain(all.test.pairs())
        .map(|(s, t)| (s.to_string(), t.to_string()))
        .collect();
    assert_eq!(open().first(usize::MAX).unwrap(), both);
    assert_eq!(open().first(41).unwrap().source, both.source[..41]);
    assert_eq!(open().evenly_spaced(9).unwrap(), both.evenly_spaced(9));
}

#[test]
fn sentences_are_trimmed_and_on_one_line() {
    let row = |text: &str| [Some(text.as_bytes().to_vec()), Some(b"x".to_vec())];
    let read = read(&[parquet_rows(&[row(" a\nb\r\nc "), row("")], &HUB)]).unwrap();
    assert_eq!(read.source, ["a b  c", ""]);
}

#[test]
fn each_kind_of_bad_table_has_its_message() {
    let train = corpus().train;
    let with = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = rows(&train);
        change(&mut rows);
        parquet_rows(&rows, &HUB)
    };
    let whole = parquet(&train);
    let schema = |schema| parquet_rows(&rows(&train), &Layout { schema, ..HUB });
    let messages = [
        read(&[b"no table".to_vec()]),
        read(&[whole[..whole.len() / 2].to_vec()]),
        read(&[with(&|rows| rows[15][0] = None)]),
        read(&[with(&|rows| rows[15][1] = Some(b"a\xff".to_vec()))]),
        read(&[with(&|rows| rows[15][1] = Some(vec![b'x'; (1 << 20) + 1]))]),
        read(&[with(&|rows| rows.clear())]),
        read(&[whole.clone(), b"no table".to_vec()]),
        read(&[schema(
            "message schema { optional group translation { optional binary en (UTF8); optional binary ro (UTF8); } }",
        )]),
        read(&[parquet_rows(
            &rows(&train),
            &Layout { compression: Compression::GZIP(Default::default()), ..HUB },
        )]),
        read(&[parquet_rows(
            &rows(&train),
            &Layout { version: WriterVersion::PARQUET_2_0, dictionary: false, ..HUB },
        )]),
    ];
    insta::assert_snapshot!(messages.map(|m| m.unwrap_err()).join("\n"), @r"
    DIR/0000.parquet: expected a Parquet table of translations, got a text
    DIR/0000.parquet: expected a Parquet table of translations, got Parquet error: Invalid Parquet file. Corrupt footer
    DIR/0000.parquet: expected a Parquet table of translations, got column translation.en: 11 values in 12 rows from row 12 on
    DIR/0000.parquet: expected a Parquet table of translations, got column translation.de: row 15: bytes that are not UTF-8
    DIR/0000.parquet: expected a Parquet table of translations, got column translation.de: row 15: 1048577 bytes, more than 1048576
    DIR/0000.parquet: expected 1 to 4294967296 rows, got 0
    DIR/0001.parquet: expected a Parquet table of translations, got a text
    DIR/0000.parquet: expected a Parquet table of translations, got no column translation.de
    DIR/0000.parquet: expected a Parquet table of translations, got column translation.en: compression GZIP(GzipLevel(6)), expected none, SNAPPY, ZSTD or LZ4_RAW
    DIR/0000.parquet: expected a Parquet table of translations, got column translation.en: page 0 in encoding 7, expected plain or dictionary
    ");
}

#[test]
fn after_an_error_there_are_no_more_pairs() {
    let mut rows = rows(&corpus().train);
    rows[30][0] = None;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, parquet_rows(&rows, &HUB)).unwrap();
    let mut pairs = Translations::open(&[path.clone(), path], &languages("en-de")).unwrap();
    assert_eq!(pairs.by_ref().take_while(Result::is_ok).count(), 24);
    assert!(pairs.next().is_none());
}

#[test]
fn a_table_is_streamed_whatever_its_size() {
    // 30 MB in one row group, and a dictionary that overflows into plain pages.
    let text = |i: usize, side: usize| {
        Some(
            (0..60)
                .map(|k| format!("{:x}", (i * 2 + side + 1) * (k + 7919) * 31))
                .collect::<String>()
                .into_bytes(),
        )
    };
    let rows: Vec<_> = (0..30_000).map(|i| [text(i, 0), text(i, 1)]).collect();
    let layout = Layout { compression: Compression::UNCOMPRESSED, group_rows: 1 << 20, ..HUB };
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("large");
    let bytes = parquet_rows(&rows, &layout);
    assert!(bytes.len() > 20 << 20, "{} bytes", bytes.len());
    fs::write(&path, bytes).unwrap();
    let (count, most) = peak_bytes(|| {
        let pairs = Translations::open(&[path], &languages("en-de")).unwrap();
        pairs
            .map(|pair| pair.unwrap())
            .filter(|(source, target)| source.len() > 200 && target.len() > 200)
            .count()
    });
    assert_eq!(count, 30_000);
    assert!(most < 12 << 20, "{most} bytes");
}

#[test]
fn a_small_table_that_unfolds_to_far_more_text_is_refused() {
    // A dictionary of one sentence of 10 kB, for 4000 rows.
    let sentence = || Some(vec![b'a'; 10_000]);
    let rows: Vec<_> = (0..4000).map(|_| [sentence(), sentence()]).collect();
    let bytes = parquet_rows(&rows, &HUB);
    let error = read(&[bytes]).expect_err("a refusal");
    assert!(error.contains("text of more than 64 times the file's size"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_and_cut_bytes_never_panic_or_ask_for_much_memory(
        dictionary in any::<bool>(),
        // Headers and footer are where sizes stand; most changes go there.
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 0..5),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = parquet_rows(&rows(&corpus().train), &Layout { dictionary, ..HUB });
        let n = bytes.len();
        for (at, value, place) in changes {
            let at = match place {
                0 => n - 1 - at.index(1200.min(n)),
                1 => at.index(64),
                _ => at.index(n),
            };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(n));
        }
        let (read, most) = peak_bytes(|| read(&[bytes]));
        if let Ok(pairs) = read {
            prop_assert_eq!(pairs.source.len(), pairs.target.len());
        }
        prop_assert!(most < 160 << 20, "{} bytes", most);
    }
}
