//! From an extent to stored bytes.

use std::fmt;
use std::io;

use common::domain::Compression;

use super::lz4::{self, Lz4};
use super::probe::is_like_noise;

// Cinder's levels, so that a mixed chain takes the same room whoever wrote it.
pub(super) const ZSTD_LEVEL: i32 = 3;
pub(super) const ZLIB_LEVEL: i32 = 6;
pub(super) const BZ2_LEVEL: u32 = 9;

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
    /// As long as the longest extent so far needed: it is not cleared, as clearing costs as much as a copy.
    output: Vec<u8>,
    lz4: Lz4,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    zlib: Option<libdeflater::Compressor>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("output_bytes", &self.output.len())
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
    /// Before zlib and bzip2, which take ten to a hundred times as long as LZ4 to find out, data that
    /// looks like noise and that LZ4 does not shrink is taken for data that does not shrink.
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
        if self.output.len() < room + lz4::SLACK {
            self.output.resize(room + lz4::SLACK, 0);
        }
        let written = match compression {
            Compression::None => None,
            Compression::Lz4 => self.lz4.compress(plain, &mut self.output, room),
            Compression::Zstd => zstd(&mut self.zstd, plain, &mut self.output[..room])?,
            Compression::Zlib | Compression::Bz2
                if is_like_noise(plain)
                    && self.lz4.compress(plain, &mut self.output, room).is_none() =>
            {
                None
            }
            Compression::Zlib => zlib(&mut self.zlib, plain, &mut self.output[..room])?,
            Compression::Bz2 => bz2(plain, &mut self.output[..room]),
        };
        Ok(match written {
            Some(written) => Encoded {
                compression,
                bytes: &self.output[..written],
            },
            None => Encoded {
                compression: Compression::None,
                bytes: plain,
            },
        })
    }
}

// Each of these writes to the start of `output` and tells how much, or `None` if it needs more room.

fn zstd(
    context: &mut Option<zstd::bulk::Compressor<'static>>,
    plain: &[u8],
    output: &mut [u8],
) -> io::Result<Option<usize>> {
    let context = match context {
        Some(context) => context,
        none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
    };
    // The one-shot call writes one frame with its content size. Its only failure with a sound
    // context is an output that is too small.
    Ok(context.compress_to_buffer(plain, output).ok())
}

fn zlib(
    context: &mut Option<libdeflater::Compressor>,
    plain: &[u8],
    output: &mut [u8],
) -> io::Result<Option<usize>> {
    let context = match context {
        Some(context) => context,
        none => {
            let level = libdeflater::CompressionLvl::new(ZLIB_LEVEL)
                .map_err(|error| io::Error::other(format!("{error:?}")))?;
            none.insert(libdeflater::Compressor::new(level))
        }
    };
    match context.zlib_compress(plain, output) {
        Ok(written) => Ok(Some(written)),
        Err(libdeflater::CompressionError::InsufficientSpace) => Ok(None),
    }
}

/// The bzip2 library cannot start a context over, so each object has its own.
fn bz2(plain: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut context = bzip2::Compress::new(bzip2::Compression::new(BZ2_LEVEL), 0);
    let mut read = 0;
    let mut written = 0;
    loop {
        let before = (context.total_in(), context.total_out());
        let status = context.compress(
            &plain[read..],
            &mut output[written..],
            bzip2::Action::Finish,
        );
        read += usize::try_from(context.total_in() - before.0).expect("within the input");
        written += usize::try_from(context.total_out() - before.1).expect("within the output");
        match status {
            Ok(bzip2::Status::StreamEnd) => return Some(written),
            Ok(_) if written < output.len() => {}
            Ok(_) | Err(_) => return None,
        }
    }
}
