//! Sizes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes in a GiB, the unit in which volumes are sold.
pub const GIB: u64 = 1 << 30;

/// A number of bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// That many GiB.
    #[must_use]
    pub fn from_gib(size_gib: u32) -> Self {
        Self(u64::from(size_gib) * GIB)
    }

    /// The whole GiB needed to hold this many bytes, at least one: how Cinder sizes a volume that
    /// is taken over.
    #[must_use]
    pub fn gib_rounded_up(self) -> u32 {
        u32::try_from(self.0.div_ceil(GIB).max(1)).unwrap_or(u32::MAX)
    }
}

impl std::fmt::Display for ByteCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        bytesize::ByteSize(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_more_than_a_gib_needs_two() {
        assert_eq!(ByteCount(GIB).gib_rounded_up(), 1);
        assert_eq!(ByteCount(GIB + 1).gib_rounded_up(), 2);
        assert_eq!(ByteCount(0).gib_rounded_up(), 1);
    }
}
