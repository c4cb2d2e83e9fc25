//! Images in a Parquet table as the Hugging Face hub converts them: columns `image.bytes` (a PNG for each row) and `label`.

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

use super::page_headers::{self, Limits};
use super::{DataError, LabelledImages};

/// The largest file accepted; MNIST's larger one has 14.6 MB, CIFAR-100's 119 MB.
const MAX_FILE: u64 = 1 << 28;
const MAX_ROWS: i64 = 1_000_000;
/// The largest page accepted after decompression; MNIST's have 0.3 MB.
const MAX_PAGE: i64 = 1 << 26;

/// Names of the two columns, as dotted paths.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The PNG bytes, such as `image.bytes`.
    pub image: &'static str,
    /// The class, such as `label`.
    pub label: &'static str,
}

/// Reads a table of grey `rows × cols` images of `classes` classes, in the order of the file. Images are decoded in parallel; the result
/// does not depend on the number of threads.
///
/// # Errors
/// [`DataError::Table`] for a file that is corrupt, holds other columns, nulls, or images of another size; [`DataError::Label`] for a
/// label outside of the classes; [`DataError::Count`] for too many rows or none; [`DataError::Io`].
pub fn read_grey(path: &Path, columns: Columns, rows: usize, cols: usize, classes: usize) -> Result<LabelledImages, DataError> {
    let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
    // The parquet crate still panics on some malformed files (a dictionary page that is missing, an unknown level encoding), and a corrupt
    // download must not end the program with a backtrace. Nothing that the closure could leave half done survives it.
    let (images, labels) = catch_unwind(AssertUnwindSafe(|| read_columns(path, columns)))
        .unwrap_or_else(|_| Err(table("pages that cannot be decoded".to_string())))?;
    let mut pixels = vec![0; images.len() * rows * cols];
    pixels
        .par_chunks_exact_mut(rows * cols)
        .zip(&images)
        .enumerate()
        .try_for_each(|(row, (out, png))| decode_grey(png.data(), rows, cols, out).map_err(|e| table(format!("row {row}: {e}"))))?;
    let mut bytes = Vec::with_capacity(labels.len());
    for (row, &label) in labels.iter().enumerate() {
        match u8::try_from(label).ok().filter(|&l| usize::from(l) < classes) {
            Some(l) => bytes.push(l),
            None => return Err(DataError::Label { path: path.to_path_buf(), row, max: (classes - 1) as u8, got: label }),
        }
    }
    Ok(LabelledImages { images: pixels, labels: bytes, rows, cols, classes })
}

fn read_columns(path: &Path, columns: Columns) -> Result<(Vec<ByteArray>, Vec<i64>), DataError> {
    let io = |source| DataError::Io { path: path.to_path_buf(), source };
    let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
    let parse = |e: parquet::errors::ParquetError| table(super::error::one_line(&e));

    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MAX_FILE {
        return Err(table(format!("a file of {size} bytes, more than {MAX_FILE}")));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    // Statistics in page headers are not used, and reading them would allocate what they claim.
    let properties = ReaderProperties::builder().set_read_page_statistics(false).set_read_bloom_filter(false).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let file = File::open(path).map_err(io)?;
    let reader = SerializedFileReader::new_with_options(file, options).map_err(parse)?;

    let total = reader.metadata().file_metadata().num_rows();
    if !(1..=MAX_ROWS).contains(&total) {
        let got = u64::try_from(total).unwrap_or(0);
        return Err(DataError::Count { path: path.to_path_buf(), what: "rows", max: MAX_ROWS as u64, got });
    }
    let mut images = Vec::new();
    let mut labels = Vec::new();
    for i in 0..reader.num_row_groups() {
        let group = reader.get_row_group(i).map_err(parse)?;
        let n = group.metadata().num_rows();
        let left = total as usize - labels.len();
        let n = usize::try_from(n)
            .ok()
            .filter(|&n| n <= left)
            .ok_or_else(|| table(format!("a row group of {n} rows where {left} are left")))?;
        read_column::<ByteArrayType>(group.as_ref(), &bytes, columns.image, n, &mut images).map_err(table)?;
        read_column::<Int64Type>(group.as_ref(), &bytes, columns.label, n, &mut labels).map_err(table)?;
    }
    if labels.len() as i64 != total {
        return Err(table(format!("{} rows in its groups where its header says {total}", labels.len())));
    }
    Ok((images, labels))
}

/// Appends the `n` values of one column of a row group; an error if one is null.
fn read_column<T: DataType>(group: &dyn RowGroupReader, file: &[u8], name: &str, n: usize, values: &mut Vec<T::T>) -> Result<(), String> {
    let at = |reason: String| format!("column {name}: {reason}");
    let parse = |e: parquet::errors::ParquetError| at(super::error::one_line(&e));
    let column = group.metadata().columns().iter().enumerate().find(|(_, c)| c.column_path().string() == name);
    let (index, meta) = column.ok_or_else(|| format!("no column {name}"))?;
    if meta.column_type() != T::get_physical_type() || meta.column_descr().max_rep_level() != 0 {
        return Err(at(format!("type {} where one {} for each row was expected", meta.column_type(), T::get_physical_type())));
    }
    // The other codecs unfold without a bound.
    if !matches!(meta.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW) {
        return Err(at(format!("compression {}, expected none, SNAPPY, ZSTD or LZ4_RAW", meta.compression())));
    }
    let start = meta.dictionary_page_offset().unwrap_or_else(|| meta.data_page_offset());
    let chunk = usize::try_from(start)
        .ok()
        .zip(usize::try_from(meta.compressed_size()).ok())
        .and_then(|(start, size)| file.get(start..start.checked_add(size)?))
        .ok_or_else(|| at("pages outside of the file".to_string()))?;
    page_headers::check(chunk, Limits { page_bytes: MAX_PAGE, dictionary: n as i64, values: n as i64 }).map_err(at)?;

    let reader: ColumnReader = group.get_column_reader(index).map_err(parse)?;
    let mut reader = get_typed_column_reader::<T>(reader);
    let mut levels = Vec::new();
    let before = values.len();
    let (records, read, _) = reader.read_records(n, Some(&mut levels), None, values).map_err(parse)?;
    if records != n || read != n || values.len() - before != n {
        return Err(at(format!("{read} values in {n} rows")));
    }
    Ok(())
}

fn decode_grey(png: &[u8], rows: usize, cols: usize, out: &mut [u8]) -> Result<(), String> {
    let mut reader = ImageReader::with_format(std::io::Cursor::new(png), image::ImageFormat::Png);
    let mut limits = image::Limits::no_limits();
    limits.max_image_width = Some(cols as u32);
    limits.max_image_height = Some(rows as u32);
    limits.max_alloc = Some(1 << 20);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| super::error::one_line(&e))?.into_luma8();
    if (image.height() as usize, image.width() as usize) != (rows, cols) {
        return Err(format!("an image of {}x{}, expected {rows}x{cols}", image.height(), image.width()));
    }
    out.copy_from_slice(image.as_raw());
    Ok(())
}
