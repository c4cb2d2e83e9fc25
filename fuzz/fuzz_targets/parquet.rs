//! Parquet tables of images and of sentences, and the check of page headers before them. The first
//! byte chooses.

#![no_main]

use std::sync::Arc;

use kd_core::data::page_headers::{self, Limits};
use kd_core::data::table::{self, TableSchema};
use kd_translation::bitext::{Languages, Translations};
use libfuzzer_sys::fuzz_target;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

const SCHEMA: TableSchema = TableSchema {
    image: "image.bytes",
    label: "label",
    classes: 10,
    coarse: None,
    channels: 1,
    rows: 4,
    cols: 4,
};
const LIMITS: Limits = Limits { page_bytes: 1 << 20, dictionary: 100, values: 100 };

/// A table of five rows in groups of three, as the hub writes it: nullable columns, dictionaries.
fn written(schema: &str, value: &ByteArray, compression: Compression, dictionary: bool) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.clone(), Arc::new(properties))
        .expect("a writer");
    for rows in [3, 2] {
        let mut group = writer.next_row_group().expect("a group");
        for descriptor in SchemaDescriptor::new(schema.clone()).columns() {
            let mut column = group.next_column().expect("a column").expect("a column");
            let levels = vec![descriptor.max_def_level(); rows];
            let written = match descriptor.path().string().as_str() {
                "label" => {
                    column.typed::<Int64Type>().write_batch(&[1, 2, 3][..rows], Some(&levels), None)
                }
                _ => column.typed::<ByteArrayType>().write_batch(
                    &vec![value.clone(); rows],
                    Some(&levels),
                    None,
                ),
            };
            written.expect("values");
            column.close().expect("a column");
        }
        group.close().expect("a group");
    }
    writer.into_inner().expect("a table")
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let images =
        "message schema { optional group image { optional binary bytes; } optional int64 label; }";
    let text = "message schema { optional group translation { optional binary en (UTF8); optional binary de (UTF8); } }";
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_raw(4, 4, (0..16).map(|i| 16 * i).collect())
        .expect("an image")
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a PNG");
    let (png, words) = (ByteArray::from(png.into_inner()), ByteArray::from("ein Hund"));
    let plain = written(images, &png, Compression::UNCOMPRESSED, false);
    vec![
        ("images-plain", kd_fuzz::chosen(0, &plain)),
        ("images-snappy", kd_fuzz::chosen(0, &written(images, &png, Compression::SNAPPY, true))),
        (
            "images-zstd",
            kd_fuzz::chosen(0, &written(images, &png, Compression::ZSTD(Default::default()), true)),
        ),
        (
            "text-plain",
            kd_fuzz::chosen(1, &written(text, &words, Compression::UNCOMPRESSED, false)),
        ),
        ("text-snappy", kd_fuzz::chosen(1, &written(text, &words, Compression::SNAPPY, true))),
        ("text-lz4", kd_fuzz::chosen(1, &written(text, &words, Compression::LZ4_RAW, true))),
        ("pages", kd_fuzz::chosen(2, &plain[4..])),
    ]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => {
            if let Ok(set) = table::read(&kd_fuzz::file("0000.parquet", bytes), &SCHEMA) {
                assert_eq!(set.images.len(), set.len() * 16);
                assert!(set.labels.iter().all(|&label| label < 10));
            }
        }
        1 => {
            let languages = Languages::new("en", "de").expect("two languages");
            let path = kd_fuzz::file("0000.parquet", bytes);
            // At most a thousand pairs: a small table can hold millions of equal ones.
            if let Ok(pairs) = Translations::open(&[path], &languages) {
                let _ = pairs.first(1000);
            }
        }
        _ => {
            let whole = page_headers::check(bytes, LIMITS);
            let mut file = std::io::Cursor::new(bytes);
            let parts = page_headers::check_file(&mut file, 0, bytes.len() as u64, LIMITS);
            // Both ways to read the same bytes say the same, but for headers of a megabyte.
            assert_eq!(whole, parts);
        }
    }
}));
