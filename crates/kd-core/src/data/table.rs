//! Images in a Parquet table as the Hugging Face hub converts them: a column of PNGs and one or two
//! of labels.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::ImageReader;
use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use rayon::prelude::*;

use super::images::planes;
use super::page_headers::{self, Limits};
use super::{CoarseLabels, DataError, LabelledImages};
use crate::file_kind::{self, FileKind};

/// The largest file accepted; MNIST's larger one has 14.6 MB, CIFAR-100's 119 MB.
const MAX_FILE: u64 = 1 << 28;
/// The most rows accepted; MNIST has 60,000. A dictionary holds an image of all of them in a few bytes.
const MAX_ROWS: i64 = 100_000;
/// The largest page accepted after decompression; MNIST's have 0.3 MB.
const MAX_PAGE: i64 = 1 << 26;

/// What a table holds. Columns are dotted paths.
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    /// The column of PNG bytes, such as `image.bytes`.
    pub image: &'static str,
    /// The column of classes, such as `label`.
    pub label: &'static str,
    /// Number of classes.
    pub classes: usize,
    /// The column of groups of classes and their number, where there are groups.
    pub coarse: Option<(&'static str, usize)>,
    /// 1 for grey images, 3 for colour.
    pub channels: usize,
    /// Height of an image.
    pub rows: usize,
    /// Width of an image.
    pub cols: usize,
}

/// Reads a table in the order of the file. Images are decoded in parallel; the result does not
/// depend on the number of threads.
///
/// # Errors
/// [`DataError::Table`] for a file that is corrupt, holds other columns, nulls, or images of
/// another size; [`DataError::Label`] for a label outside of the classes; [`DataError::Count`] for
/// too many rows or none; [`DataError::Io`].
pub fn read(path: &Path, schema: &TableSchema) -> Result<LabelledImages, DataError> {
    let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
    // The parquet crate still panics on some malformed files (a dictionary page that is missing, an
    // unknown level encoding), and a corrupt download must not end the program with a
    // backtrace. Nothing that the closure could leave half done survives it.
    let columns = catch_unwind(AssertUnwindSafe(|| read_columns(path, schema)))
        .unwrap_or_else(|_| Err(table("pages that cannot be decoded".to_string())))?;
    let &TableSchema { classes, channels, rows, cols, .. } = schema;
    let mut images = vec![0; columns.images.len() * channels * rows * cols];
    images
        .par_chunks_exact_mut(channels * rows * cols)
        .zip(&columns.images)
        .enumerate()
        .try_for_each(|(row, (out, png))| {
            decode(png.data(), schema, out).map_err(|e| table(format!("row {row}: {e}")))
        })?;
    let labels = check_labels(path, &columns.labels, classes)?;
    let coarse = match schema.coarse {
        Some((_, classes)) => {
            Some(CoarseLabels { labels: check_labels(path, &columns.coarse, classes)?, classes })
        }
        None => None,
    };
    Ok(LabelledImages { images, labels, coarse, channels, rows, cols, classes })
}

fn check_labels(path: &Path, labels: &[i64], classes: usize) -> Result<Vec<u8>, DataError> {
    let check = |(row, &label): (usize, &i64)| match u8::try_from(label) {
        Ok(l) if usize::from(l) < classes => Ok(l),
        _ => Err(DataError::Label {
            path: path.to_path_buf(),
            row,
            max: (classes - 1) as u8,
            got: label,
        }),
    };
    labels.iter().enumerate().map(check).collect()
}

#[derive(Default)]
struct Columns {
    images: Vec<ByteArray>,
    labels: Vec<i64>,
    coarse: Vec<i64>,
}

