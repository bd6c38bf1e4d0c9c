//! From stored bytes back to an extent, as a stream.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use common::domain::Compression;
use lz4_flex::frame::FrameDecoder;

use super::stream::Stream;

/// How many bytes an object must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many, as its metadata records.
    Exactly(u64),
    /// Its metadata does not say; not more than this.
    AtMost(u64),
}

impl Length {
    fn bound(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// What to do about stored bytes after the end of the compressed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailing {
    /// The object is ours: one stream and not a byte more.
    Refused,
    /// The object is Cinder's: as its decompressors have it. Further bzip2 streams and zstd frames
    /// belong to the data, junk after a zlib or bzip2 stream is ignored.
    AsCinder,
}

/// What is wrong with an object's stored bytes. Travels inside an [`io::Error`] of kind
/// `InvalidData`, which tells it from a target that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It gives more bytes than it should.
    #[error("it holds more than {bytes} bytes")]
    Longer {
        /// As many as it should give.
        bytes: u64,
    },
    /// It ends too early.
    #[error("it ends after {got} of {bytes} bytes")]
    Shorter {
        /// As many as it gave.
        got: u64,
        /// As many as it should give.
        bytes: u64,
    },
    /// The compressed stream was cut.
    #[error("its {compression} stream is cut")]
    Cut {
        /// The algorithm.
        compression: Compression,
    },
    /// More bytes are stored after the end of the compressed stream.
    #[error("bytes follow the end of its {compression} stream")]
    Trailing {
        /// The algorithm.
        compression: Compression,
    },
    /// The compressed stream is damaged.
    #[error("its {compression} stream is damaged: {why}")]
    Damaged {
        /// The algorithm.
        compression: Compression,
        /// The library's words.
        why: String,
    },
}

impl DecodeError {
    /// The damage behind an error of [`Decoder`]; `None` when the target could not be read.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Streams an object's extent out of its stored bytes.
///
/// It gives at most `length` bytes, and the last of them only after the end was checked: who has
/// read `Exactly(n)` bytes need not look for an end of file. Its own memory is bounded too
/// (Zstandard: by the frame's window, at most 128 MiB, and never more than was decoded).
///
/// # Errors
/// When a decompression context cannot be made.
pub fn decode<R: Read>(
    compression: Compression,
    input: R,
    length: Length,
    trailing: Trailing,
) -> io::Result<Decoder<R>> {
    let input = Input {
        inner: BufReader::with_capacity(INPUT_BUFFER, input),
        ended: false,
        failed: false,
    };
    let source = match compression {
        Compression::None => Source::Plain(input),
        Compression::Lz4 => Source::Lz4(Box::new(FrameDecoder::new(input))),
        Compression::Zstd => Source::Stream(input, Stream::zstd()?),
        Compression::Zlib => Source::Stream(input, Stream::zlib()),
        Compression::Bz2 => Source::Stream(input, Stream::bz2()),
    };
    Ok(Decoder {
        compression,
        source,
        length,
        strict: trailing == Trailing::Refused,
        state: State::Open {
            first: true,
            gave: false,
        },
        given: 0,
        checked: false,
    })
}

const INPUT_BUFFER: usize = 64 << 10;
/// See [`decode`].
pub struct Decoder<R: Read> {
    compression: Compression,
    source: Source<R>,
    length: Length,
    strict: bool,
    state: State,
    given: u64,
    /// The end was reached and is right.
    checked: bool,
}

/// Where a compressed object is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a stream that is not at its end.
    Open {
        /// No stream came before it.
        first: bool,
        /// It gave bytes already.
        gave: bool,
    },
    /// After a whole stream, with nothing of a next one read.
    Between,
    /// After the last stream.
    Over,
}

