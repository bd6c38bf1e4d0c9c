//! From an extent to stored bytes.

use std::fmt;
use std::io::{self, Write};

use common::domain::Compression;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

// Cinder's levels, so that a mixed chain takes the same room whoever wrote it.
pub(super) const ZSTD_LEVEL: i32 = 3;
pub(super) const ZLIB_LEVEL: u32 = 6;
pub(super) const BZ2_LEVEL: u32 = 9;
// Blocks beyond 256 KiB make decoding several times slower; an extent of one block needs no more
// than 64 KiB.
pub(super) const LZ4_SMALL_BLOCK: usize = 64 << 10;
pub(super) const LZ4_BLOCK: usize = 256 << 10;

/// An extent as it will be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// What to record for it: the wanted algorithm, or `None` where that would not have helped.
    pub compression: Compression,
    /// The bytes of the object.
    pub bytes: &'a [u8],
}

/// Compresses extents one after another. It keeps its contexts and its output buffer, so a thread
/// makes one and uses it for all its objects; it holds at most one extent's bytes.
#[derive(Default)]
pub struct Encoder {
    output: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    zlib: Option<flate2::Compress>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("output_capacity", &self.output.capacity())
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder without any context yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses `plain`, unless the outcome would not be strictly smaller: then it is `plain`
    /// itself. The same bytes always come out for the same bytes and algorithm, whatever was
    /// encoded before.
    ///
    /// # Errors
    /// When a context cannot be made.
    pub fn encode<'a>(
        &'a mut self,
        compression: Compression,
        plain: &'a [u8],
    ) -> io::Result<Encoded<'a>> {
        // Room for one byte less than the extent: an algorithm that runs out of it did not help,
        // and stops there.
        let room = plain.len().saturating_sub(1);
        self.output.clear();
        self.output.reserve(room);
        let smaller = match compression {
            Compression::None => false,
            Compression::Lz4 => self.lz4(plain, room)?,
            Compression::Zstd => self.zstd(plain, room)?,
            Compression::Zlib => self.zlib(plain, room)?,
            Compression::Bz2 => self.bz2(plain, room),
        };
        Ok(if smaller {
            Encoded {
                compression,
                bytes: &self.output,
            }
        } else {
            Encoded {
                compression: Compression::None,
                bytes: plain,
            }
        })
    }

    fn lz4(&mut self, plain: &[u8], room: usize) -> io::Result<bool> {
        let block = if plain.len() <= LZ4_SMALL_BLOCK {
            BlockSize::Max64KB
        } else {
            BlockSize::Max256KB
        };
        let frame = FrameInfo::new()
            .block_size(block)
            .block_mode(BlockMode::Independent)
            .content_size(Some(plain.len() as u64));
        let output = Bounded {
            bytes: &mut self.output,
            room,
            full: false,
        };
        let mut encoder = FrameEncoder::with_frame_info(frame, output);
        let outcome = encoder
            .write_all(plain)
            .and_then(|()| encoder.try_finish().map_err(io::Error::from));
        match outcome {
            Ok(()) => Ok(true),
            Err(_) if encoder.get_ref().full => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn zstd(&mut self, plain: &[u8], room: usize) -> io::Result<bool> {
        let context = match &mut self.zstd {
            Some(context) => context,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        self.output.resize(room, 0);
        // The one-shot call writes one frame with its content size. Its only failure with a sound
        // context is an output that is too small.
        let written = context.compress_to_buffer(plain, &mut self.output[..]);
        let smaller = written.is_ok();
        self.output.truncate(written.unwrap_or(0));
        Ok(smaller)
    }

    fn zlib(&mut self, plain: &[u8], room: usize) -> io::Result<bool> {
        let context = self.zlib.get_or_insert_with(|| {
            flate2::Compress::new(flate2::Compression::new(ZLIB_LEVEL), true)
        });
        context.reset();
        self.output.resize(room, 0);
        let status = context
            .compress(plain, &mut self.output, flate2::FlushCompress::Finish)
            .map_err(io::Error::other)?;
        let written = usize::try_from(context.total_out()).map_err(io::Error::other)?;
        self.output.truncate(written);
        Ok(status == flate2::Status::StreamEnd)
    }

    /// The bzip2 library cannot start a context over, so each object has its own.
    fn bz2(&mut self, plain: &[u8], room: usize) -> bool {
        let mut context = bzip2::Compress::new(bzip2::Compression::new(BZ2_LEVEL), 0);
        self.output.resize(room, 0);
        let mut read = 0;
        let mut written = 0;
        loop {
            let before = (context.total_in(), context.total_out());
            let status = context.compress(
                &plain[read..],
                &mut self.output[written..],
                bzip2::Action::Finish,
            );
            read += usize::try_from(context.total_in() - before.0).expect("within the input");
            written += usize::try_from(context.total_out() - before.1).expect("within the output");
            match status {
                Ok(bzip2::Status::StreamEnd) => {
                    self.output.truncate(written);
                    return true;
                }
                Ok(_) if written < room => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

/// A buffer that takes so much and no more.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
    full: bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.room {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
