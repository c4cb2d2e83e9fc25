use std::fs;
use std::path::PathBuf;

use kd_core::data::table::{self, TableSchema};
use kd_core::data::{DataError, LabelledImages};
use parquet::basic::Compression;
use parquet::file::properties::WriterVersion;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::assert_modest;
use crate::fixtures::{HUB, Layout, Row, digits, message, parquet, parquet_rows, png, rows_of};

const SCHEMA: TableSchema = TableSchema {
    image: "image.bytes",
    label: "label",
    classes: 10,
    coarse: None,
    channels: 1,
    rows: 28,
    cols: 28,
};

fn read(bytes: &[u8]) -> Result<LabelledImages, String> {
    let dir = TempDir::new().unwrap();
    let path: PathBuf = dir.path().join("0000.parquet");
    fs::write(&path, bytes).unwrap();
    table::read(&path, &SCHEMA).map_err(|e: DataError| message(e, dir.path()))
}

#[test]
fn a_table_holds_what_was_written_in_each_layout() {
    // Version 2 without dictionaries writes delta encodings, which are refused; see the messages
    // below.
    let kinds = [
        (WriterVersion::PARQUET_1_0, true),
        (WriterVersion::PARQUET_1_0, false),
        (WriterVersion::PARQUET_2_0, true),
    ];
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
    ] {
        for (version, dictionary) in kinds {
            let bytes = parquet_rows(
                &rows_of(&digits().train),
                &Layout { compression, version, dictionary, ..HUB },
            );
            assert_eq!(
                read(&bytes).unwrap(),
                digits().train,
                "{compression} {version:?} {dictionary}"
            );
        }
    }
}

#[test]
fn each_kind_of_bad_table_has_its_message() {
    let rows = rows_of(&digits().test);
    let with = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = rows.clone();
        change(&mut rows);
        parquet_rows(&rows, &HUB)
    };
    let whole = parquet(&digits().test);
    let only_label = Layout { schema: "message schema { optional int64 label; }", ..HUB };
    let messages = [
        read(b"no table"),
        read(&whole[..whole.len() / 2]),
        read(&with(&|rows| rows[3].1 = 10)),
        read(&with(&|rows| rows[15].1 = -1)),
        read(&with(&|rows| rows[15].0 = None)),
        read(&with(&|rows| rows[14].0 = Some(b"no image".to_vec()))),
        read(&with(&|rows| rows[14].0 = Some(png(&[0; 27 * 28], 27, 28)))),
        read(&with(&|rows| rows[14].0 = Some(png(&vec![0; 300 * 300], 300, 300)))),
        read(&with(&|rows| rows.clear())),
        read(&parquet_rows(&rows, &only_label)),
        read(&parquet_rows(
            &rows,
            &Layout { compression: Compression::GZIP(Default::default()), ..HUB },
        )),
        read(&parquet_rows(
            &rows,
            &Layout { version: WriterVersion::PARQUET_2_0, dictionary: false, ..HUB },
        )),
    ];
    insta::assert_snapshot!(messages.map(|m| m.unwrap_err()).join("\n"), @r"
    DIR/0000.parquet: expected a Parquet table of images and labels, got a text
    DIR/0000.parquet: expected a Parquet table of images and labels, got Parquet error: Invalid Parquet file. Corrupt footer
    DIR/0000.parquet: expected labels of 0 to 9, got 10 in row 3
    DIR/0000.parquet: expected labels of 0 to 9, got -1 in row 15
    DIR/0000.parquet: expected a Parquet table of images and labels, got column image.bytes: 7 values in 8 rows
    DIR/0000.parquet: expected a Parquet table of images and labels, got row 14: Format error decoding Png: Invalid PNG signature.
    DIR/0000.parquet: expected a Parquet table of images and labels, got row 14: an image of 28x27, expected 28x28
    DIR/0000.parquet: expected a Parquet table of images and labels, got row 14: Image size exceeds limit
    DIR/0000.parquet: expected 1 to 100000 rows, got 0
    DIR/0000.parquet: expected a Parquet table of images and labels, got no column image.bytes
    DIR/0000.parquet: expected a Parquet table of images and labels, got column image.bytes: compression GZIP(GzipLevel(6)), expected none, SNAPPY, ZSTD or LZ4_RAW
    DIR/0000.parquet: expected a Parquet table of images and labels, got column image.bytes: page 0 in encoding 7, expected plain or dictionary
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_and_cut_bytes_never_panic_or_ask_for_much_memory(
        test in any::<bool>(),
        // Headers and footer are where sizes stand; most changes go there.
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 0..5),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = if test { parquet(&digits().test) } else { parquet_rows(&rows_of(&digits().train), &Layout { dictionary: false, compression: Compression::UNCOMPRESSED, ..HUB }) };
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
        if let Ok(set) = read(&bytes) {
            prop_assert_eq!(set.images.len(), set.len() * 784);
            prop_assert!(set.labels.iter().all(|&l| l < 10));
        }
        assert_modest();
    }
}

#[test]
fn a_page_on_which_the_parquet_crate_panics_is_an_error() {
    let layout = Layout { dictionary: false, compression: Compression::UNCOMPRESSED, ..HUB };
    let mut bytes = parquet_rows(&rows_of(&digits().train), &layout);
    // The first data header: 12 values, encoding 0 (plain), turned into indices of a dictionary
    // that is not there.
    let header = bytes.windows(5).position(|w| w == [0x2C, 0x15, 24, 0x15, 0]).unwrap();
    bytes[header + 4] = 16;
    let error = read(&bytes).unwrap_err();
    assert_eq!(
        error,
        "DIR/0000.parquet: expected a Parquet table of images and labels, got pages that cannot be decoded"
    );
}
