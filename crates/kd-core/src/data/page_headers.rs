//! Bounds on the pages of a Parquet column, checked before the `parquet` crate decodes them.
//!
//! A page header states how large the page is once decompressed and how many values its dictionary
//! holds, and the decoder allocates that much before it looks at the data: a forged header asks for
//! gigabytes. This walks the headers (Thrift's compact protocol) and refuses a column whose headers
//! claim more than its limit, or an encoding whose decoder trusts a length in the data in the same
//! way.

use std::io::{Read, Seek, SeekFrom};

/// The most that one column chunk may unfold to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a page after decompression.
    pub page_bytes: i64,
    /// Entries of a dictionary.
    pub dictionary: i64,
    /// Values of all data pages together.
    pub values: i64,
}

// Field numbers of `PageHeader` and of the headers within it, from parquet.thrift.
const UNCOMPRESSED: i16 = 2;
const COMPRESSED: i16 = 3;
const DATA_HEADER: i16 = 5;
const DICTIONARY_HEADER: i16 = 7;
const DATA_HEADER_V2: i16 = 8;
const NUM_VALUES: i16 = 1;
/// The field `encoding` of a dictionary header, a data header and a data header of version 2.
const ENCODING: [i16; 3] = [2, 2, 4];
/// Plain, and two numbers for dictionary indices.
const ENCODINGS: [i64; 3] = [0, 2, 8];

/// Checks all page headers in `chunk`, the bytes of one column chunk.
///
/// # Errors
/// One line that says which page breaks which limit, or that the headers cannot be read.
pub fn check(chunk: &[u8], limits: Limits) -> Result<(), String> {
    let mut walk = Walk::new(limits);
    let mut rest = chunk;
    while !rest.is_empty() {
        let size = walk.next(rest, rest.len() as u64)?.ok_or_else(|| walk.no_header())?;
        // The walk has made sure that the page is within `rest`.
        rest = rest.get(size as usize..).unwrap_or_default();
    }
    Ok(())
}

/// Checks the column chunk of `size` bytes that begins at byte `start` of `file`, as [`check`]
/// does, without reading the pages themselves. Moves the file's cursor.
///
/// # Errors
/// As [`check`]; and what the system says where the file cannot be read.
pub fn check_file(
    file: &mut (impl Read + Seek),
    start: u64,
    size: u64,
    limits: Limits,
) -> Result<(), String> {
    let mut walk = Walk::new(limits);
    let mut window = Vec::new();
    let mut done = 0;
    while done < size {
        let left = size - done;
        // A header has some 30 bytes, and more where it carries statistics of long strings.
        let mut room = FIRST_WINDOW.min(left);
        done += loop {
            window.clear();
            file.seek(SeekFrom::Start(start.saturating_add(done))).map_err(|e| e.to_string())?;
            file.take(room).read_to_end(&mut window).map_err(|e| e.to_string())?;
            match walk.next(&window, left)? {
                Some(size) => break size,
                None if room < LAST_WINDOW.min(left) && window.len() as u64 == room => {
                    room = (8 * room).min(left)
                }
                None => return Err(walk.no_header()),
            }
        };
    }
    Ok(())
}

/// How much of a page is read to see its header.
const FIRST_WINDOW: u64 = 1 << 12;
/// The most that is read.
const LAST_WINDOW: u64 = 1 << 20;

/// A walk from page to page, with what was counted on the way.
struct Walk {
    limits: Limits,
    values: i64,
    page: usize,
}

impl Walk {
    fn new(limits: Limits) -> Self {
        Self { limits, values: 0, page: 0 }
    }

    fn no_header(&self) -> String {
        format!("no page header where page {} should begin", self.page)
    }

    /// The size of the page that begins with `window`, header included, where `left` bytes are left
    /// of the chunk; `None` where `window` does not begin with a whole header.
    fn next(&mut self, window: &[u8], left: u64) -> Result<Option<u64>, String> {
        let (limits, page) = (self.limits, self.page);
        let mut reader = ThriftReader { bytes: window };
        let Some(header) = PageHeader::read(&mut reader) else { return Ok(None) };
        let read = (window.len() - reader.bytes.len()) as u64;
        let left = left.saturating_sub(read);
        let size = u64::try_from(header.compressed).ok().filter(|&size| size <= left);
        let size = size.ok_or_else(|| {
            format!("page {page} of {} bytes where {left} are left", header.compressed)
        })?;
        let too_much =
            |what, limit, got| Err(format!("page {page} with {got} {what}, more than {limit}"));
        if !(0..=limits.page_bytes).contains(&header.uncompressed) {
            return too_much("bytes", limits.page_bytes, header.uncompressed);
        }
        if !(0..=limits.dictionary).contains(&header.dictionary) {
            return too_much("dictionary entries", limits.dictionary, header.dictionary);
        }
        if header.values < 0 || self.values.saturating_add(header.values) > limits.values {
            return too_much("values", limits.values, header.values);
        }
        if !ENCODINGS.contains(&header.encoding) {
            return Err(format!(
                "page {page} in encoding {}, expected plain or dictionary",
                header.encoding
            ));
        }
        self.values += header.values;
        self.page += 1;
        Ok(Some(read + size))
    }
}

#[derive(Default)]
struct PageHeader {
    uncompressed: i64,
    compressed: i64,
    dictionary: i64,
    values: i64,
    encoding: i64,
}

