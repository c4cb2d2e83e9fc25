//! Small corpora and their files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use kd_core::data::hub::{CONVERSIONS, Hub, HubDataset};
use kd_translation::bitext::{BitextSplits, Languages, Toy, toy};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// 40 + 6 + 5 pairs.
pub fn corpus() -> BitextSplits {
    toy::generate(&Toy { train: 40, validation: 6, test: 5, seed: 1 }).unwrap()
}

pub fn languages(text: &str) -> Languages {
    text.parse().unwrap()
}

/// `bytes` as a gzip file.
pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn text(lines: &[String]) -> Vec<u8> {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

/// Pairs as JSON lines under these codes.
pub fn jsonl(pairs: &kd_translation::Bitext, languages: &Languages) -> Vec<u8> {
    let line = |(source, target): (&str, &str)| {
        let object = serde_json::json!({ languages.source(): source, languages.target(): target });
        format!("{object}\n")
    };
    pairs.pairs().map(line).collect::<String>().into_bytes()
}

/// Writes the six files, of which `name` gives the names by part (0 to 2) and side (0 and 1).
pub fn write(dir: &Path, corpus: &BitextSplits, name: impl Fn(usize, usize) -> String) {
    for (p, part) in [&corpus.train, &corpus.validation, &corpus.test].into_iter().enumerate() {
        for (s, side) in [&part.source, &part.target].into_iter().enumerate() {
            let (name, bytes) = (name(p, s), text(side));
            fs::write(dir.join(&name), if name.ends_with(".gz") { gz(&bytes) } else { bytes })
                .unwrap();
        }
    }
}

/// `train.en` and the like.
pub fn plain(part: usize, side: usize) -> String {
    format!("{}.{}", ["train", "valid", "test"][part], ["en", "de"][side])
}

/// How a table is written.
#[derive(Clone)]
pub struct Layout {
    pub schema: &'static str,
    pub compression: Compression,
    pub version: WriterVersion,
    pub dictionary: bool,
    pub group_rows: usize,
}

/// As the hub writes.
pub const HUB: Layout = Layout {
    schema: "message schema { optional group translation { optional binary en (UTF8); optional binary de (UTF8); } }",
    compression: Compression::SNAPPY,
    version: WriterVersion::PARQUET_1_0,
    dictionary: true,
    group_rows: 12,
};

/// Bytes or null for each of the two columns, in their order.
pub type Row = [Option<Vec<u8>>; 2];

/// Rows as a Parquet file.
pub fn parquet_rows(rows: &[Row], layout: &Layout) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(layout.schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(layout.compression)
        .set_writer_version(layout.version)
        .set_dictionary_enabled(layout.dictionary)
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for rows in rows.chunks(layout.group_rows) {
        let mut group = writer.next_row_group().unwrap();
        for side in 0..2 {
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> =
                rows.iter().filter_map(|row| row[side].clone().map(ByteArray::from)).collect();
            let levels: Vec<i16> =
                rows.iter().map(|row| if row[side].is_some() { 2 } else { 1 }).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

pub fn rows(pairs: &kd_translation::Bitext) -> Vec<Row> {
    pairs
        .pairs()
        .map(|(source, target)| [source, target].map(|text| Some(text.as_bytes().to_vec())))
        .collect()
}

pub fn parquet(pairs: &kd_translation::Bitext) -> Vec<u8> {
    parquet_rows(&rows(pairs), &HUB)
}

/// Puts files into a cache as the hub's clients lay it out, in the order of the listing.
pub fn fill(cache: &Path, listing: &HubDataset, files: &[Vec<u8>]) {
    let repo = cache.join(format!("datasets--{}--{}", listing.owner, listing.name));
    let reference = repo.join("refs").join(listing.revision);
    fs::create_dir_all(reference.parent().unwrap()).unwrap();
    fs::write(reference, COMMIT).unwrap();
    for (name, bytes) in listing.files.iter().zip(files) {
        let path = repo.join("snapshots").join(COMMIT).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    assert!([CONVERSIONS, "main"].contains(&listing.revision));
}

/// A hub that has a cache and no server.
pub fn offline(cache: &Path) -> Hub {
    Hub {
        cache: Some(cache.to_path_buf()),
        endpoint: Some("http://127.0.0.1:1".to_string()),
        offline: true,
        patience: std::time::Duration::from_secs(10),
    }
}

/// An error's text with the directory taken out.
pub fn message(error: impl std::fmt::Display, dir: &Path) -> String {
    let text = error.to_string().replace(&dir.display().to_string(), "DIR");
    assert!(!text.contains('\n'), "{text}");
    text
}
