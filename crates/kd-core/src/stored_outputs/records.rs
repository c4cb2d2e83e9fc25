//! A file of tensors of one shape, by number, each of which is there or not.
//!
//! Several processes fill and read one file without a lock: a record carries a checksum, so that
//! one that is missing, half written or damaged is taken for missing, and two writers of a record
//! write the same bytes, since what is stored is a function of its number.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kd_base::atomic;

use crate::{Error, Result};

/// The first bytes of a file, with a version. Values stand in it as in memory: where numbers have
/// their bytes in the other order, so have these.
const MAGIC: [u8; 8] = u64::from_le_bytes(*b"kd-rec 2").to_ne_bytes();
/// Sides that a shape may have.
const MAX_RANK: usize = 5;
/// Magic, number of records, rank, sides.
const HEADER: usize = 8 + 4 + 4 + 4 * MAX_RANK;
/// A checksum behind each record.
const CHECK: usize = 8;

/// An open file of records.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    file: Mutex<File>,
    count: usize,
    dims: Vec<usize>,
}

impl Records {
    /// Opens the file for so many records; none where there is none.
    ///
    /// # Errors
    /// Bad input when the file is of another number of records, or no such file.
    pub fn open(path: &Path, count: usize) -> Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, e)),
        };
        let mut header = [0; HEADER];
        let fault = |what: String| {
            Err(Error::bad_input(format!("{}: {what}; delete it to make it anew", path.display())))
        };
        if (&file).read_exact(&mut header).is_err() || header[..8] != MAGIC {
            return fault("expected a file of stored teacher outputs, got another".to_owned());
        }
        let words: Vec<usize> = header[8..]
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize)
            .collect();
        let (found, rank) = (words[0], words[1]);
        if found != count || rank > MAX_RANK {
            return fault(format!("expected {count} records, got {found} of rank {rank}"));
        }
        let dims = words[2..2 + rank].to_vec();
        let product = dims.iter().try_fold(4usize, |product, &side| product.checked_mul(side));
        if product.is_none_or(|bytes| bytes > 1 << 32) {
            return fault(format!("expected records of less than 4 GiB, got shape {dims:?}"));
        }
        Ok(Some(Self { path: path.to_owned(), file: Mutex::new(file), count, dims }))
    }

    /// Opens the file, or makes one for records of this shape. It appears whole, with its header.
    ///
    /// # Errors
    /// As [`Records::open`], and bad input when it has another shape.
    pub fn open_or_make(path: &Path, count: usize, dims: &[usize]) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let there = match Self::open(path, count)? {
            Some(there) => there,
            None => {
                atomic::create_dir(path.parent().unwrap_or(Path::new(".")))?;
                // Where there are no locks another process may do the same: one of the two writes
                // to a file that nobody reads, and what it writes is computed again.
                atomic::write(path, &Self::header(count, dims)?)?;
                let made = Self::open(path, count)?;
                made.ok_or_else(|| io(io::ErrorKind::NotFound.into()))?
            }
        };
        if there.dims != dims {
            return Err(Error::bad_input(format!(
                "{}: expected records of shape {dims:?}, got {:?}; delete it to make it anew",
                path.display(),
                there.dims
            )));
        }
        // Holes take no space.
        let size = Self::size(count, dims);
        let file = there.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata().map_err(io)?.len() < size {
            file.set_len(size).map_err(io)?;
        }
        drop(file);
        Ok(there)
    }

    /// The shape of a record.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The length of a file of such records, in bytes.
    pub fn size(count: usize, dims: &[usize]) -> u64 {
        (HEADER + count * (4 * dims.iter().product::<usize>() + CHECK)) as u64
    }

    /// The values of these records, one after the other; none where one of them is missing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, numbers: &[u32]) -> Result<Option<Vec<f32>>> {
        let each = self.values();
        // Read straight to where they stay: taps of a batch are some megabytes.
        let mut values = vec![0f32; numbers.len() * each];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, &number) in numbers.iter().enumerate() {
            let payload = bytemuck::cast_slice_mut(&mut values[place * each..(place + 1) * each]);
            let mut check = [0; CHECK];
            self.seek(&mut file, number)?;
            match file.read_exact(payload).and_then(|()| file.read_exact(&mut check)) {
                Ok(()) => {}
                // Cut off.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(Error::io(&self.path, e)),
            }
            if check != checksum(number, payload) {
                return Ok(None);
            }
        }
        Ok(Some(values))
    }

    /// Writes these records, whose values are one after the other.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, numbers: &[u32], values: &[f32]) -> Result<()> {
        let each = self.values();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, &number) in numbers.iter().enumerate() {
            let payload = bytemuck::cast_slice(&values[place * each..(place + 1) * each]);
            let check = checksum(number, payload);
            self.seek(&mut file, number)?;
            // The checksum last: until it is there, the record is missing.
            let written = file.write_all(payload).and_then(|()| file.write_all(&check));
            written.map_err(|e| Error::io(&self.path, e))?;
        }
        Ok(())
    }

    /// The values of a record.
    fn values(&self) -> usize {
        self.dims.iter().product()
    }

    /// The bytes of a record.
    fn record(&self) -> usize {
        4 * self.values() + CHECK
    }

    fn seek(&self, file: &mut File, number: u32) -> Result<()> {
        if number as usize >= self.count {
            return Err(Error::bad_input(format!(
                "{}: expected a number below {}, got {number}",
                self.path.display(),
                self.count
            )));
        }
        let place = (HEADER + number as usize * self.record()) as u64;
        file.seek(SeekFrom::Start(place)).map(|_| ()).map_err(|e| Error::io(&self.path, e))
    }

    fn header(count: usize, dims: &[usize]) -> Result<Vec<u8>> {
        let word = |value: usize| {
            u32::try_from(value)
                .map_err(|_| Error::bad_input(format!("stored outputs: {value} is too large")))
        };
        if dims.len() > MAX_RANK {
            let got = dims.len();
            return Err(Error::bad_input(format!(
                "stored outputs: rank {got} is above {MAX_RANK}"
            )));
        }
        let mut header = MAGIC.to_vec();
        for value in [count, dims.len()].iter().chain(dims) {
            header.extend(word(*value)?.to_le_bytes());
        }
        header.resize(HEADER, 0);
        Ok(header)
    }
}

