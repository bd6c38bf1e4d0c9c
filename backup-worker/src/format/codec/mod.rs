//! Data objects: the bytes of one extent, plain or compressed.
//!
//! An object is one extent and nothing else. [`Encoder`] turns an extent into stored bytes, with
//! contexts that one thread keeps; [`decode`] streams it back, bounded by the extent's length.

mod decoder;
mod encoder;
mod lz4;
mod probe;
mod stream;

pub use decoder::{DecodeError, Decoder, Length, Trailing, decode};
pub use encoder::{Encoded, Encoder};

/// Names the code that makes compressed bytes.
///
/// Other versions or levels may give other bytes for the same extent, all of them right. A
/// continued backup keeps to one fingerprint, so that two executions write the same objects.
#[must_use]
pub fn fingerprint() -> String {
    format!(
        "{LZ4}, blocks of {}/{} KiB, each by itself; {ZSTD} level {}; {ZLIB} level {}; {BZ2} level {}; noise plain; {}",
        lz4::SMALL_BLOCK / 1024,
        lz4::BLOCK / 1024,
        encoder::ZSTD_LEVEL,
        encoder::ZLIB_LEVEL,
        encoder::BZ2_LEVEL,
        std::env::consts::ARCH,
    )
}

// The lock file's versions; a test compares them.
const LZ4: &str = "lz4_flex 0.14.0";
const ZSTD: &str = "zstd-sys 2.1.3+zstd.1.5.7";
const ZLIB: &str = "libdeflate-sys 1.26.1";
const BZ2: &str = "libbz2-rs-sys 0.2.6";
