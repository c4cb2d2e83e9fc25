//! The files of the binary archives: records of labels and pixels, without a header.
//!
//! A record of CIFAR-10 is a label and 3,072 pixels; of CIFAR-100 the group, the class and the
//! pixels. Pixels are the red, green and blue plane, each row-major. No number of records is
//! announced: memory grows with what was read.

use std::io::Read;
use std::path::Path;

use super::set::{Kind, PIXELS};
use crate::data::{DataError, LabelledImages};

/// The most records of one file, a bound on what an archive may unfold to; the largest real file
/// has 50,000.
pub(crate) const MAX_RECORDS: usize = 60_000;

/// Reads the records of one file; `path` is for messages, `fault` says what a failing read means.
///
/// # Errors
/// What `fault` makes of a failed read; [`DataError::Size`] where the last record is cut off;
/// [`DataError::Label`] for a label outside of the classes; [`DataError::Count`] for no record or
/// more than 60,000.
pub fn read(
    kind: Kind,
    reader: &mut dyn Read,
    path: &Path,
    fault: &dyn Fn(std::io::Error) -> DataError,
) -> Result<LabelledImages, DataError> {
    let limits: &[usize] = match kind {
        Kind::Cifar10 => &[10],
        Kind::Cifar100 => &[20, 100],
    };
    let mut set = kind.empty();
    let mut record = vec![0; limits.len() + PIXELS];
    loop {
        let row = set.len();
        let got = fill(reader, &mut record).map_err(fault)?;
        if got == 0 && row > 0 {
            return Ok(set);
        }
        if got == 0 || row == MAX_RECORDS {
            let got = if got == 0 { 0 } else { MAX_RECORDS as u64 + 1 };
            return Err(DataError::Count {
                path: path.to_path_buf(),
                what: "images",
                max: MAX_RECORDS as u64,
                got,
            });
        }
        if got < record.len() {
            let (whole, part) = ((row * record.len()) as u64, got as u64);
            let expected = whole + record.len() as u64;
            return Err(DataError::Size {
                path: path.to_path_buf(),
                what: "whole records",
                expected,
                got: whole + part,
            });
        }
        let (labels, pixels) = record.split_at(limits.len());
        if let Some((&got, &n)) =
            labels.iter().zip(limits).find(|&(&label, &n)| usize::from(label) >= n)
        {
            return Err(DataError::Label {
                path: path.to_path_buf(),
                row,
                max: (n - 1) as u8,
                got: i64::from(got),
            });
        }
        match (labels, &mut set.coarse) {
            (&[coarse, fine], Some(groups)) => {
                groups.labels.push(coarse);
                set.labels.push(fine);
            }
            (labels, _) => set.labels.extend(labels.last()),
        }
        set.images.extend_from_slice(pixels);
    }
}

/// Reads until `buffer` is full or the input ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// The set as the bytes of a binary file.
pub fn encode(set: &LabelledImages) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(set.len() * (PIXELS + 2));
    for (i, (&label, pixels)) in set.labels.iter().zip(set.images.chunks_exact(PIXELS)).enumerate()
    {
        bytes.extend(set.coarse.as_ref().map(|c| c.labels[i]));
        bytes.push(label);
        bytes.extend_from_slice(pixels);
    }
    bytes
}
