//! Small data sets and their files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use kd_core::data::LabelledImages;
use kd_core::data::mnist::{Mnist, embedded, idx};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

/// 30 training and 20 test digits.
pub fn digits() -> Mnist {
    embedded::generate(&embedded::Embedded { train: 30, test: 20, seed: 1 })
}

/// The four files' names and bytes.
pub fn idx_files(mnist: &Mnist) -> [(&'static str, Vec<u8>); 4] {
    let [a, b, c, d] = idx::FILES;
    [
        (a, idx::encode_images(&mnist.train)),
        (b, idx::encode_labels(&mnist.train)),
        (c, idx::encode_images(&mnist.test)),
        (d, idx::encode_labels(&mnist.test)),
    ]
}

/// Writes the four files to `dir`, gzipped with `.gz` if `gzip`.
pub fn write_idx(dir: &Path, mnist: &Mnist, gzip: bool) {
    fs::create_dir_all(dir).unwrap();
    for (name, bytes) in idx_files(mnist) {
        if gzip {
            fs::write(dir.join(format!("{name}.gz")), gz(&bytes)).unwrap()
        } else {
            fs::write(dir.join(name), bytes).unwrap()
        }
    }
}

/// `bytes` as a gzip file.
pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Grey pixels as a PNG.
pub fn png(pixels: &[u8], cols: u32, rows: u32) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_raw(cols, rows, pixels.to_vec())
        .unwrap()
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

/// A row of a table: PNG bytes or null, and a label.
pub type Row = (Option<Vec<u8>>, i64);

/// How a table is written.
#[derive(Clone)]
pub struct Layout {
    pub schema: &'static str,
    pub compression: Compression,
    pub version: WriterVersion,
    pub dictionary: bool,
    pub group_rows: usize,
}

/// As the hub writes: nullable columns, dictionaries, SNAPPY, several row groups.
pub const HUB: Layout = Layout {
    schema: "message schema { optional group image { optional binary bytes; optional binary path (UTF8); } optional int64 label; }",
    compression: Compression::SNAPPY,
    version: WriterVersion::PARQUET_1_0,
    dictionary: true,
    group_rows: 12,
};

/// Rows as a Parquet file.
pub fn parquet_rows(rows: &[Row], layout: &Layout) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(layout.schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(layout.compression)
        .set_writer_version(layout.version)
        .set_dictionary_enabled(layout.dictionary)
        .build();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema.clone(), Arc::new(properties)).unwrap();
    for rows in rows.chunks(layout.group_rows) {
        let mut group = writer.next_row_group().unwrap();
        for descriptor in SchemaDescriptor::new(schema.clone()).columns() {
            let mut column = group.next_column().unwrap().unwrap();
            let path = descriptor.path().string();
            let nullable = descriptor.max_def_level();
            match path.as_str() {
                "image.bytes" | "img.bytes" => {
                    let values: Vec<ByteArray> = rows
                        .iter()
                        .filter_map(|(png, _)| png.clone().map(ByteArray::from))
                        .collect();
                    let levels: Vec<i16> = rows
                        .iter()
                        .map(|(png, _)| if png.is_some() { nullable } else { nullable - 1 })
                        .collect();
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&values, Some(&levels), None)
                        .unwrap();
                }
                "image.path" | "img.path" => {
                    let values = vec![ByteArray::from("a.png"); rows.len()];
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&values, Some(&vec![nullable; rows.len()]), None)
                        .unwrap();
                }
                "label" | "fine_label" | "coarse_label" => {
                    // Five classes make a group, as in CIFAR-100.
                    let share = if path == "coarse_label" { 5 } else { 1 };
                    let values: Vec<i64> = rows.iter().map(|r| r.1.div_euclid(share)).collect();
                    column
                        .typed::<Int64Type>()
                        .write_batch(&values, Some(&vec![nullable; rows.len()]), None)
                        .unwrap();
                }
                other => panic!("no values for column {other}"),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// The rows of a set.
pub fn rows_of(set: &LabelledImages) -> Vec<Row> {
    let images = set.images.chunks_exact(set.pixels());
    images
        .zip(&set.labels)
        .map(|(image, &label)| {
            (Some(png(image, set.cols as u32, set.rows as u32)), i64::from(label))
        })
        .collect()
}

/// A set as the hub's Parquet.
pub fn parquet(set: &LabelledImages) -> Vec<u8> {
    parquet_rows(&rows_of(set), &HUB)
}

/// An error's text with the directory taken out.
pub fn message(error: impl std::fmt::Display, dir: &Path) -> String {
    error.to_string().replace(&dir.display().to_string(), "DIR")
}