/// What stands behind a record: its CRC-32, and its number counted from 1, so that neither a hole
/// nor a record from another place is taken for this one.
fn checksum(number: u32, payload: &[u8]) -> [u8; CHECK] {
    let word = ((u64::from(number) + 1) << 32) | u64::from(crc32fast::hash(payload));
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(dir: &Path) -> Result<Records> {
        Records::open_or_make(&dir.join("a/values"), 10, &[2, 3])
    }

    /// The values of one record.
    fn values(number: u32) -> Vec<f32> {
        (0..6).map(|i| i as f32 - 0.1 * number as f32).collect()
    }

    #[test]
    fn records_come_back_bit_for_bit_and_missing_ones_are_missing() -> Result<()> {
        let dir = tempfile::tempdir().expect("a folder");
        let records = made(dir.path())?;
        assert_eq!((records.read(&[3])?, records.dims()), (None, &[2, 3][..]));
        records.write(&[9, 3], &[values(9), values(3)].concat())?;
        // A record of zeros is one that is there.
        records.write(&[0], &[-0., 0., 0., f32::NAN, 0., f32::MIN_POSITIVE / 4.])?;
        let again = made(dir.path())?;
        assert_eq!(again.read(&[3, 9])?, Some([values(3), values(9)].concat()));
        assert_eq!(again.read(&[3, 4])?, None);
        let bits = |values: Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(
            again.read(&[0])?.map(bits),
            Some(bits(vec![-0., 0., 0., f32::NAN, 0., f32::MIN_POSITIVE / 4.]))
        );
        Ok(())
    }

    #[test]
    fn a_record_that_was_damaged_or_stands_in_another_place_is_missing() -> Result<()> {
        let dir = tempfile::tempdir().expect("a folder");
        let records = made(dir.path())?;
        records.write(&[1, 2], &[values(1), values(2)].concat())?;
        let path = dir.path().join("a/values");
        let sound = std::fs::read(&path).expect("the file");
        let size = 6 * 4 + CHECK;
        for byte in HEADER + size..HEADER + 2 * size {
            let mut bytes = sound.clone();
            bytes[byte] ^= 4;
            std::fs::write(&path, bytes).expect("written");
            assert_eq!(made(dir.path())?.read(&[1])?, None, "byte {byte}");
            assert!(made(dir.path())?.read(&[2])?.is_some());
        }
        let mut moved = sound.clone();
        moved.copy_within(HEADER + size..HEADER + 2 * size, HEADER + 5 * size);
        std::fs::write(&path, &moved).expect("written");
        assert_eq!(made(dir.path())?.read(&[5])?, None);
        std::fs::write(&path, &sound[..HEADER + 2 * size + 7]).expect("written");
        assert!(made(dir.path())?.read(&[1])?.is_some() && made(dir.path())?.read(&[2])?.is_none());
        Ok(())
    }

    #[test]
    fn files_of_something_else_are_refused_with_their_path() -> Result<()> {
        let dir = tempfile::tempdir().expect("a folder");
        made(dir.path())?;
        let path = dir.path().join("a/values");
        let said = |outcome: Result<()>| outcome.expect_err("refused").to_string();
        let text = said(Records::open(&path, 11).map(drop));
        assert!(
            text.contains("values: expected 11 records, got 10 of rank 2; delete it"),
            "{text}"
        );
        let text = said(Records::open_or_make(&path, 10, &[6]).map(drop));
        assert!(text.contains("expected records of shape [6], got [2, 3]; delete it"), "{text}");
        let sound = std::fs::read(&path).expect("the file");
        let mut huge = sound.clone();
        huge[16..24].fill(255);
        for bad in [&b"PK"[..], &sound[..HEADER - 1], &[0; 200], &huge] {
            std::fs::write(&path, bad).expect("written");
            let text = said(Records::open(&path, 10).map(drop));
            assert!(text.contains("delete it to make it anew"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_number_beyond_the_end_is_bad_input() -> Result<()> {
        let dir = tempfile::tempdir().expect("a folder");
        let error = made(dir.path())?.read(&[10]).expect_err("refused");
        assert!(error.to_string().contains("expected a number below 10, got 10"));
        Ok(())
    }
}
