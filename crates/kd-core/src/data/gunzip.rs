//! Gzip as the gzip program reads it: streams one after the other, and zeros behind the last, as
//! tapes and some servers pad files with.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// Unfolds the gzip streams of a reader. What follows the last one must be zeros.
pub struct Gunzip<R> {
    /// The stream that is being read; none behind the last.
    stream: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Gunzip<R> {
    /// A reader of what `reader` has folded.
    pub fn new(reader: R) -> Self {
        Self { stream: Some(GzDecoder::new(BufReader::with_capacity(1 << 16, reader))) }
    }

    /// The next stream, once one has ended; whether there is one.
    fn next(&mut self) -> io::Result<bool> {
        let Some(stream) = self.stream.take() else { return Ok(false) };
        let mut rest = stream.into_inner();
        let bytes = rest.fill_buf()?;
        // A short read may end between the two bytes of the signature; then the header is at fault.
        if bytes.first() == Some(&0x1f) {
            self.stream = Some(GzDecoder::new(rest));
            return Ok(true);
        }
        loop {
            let bytes = rest.fill_buf()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            if bytes.iter().any(|&b| b != 0) {
                let what = "bytes behind the gzip stream that are neither zeros nor another stream";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            let n = bytes.len();
            rest.consume(n);
        }
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(stream) = &mut self.stream else { return Ok(0) };
            match stream.read(buffer)? {
                0 if !self.next()? => return Ok(0),
                0 => {}
                n => return Ok(n),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("a write");
        encoder.finish().expect("a stream")
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Gunzip::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn streams_follow_each_other_and_zeros_may_follow_them() -> io::Result<()> {
        let (a, b) = (gzip(b"abc"), gzip(b"def"));
        assert_eq!(read(&a)?, b"abc");
        assert_eq!(read(&[&a[..], &b].concat())?, b"abcdef");
        assert_eq!(read(&[&a[..], &[0; 100_000]].concat())?, b"abc");
        assert_eq!(read(&gzip(&[7; 300_000]))?, [7; 300_000]);
        let e = read(&[&a[..], &[0, 0, 1]].concat()).expect_err("other bytes");
        assert!(e.to_string().contains("behind the gzip stream"), "{e}");
        assert!(read(&a[..a.len() - 1]).is_err(), "cut");
        assert!(read(&[&a[..], &[0x1f]].concat()).is_err(), "a cut second stream");
        Ok(())
    }
}