enum Source<R: Read> {
    Plain(Input<R>),
    Lz4(Box<FrameDecoder<Input<R>>>),
    Stream(Input<R>, Stream),
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression)
            .field("length", &self.length)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.bound() - self.given;
        if self.checked || (buffer.is_empty() && left > 0) {
            return Ok(0);
        }
        let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let got = self.pull(&mut buffer[..want])?;
        self.given += got as u64;
        if self.given == self.length.bound() {
            if self.pull(&mut [0])? != 0 {
                let bytes = self.given;
                return Err(DecodeError::Longer { bytes }.into());
            }
            self.checked = true;
        } else if got == 0 {
            if let Length::Exactly(bytes) = self.length {
                let got = self.given;
                return Err(DecodeError::Shorter { got, bytes }.into());
            }
            self.checked = true;
        }
        Ok(got)
    }
}

impl<R: Read> Decoder<R> {
    /// Decoded bytes, 0 only for an empty buffer or at the end of the last stream. What the codec
    /// finds becomes a [`DecodeError`]; errors of the input pass as they are.
    fn pull(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let compression = self.compression;
        if buffer.is_empty() || self.state == State::Over {
            return Ok(0);
        }
        match &mut self.source {
            Source::Plain(input) => input.read(buffer),
            Source::Lz4(frame) => {
                let got = pull_lz4(frame, buffer)?;
                if got == 0 {
                    self.state = State::Over;
                }
                Ok(got)
            }
            Source::Stream(input, stream) => loop {
                let data = input.fill_buf()?;
                if self.state == State::Between {
                    if !data.is_empty() && self.strict {
                        return Err(DecodeError::Trailing { compression }.into());
                    }
                    if data.is_empty() || !stream.restart()? {
                        self.state = State::Over;
                        return Ok(0);
                    }
                    self.state = State::Open {
                        first: false,
                        gave: false,
                    };
                }
                let cut = data.is_empty();
                let step = match stream.step(data, buffer) {
                    Ok(step) => step,
                    Err(_) if self.is_junk() => {
                        self.state = State::Over;
                        return Ok(0);
                    }
                    Err(why) => return Err(DecodeError::Damaged { compression, why }.into()),
                };
                input.consume(step.consumed);
                if step.ended {
                    self.state = State::Between;
                } else if step.produced > 0
                    && let State::Open { gave, .. } = &mut self.state
                {
                    *gave = true;
                }
                if step.produced > 0 {
                    return Ok(step.produced);
                }
                if cut && !step.ended {
                    return Err(DecodeError::Cut { compression }.into());
                }
            },
        }
    }

    /// Whether what was taken for a further stream is junk that Cinder's decompressor ignores:
    /// Python's `bz2` does, its Zstandard does not.
    fn is_junk(&self) -> bool {
        let further = State::Open {
            first: false,
            gave: false,
        };
        self.compression == Compression::Bz2 && self.state == further
    }
}

/// One frame, and nothing after it: nobody but us writes LZ4.
fn pull_lz4<R: Read>(frame: &mut FrameDecoder<Input<R>>, buffer: &mut [u8]) -> io::Result<usize> {
    let compression = Compression::Lz4;
    match frame.read(buffer) {
        Ok(0) if frame.get_ref().ended => {
            // The library takes a missing end mark for an end.
            Err(DecodeError::Cut { compression }.into())
        }
        Ok(0) if !frame.get_mut().fill_buf()?.is_empty() => {
            Err(DecodeError::Trailing { compression }.into())
        }
        Err(error) if !frame.get_ref().failed => {
            Err(if error.kind() == io::ErrorKind::UnexpectedEof {
                DecodeError::Cut { compression }.into()
            } else {
                let why = error.to_string();
                DecodeError::Damaged { compression, why }.into()
            })
        }
        other => other,
    }
}

/// The stored bytes. Remembers how reading them went, because a library hands on the errors of its
/// input and its own alike.
struct Input<R> {
    inner: BufReader<R>,
    ended: bool,
    failed: bool,
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = true;
                return Err(error);
            }
        }
        let data = self.inner.buffer();
        self.ended |= data.is_empty();
        Ok(data)
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.inner.read(buffer);
        match &outcome {
            Ok(0) => self.ended |= !buffer.is_empty(),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => self.failed = true,
            Ok(_) | Err(_) => {}
        }
        outcome
    }
}
