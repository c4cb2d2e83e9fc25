//! Bounds on the pages of a Parquet column, checked before the `parquet` crate decodes them.
//!
//! A page header states how large the page is once decompressed and how many values its dictionary holds, and the decoder allocates that
//! much before it looks at the data: a forged header asks for gigabytes. This walks the headers (Thrift's compact protocol) and refuses a
//! column whose headers claim more than its limit.

/// The most that one column chunk may unfold to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
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

/// Checks all page headers in `chunk`, the bytes of one column chunk.
///
/// # Errors
/// One line that says which page breaks which limit, or that the headers cannot be read.
pub(crate) fn check(chunk: &[u8], limits: Limits) -> Result<(), String> {
    let mut rest = chunk;
    let mut values = 0i64;
    let mut page = 0usize;
    while !rest.is_empty() {
        let mut thrift = Thrift { bytes: rest };
        let header = PageHeader::read(&mut thrift).ok_or_else(|| format!("no page header where page {page} should begin"))?;
        let size = usize::try_from(header.compressed).ok().filter(|&size| size <= thrift.bytes.len());
        let size = size.ok_or_else(|| format!("page {page} of {} bytes where {} are left", header.compressed, thrift.bytes.len()))?;
        let too_much = |what, limit, got| Err(format!("page {page} with {got} {what}, more than {limit}"));
        if !(0..=limits.page_bytes).contains(&header.uncompressed) {
            return too_much("bytes", limits.page_bytes, header.uncompressed);
        }
        if !(0..=limits.dictionary).contains(&header.dictionary) {
            return too_much("dictionary entries", limits.dictionary, header.dictionary);
        }
        if header.values < 0 || values.saturating_add(header.values) > limits.values {
            return too_much("values", limits.values, header.values);
        }
        values += header.values;
        rest = &thrift.bytes[size..];
        page += 1;
    }
    Ok(())
}

#[derive(Default)]
struct PageHeader {
    uncompressed: i64,
    compressed: i64,
    dictionary: i64,
    values: i64,
}

impl PageHeader {
    fn read(thrift: &mut Thrift<'_>) -> Option<Self> {
        let mut header = Self { compressed: -1, ..Self::default() };
        let mut id = 0;
        while let Some(kind) = thrift.field(&mut id)? {
            match id {
                UNCOMPRESSED => header.uncompressed = thrift.integer(kind)?,
                COMPRESSED => header.compressed = thrift.integer(kind)?,
                DICTIONARY_HEADER => header.dictionary = thrift.first_integer(kind)?,
                DATA_HEADER | DATA_HEADER_V2 => header.values = thrift.first_integer(kind)?,
                _ => thrift.skip(kind, 0)?,
            }
        }
        Some(header)
    }
}

/// A reader of Thrift's compact protocol; `None` where the bytes are not it.
struct Thrift<'a> {
    bytes: &'a [u8],
}

const STRUCT: u8 = 12;

impl Thrift<'_> {
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

    /// Of a struct its field `num_values`, which is the first of all three page headers.
    fn first_integer(&mut self, kind: u8) -> Option<i64> {
        if kind != STRUCT {
            return None;
        }
        let mut id = 0;
        // -1 where it is missing, which no limit admits.
        let mut value = -1;
        while let Some(kind) = self.field(&mut id)? {
            if id == NUM_VALUES {
                value = self.integer(kind)?;
            } else {
                self.skip(kind, 0)?;
            }
        }
        Some(value)
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
                // Each element is at least one byte, so this ends with the bytes. A boolean in a list is a byte.
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
