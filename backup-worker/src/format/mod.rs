//! The stored format: Cinder's chunked backups, version `1.0.0`, and what is ours on top.
//!
//! ```text
//! container
//! ├── <prefix>-00001 …            one extent of the volume each      [codec]
//! ├── <prefix>_sha256file         a SHA-256 for every block          [sha256file]
//! ├── <prefix>_metadata           the table of objects; its being there makes the backup whole  [metadata]
//! └── .emberkeep-<backup>-a<n>/   scratch of attempt n while it runs
//!     ├── <part>                  bytes on their way to become an object
//!     └── segment-<n>-g<gen>      checkpoint of one sealed batch     [segment]
//! ```
//!
//! `docs/format.md` tells the same to a stranger with nothing but the files. Both JSON files are
//! read and written as streams: memory does not grow with the volume.
//!
//! **Invariants.** What we write, Cinder reads (unless the algorithm is `lz4`, which it refuses).
//! What Cinder reads, we read, and check more of it. A decoder never gives more bytes than the
//! caller asked for, whatever the stored bytes say.

use std::io;

use crate::store::StoreError;

pub mod codec;
mod digest_lines;
mod json;
pub mod metadata;
pub mod segment;
pub mod sha256file;
#[cfg(test)]
mod tests;
mod time;

pub use time::{parse_python_time, python_time};

/// The only version of the format, in both JSON files.
pub const VERSION: &str = "1.0.0";

/// What reading or writing one of the format's files can fail with.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes are no JSON, or not of the expected shape.
    #[error("{file} cannot be understood")]
    Json {
        /// Which file: `metadata file`, `sha256 file`.
        file: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Understood, but not allowed.
    #[error("{file} is refused: {why}")]
    Refused {
        /// Which file.
        file: &'static str,
        /// The rule it breaks.
        why: String,
    },
    /// Reading or writing the bytes failed.
    #[error("read or write of the {file}")]
    Io {
        /// Which file.
        file: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The target failed.
    #[error("{file} on the backup target")]
    Store {
        /// Which file.
        file: &'static str,
        /// Why not.
        source: StoreError,
    },
}

impl FormatError {
    /// Whether trying later may help. Damage stays; an absent target may come back.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Json { .. } | Self::Refused { .. } => false,
            Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
            ),
            Self::Store { source, .. } => source.is_transient(),
        }
    }
}
