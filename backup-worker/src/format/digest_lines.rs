//! The list of digests at the speed of memory, where it is laid out as Cinder and we lay it out.
//!
//! A sha256 file has 2.3 GB for a volume of 1 TiB, and `serde_json` takes a stream byte by byte. All but the last of its
//! lines are 72 bytes of one form, so these are taken from the buffer as they stand, and `serde_json` gets what is left:
//! any other layout, and always the end of the list.

use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;

use super::sha256file::Digest;

const BEFORE: &[u8] = b"\n    \"";
const AFTER: &[u8] = b"\",";
const HEX: usize = 2 * size_of::<Digest>();
const LINE: usize = BEFORE.len() + HEX + AFTER.len();
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// An input that `serde_json` and [`DigestLines::next_lines`] read in turns. `serde_json` reads no byte ahead of what it has
/// looked at, and when a list has just begun it has looked at nothing behind the bracket.
pub(super) struct DigestLines<R>(Rc<RefCell<Window<R>>>);

impl<R> Clone for DigestLines<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A part of the input, in memory.
struct Window<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What of the buffer is not taken yet.
    rest: Range<usize>,
}

impl<R: Read> DigestLines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self(Rc::new(RefCell::new(Window {
            inner,
            buffer: vec![0; BUFFER].into(),
            rest: 0..0,
        })))
    }

    /// Hands on the digests of the lines that come next, as many as are in the buffer; none where the next line is of any
    /// other form.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(super) fn next_lines(&self, digests: &mut Vec<Digest>) -> io::Result<()> {
        let mut window = self.0.borrow_mut();
        window.fill(LINE)?;
        let rest = &window.buffer[window.rest.clone()];
        let found = rest.chunks_exact(LINE).map_while(digest_of);
        let before = digests.len();
        digests.extend(found);
        window.rest.start += (digests.len() - before) * LINE;
        Ok(())
    }
}

impl<R: Read> Window<R> {
    /// Reads on until so many bytes are there, or the input ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.rest.len() < wanted {
            self.buffer.copy_within(self.rest.clone(), 0);
            self.rest = 0..self.rest.len();
        }
        while self.rest.len() < wanted {
            match self.inner.read(&mut self.buffer[self.rest.end..]) {
                Ok(0) => break,
                Ok(got) => self.rest.end += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for DigestLines<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut window = self.0.borrow_mut();
        window.fill(1)?;
        let mut rest = &window.buffer[window.rest.clone()];
        let got = rest.read(bytes)?;
        window.rest.start += got;
        Ok(got)
    }
}

/// The digest of a line with another behind it.
fn digest_of(line: &[u8]) -> Option<Digest> {
    let hex = line.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let mut digest = Digest::default();
    hex::decode_to_slice(hex, &mut digest).ok()?;
    Some(digest)
}
