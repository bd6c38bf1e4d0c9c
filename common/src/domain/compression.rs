//! Names of compression algorithms, as they stand in configuration and in metadata files.

use serde::{Deserialize, Serialize};

/// How a data object is compressed. The spelling is the one recorded in the metadata file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Plain bytes.
    None,
    /// LZ4 frame; our default. Cinder refuses such a backup, loudly.
    Lz4,
    /// One Zstandard frame with its content size.
    Zstd,
    /// One zlib stream (RFC 1950).
    Zlib,
    /// One bzip2 stream.
    Bz2,
}

/// The name is no algorithm we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compression algorithm; known are lz4, zstd, zlib, bz2 and none")]
pub struct UnknownCompression(pub String);

impl Compression {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::None, Self::Lz4, Self::Zstd, Self::Zlib, Self::Bz2];

    /// The name that is recorded in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Zlib => "zlib",
            Self::Bz2 => "bz2",
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Compression {
    type Err = UnknownCompression;

    /// Reads a recorded or configured name: any letter case, with Cinder's aliases
    /// (`cinder/backup/chunkeddriver.py`, `_get_compressor`). `gzip` means a zlib stream there too.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_ascii_lowercase().as_str() {
            "none" | "off" | "no" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            "zlib" | "gzip" => Ok(Self::Zlib),
            "bz2" | "bzip2" => Ok(Self::Bz2),
            _ => Err(UnknownCompression(name.to_owned())),
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cinders_aliases_are_read_in_any_case() {
        assert_eq!("ZLIB".parse(), Ok(Compression::Zlib));
        assert_eq!("gzip".parse(), Ok(Compression::Zlib));
        assert_eq!("Off".parse(), Ok(Compression::None));
        assert_eq!("bzip2".parse(), Ok(Compression::Bz2));
        assert!("rar".parse::<Compression>().is_err());
    }
}
