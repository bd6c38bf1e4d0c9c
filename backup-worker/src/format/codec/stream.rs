//! The decompressors that work from buffer to buffer, made alike.

use std::io;

use zstd::stream::raw::{DParameter, Operation};

/// What Cinder's decompressor allows: frames made with `--long=27`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A decompressor in the middle of its work.
pub(super) enum Stream {
    Zstd(zstd::stream::raw::Decoder<'static>),
    Zlib(flate2::Decompress),
    Bz2(bzip2::Decompress),
}

/// What one call of a decompressor did.
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    /// The stream is whole: its end and its own check sum are read.
    pub(super) ended: bool,
}

impl Stream {
    pub(super) fn zstd() -> io::Result<Self> {
        let mut context = zstd::stream::raw::Decoder::new()?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self::Zstd(context))
    }

    pub(super) fn zlib() -> Self {
        Self::Zlib(flate2::Decompress::new(true))
    }

    pub(super) fn bz2() -> Self {
        Self::Bz2(bzip2::Decompress::new(false))
    }

    /// Begins a further stream behind the one that ended. False for zlib: as in Python, what
    /// follows its only stream is not looked at.
    pub(super) fn restart(&mut self) -> io::Result<bool> {
        match self {
            Self::Zstd(context) => context.reinit()?,
            Self::Bz2(context) => *context = bzip2::Decompress::new(false),
            Self::Zlib(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Goes on with `input` as far as `output` has room.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        match self {
            Self::Zstd(context) => {
                let status = context
                    .run_on_buffers(input, output)
                    .map_err(|error| error.to_string())?;
                Ok(Step {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    ended: status.remaining == 0,
                })
            }
            Self::Zlib(context) => {
                let before = (context.total_in(), context.total_out());
                let status = context
                    .decompress(input, output, flate2::FlushDecompress::None)
                    .map_err(|error| error.to_string())?;
                Ok(Step {
                    consumed: moved(before.0, context.total_in()),
                    produced: moved(before.1, context.total_out()),
                    ended: status == flate2::Status::StreamEnd,
                })
            }
            Self::Bz2(context) => {
                let before = (context.total_in(), context.total_out());
                let status = context
                    .decompress(input, output)
                    .map_err(|error| error.to_string())?;
                if status == bzip2::Status::MemNeeded {
                    return Err("out of memory".to_owned());
                }
                Ok(Step {
                    consumed: moved(before.0, context.total_in()),
                    produced: moved(before.1, context.total_out()),
                    ended: status == bzip2::Status::StreamEnd,
                })
            }
        }
    }
}

fn moved(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("one call moves no more than its buffers hold")
}