fn read_columns(path: &Path, schema: &TableSchema) -> Result<Columns, DataError> {
    let io = |source| DataError::Io { path: path.to_path_buf(), source };
    let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
    let parse = |e: parquet::errors::ParquetError| table(kd_base::message::with_causes(&e));

    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MAX_FILE {
        return Err(table(format!("a file of {size} bytes, more than {MAX_FILE}")));
    }
    let got = file_kind::of_file(path).map_err(io)?;
    if got != FileKind::Parquet {
        return Err(table(got.to_string()));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    // Statistics in page headers are not used, and reading them would allocate what they claim.
    let properties = ReaderProperties::builder()
        .set_read_page_statistics(false)
        .set_read_bloom_filter(false)
        .build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let file = File::open(path).map_err(io)?;
    let reader = SerializedFileReader::new_with_options(file, options).map_err(parse)?;

    let total = reader.metadata().file_metadata().num_rows();
    if !(1..=MAX_ROWS).contains(&total) {
        let got = u64::try_from(total).unwrap_or(0);
        return Err(DataError::Count {
            path: path.to_path_buf(),
            what: "rows",
            max: MAX_ROWS as u64,
            got,
        });
    }
    let mut columns = Columns::default();
    for i in 0..reader.num_row_groups() {
        let group = reader.get_row_group(i).map_err(parse)?;
        let n = group.metadata().num_rows();
        let left = total as usize - columns.labels.len();
        let n = usize::try_from(n)
            .ok()
            .filter(|&n| n <= left)
            .ok_or_else(|| table(format!("a row group of {n} rows where {left} are left")))?;
        read_column::<ByteArrayType>(group.as_ref(), &bytes, schema.image, n, &mut columns.images)
            .map_err(table)?;
        read_column::<Int64Type>(group.as_ref(), &bytes, schema.label, n, &mut columns.labels)
            .map_err(table)?;
        if let Some((name, _)) = schema.coarse {
            read_column::<Int64Type>(group.as_ref(), &bytes, name, n, &mut columns.coarse)
                .map_err(table)?;
        }
    }
    if columns.labels.len() as i64 != total {
        return Err(table(format!(
            "{} rows in its groups where its header says {total}",
            columns.labels.len()
        )));
    }
    Ok(columns)
}

/// Appends the `n` values of one column of a row group; an error if one is null.
fn read_column<T: DataType>(
    group: &dyn RowGroupReader,
    file: &[u8],
    name: &str,
    n: usize,
    values: &mut Vec<T::T>,
) -> Result<(), String> {
    let at = |reason: String| format!("column {name}: {reason}");
    let parse = |e: parquet::errors::ParquetError| at(kd_base::message::with_causes(&e));
    let column = group
        .metadata()
        .columns()
        .iter()
        .enumerate()
        .find(|(_, c)| c.column_path().string() == name);
    let (index, meta) = column.ok_or_else(|| format!("no column {name}"))?;
    if meta.column_type() != T::get_physical_type() || meta.column_descr().max_rep_level() != 0 {
        return Err(at(format!(
            "type {} where one {} for each row was expected",
            meta.column_type(),
            T::get_physical_type()
        )));
    }
    // The other codecs unfold without a bound.
    if !matches!(
        meta.compression(),
        Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::ZSTD(_)
            | Compression::LZ4_RAW
    ) {
        return Err(at(format!(
            "compression {}, expected none, SNAPPY, ZSTD or LZ4_RAW",
            meta.compression()
        )));
    }
    let start = meta.dictionary_page_offset().unwrap_or_else(|| meta.data_page_offset());
    let chunk = usize::try_from(start)
        .ok()
        .zip(usize::try_from(meta.compressed_size()).ok())
        .and_then(|(start, size)| file.get(start..start.checked_add(size)?))
        .ok_or_else(|| at("pages outside of the file".to_string()))?;
    page_headers::check(
        chunk,
        Limits { page_bytes: MAX_PAGE, dictionary: n as i64, values: n as i64 },
    )
    .map_err(at)?;

    let reader: ColumnReader = group.get_column_reader(index).map_err(parse)?;
    let mut reader = get_typed_column_reader::<T>(reader);
    let mut levels = Vec::new();
    let before = values.len();
    let (records, read, _) =
        reader.read_records(n, Some(&mut levels), None, values).map_err(parse)?;
    if records != n || read != n || values.len() - before != n {
        return Err(at(format!("{read} values in {n} rows")));
    }
    Ok(())
}

/// Decodes one PNG into the planes of its channels: a PNG holds the channels of a pixel side by
/// side, rows from the top.
fn decode(png: &[u8], schema: &TableSchema, out: &mut [u8]) -> Result<(), String> {
    let &TableSchema { channels, rows, cols, .. } = schema;
    let mut reader = ImageReader::with_format(std::io::Cursor::new(png), image::ImageFormat::Png);
    let mut limits = image::Limits::no_limits();
    limits.max_image_width = Some(cols as u32);
    limits.max_image_height = Some(rows as u32);
    limits.max_alloc = Some(1 << 20);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| kd_base::message::with_causes(&e))?;
    if (image.height() as usize, image.width() as usize) != (rows, cols) {
        return Err(format!(
            "an image of {}x{}, expected {rows}x{cols}",
            image.height(),
            image.width()
        ));
    }
    if channels == 1 {
        out.copy_from_slice(image.into_luma8().as_raw());
        return Ok(());
    }
    planes(&image.into_rgb8(), out);
    Ok(())
}