impl PageHeader {
    fn read(reader: &mut ThriftReader<'_>) -> Option<Self> {
        let mut header = Self { compressed: -1, ..Self::default() };
        let mut id = 0;
        while let Some(kind) = reader.field(&mut id)? {
            match id {
                UNCOMPRESSED => header.uncompressed = reader.integer(kind)?,
                COMPRESSED => header.compressed = reader.integer(kind)?,
                DICTIONARY_HEADER => {
                    (header.dictionary, header.encoding) =
                        reader.values_and_encoding(kind, ENCODING[0])?
                }
                DATA_HEADER => {
                    (header.values, header.encoding) =
                        reader.values_and_encoding(kind, ENCODING[1])?
                }
                DATA_HEADER_V2 => {
                    (header.values, header.encoding) =
                        reader.values_and_encoding(kind, ENCODING[2])?
                }
                _ => reader.skip(kind, 0)?,
            }
        }
        Some(header)
    }
}

/// A reader of Thrift's compact protocol; `None` where the bytes are not it.
struct ThriftReader<'a> {
    bytes: &'a [u8],
}

const STRUCT: u8 = 12;

impl ThriftReader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn take(&mut self, n: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(n).ok()?..)?;
        Some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let n = self.unsigned()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// The type of the next field, its number in `id`; `Some(None)` at the end of the struct.
    fn field(&mut self, id: &mut i16) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => i16::try_from(self.signed()?).ok()?,
            delta => id.checked_add(i16::from(delta))?,
        };
        Some(Some(byte & 0x0F))
    }

    fn integer(&mut self, kind: u8) -> Option<i64> {
        matches!(kind, 4..=6).then(|| self.signed())?
    }

    /// Of a page header's inner struct the fields `num_values` and `encoding`; -1 where one is
    /// missing, which no check admits.
    fn values_and_encoding(&mut self, kind: u8, encoding_field: i16) -> Option<(i64, i64)> {
        if kind != STRUCT {
            return None;
        }
        let (mut id, mut values, mut encoding) = (0, -1, -1);
        while let Some(kind) = self.field(&mut id)? {
            if id == NUM_VALUES {
                values = self.integer(kind)?;
            } else if id == encoding_field {
                encoding = self.integer(kind)?;
            } else {
                self.skip(kind, 0)?;
            }
        }
        Some((values, encoding))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        // Page headers nest three deep; the bound keeps forged nesting off the stack.
        if depth > 8 {
            return None;
        }
        match kind {
            1 | 2 => Some(()),
            3 => self.take(1),
            4..=6 => self.unsigned().map(drop),
            7 => self.take(8),
            8 => {
                let n = self.unsigned()?;
                self.take(n)
            }
            9 | 10 => {
                let head = self.byte()?;
                let n = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
                // Each element is at least one byte, so this ends with the bytes. A boolean in a
                // list is a byte.
                let element = if matches!(head & 0x0F, 1 | 2) { 3 } else { head & 0x0F };
                (0..n).try_for_each(|_| self.skip(element, depth + 1))
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { page_bytes: 1000, dictionary: 10, values: 20 };

    /// A page header with a data header, and a body of zeros.
    fn page(uncompressed: i64, compressed: usize, values: i64, encoding: i64) -> Vec<u8> {
        let mut bytes = vec![0x15, 0];
        for (field, n) in [(0x15, uncompressed), (0x15, compressed as i64)] {
            bytes.push(field);
            varint(&mut bytes, n);
        }
        bytes.extend([0x2C, 0x15]);
        varint(&mut bytes, values);
        bytes.push(0x15);
        varint(&mut bytes, encoding);
        bytes.extend([0, 0]);
        bytes.resize(bytes.len() + compressed, 0);
        bytes
    }

    fn varint(bytes: &mut Vec<u8>, n: i64) {
        let mut n = ((n << 1) ^ (n >> 63)) as u64;
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
    }

    #[test]
    fn pages_within_the_limits_pass() {
        assert_eq!(check(&[page(1000, 7, 12, 0), page(3, 3, 8, 8)].concat(), LIMITS), Ok(()));
    }

    #[test]
    fn a_page_that_unfolds_too_far_is_refused() {
        assert_eq!(
            check(&page(1001, 7, 12, 0), LIMITS),
            Err("page 0 with 1001 bytes, more than 1000".to_string())
        );
        assert!(check(&page(-1, 7, 12, 0), LIMITS).is_err());
    }

    #[test]
    fn values_are_counted_over_all_pages() {
        let error = check(&[page(9, 7, 12, 0), page(9, 7, 9, 0)].concat(), LIMITS);
        assert_eq!(error, Err("page 1 with 9 values, more than 20".to_string()));
    }

    #[test]
    fn a_dictionary_larger_than_the_limit_is_refused() {
        // Type, sizes 9 and 0, then field 7: a dictionary header of 11 plain values.
        let header = [0x15, 4, 0x15, 18, 0x15, 0, 0x4C, 0x15, 22, 0x15, 0, 0, 0];
        assert_eq!(
            check(&header, LIMITS),
            Err("page 0 with 11 dictionary entries, more than 10".to_string())
        );
    }

    #[test]
    fn an_encoding_that_trusts_its_data_is_refused() {
        assert_eq!(
            check(&page(9, 7, 12, 6), LIMITS),
            Err("page 0 in encoding 6, expected plain or dictionary".to_string())
        );
    }

    #[test]
    fn a_page_longer_than_its_column_is_refused() {
        let mut bytes = page(9, 7, 12, 0);
        bytes.pop();
        assert_eq!(check(&bytes, LIMITS), Err("page 0 of 7 bytes where 6 are left".to_string()));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = check(&bytes, LIMITS);
        }
    }
}
