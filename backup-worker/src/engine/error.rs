//! What the engine can fail with.

use std::io;

use common::domain::BackupId;

use super::Stop;
use crate::format::FormatError;
use crate::store::StoreError;
use crate::volume::VolumeError;

/// How many bad extents a [`Damage`] names; more are only counted.
const NAMED_MAX: usize = 100;
/// How many of them its message spells out.
const SPELLED_MAX: usize = 3;

/// What the engine can fail with.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The job asked to stop.
    #[error("{0}")]
    Stopped(Stop),
    /// The volume failed.
    #[error("the volume failed")]
    Volume(#[from] VolumeError),
    /// The backup target failed.
    #[error("the backup target failed")]
    Store(#[from] StoreError),
    /// A closing file of a backup cannot be used, or a segment of the one being made.
    #[error("`{object}` of backup {backup_id} cannot be used")]
    File {
        /// Whose it is.
        backup_id: BackupId,
        /// Its name.
        object: String,
        /// Why not.
        source: FormatError,
    },
    /// Stored bytes are not what was stored.
    #[error("{0}")]
    Damaged(Damage),
    /// The backups named do not make a chain.
    #[error("backup {backup_id} cannot be read as part of this chain: {why}")]
    Chain {
        /// The backup that does not fit.
        backup_id: BackupId,
        /// What does not fit.
        why: String,
    },
    /// An incremental cannot be made on this parent.
    #[error("no incremental backup can be made on backup {parent_id}: {why}")]
    Parent {
        /// The parent.
        parent_id: BackupId,
        /// Why not.
        why: String,
    },
    /// The sheet asks for what cannot be.
    #[error("the job's sheet cannot be followed: {why}")]
    Sheet {
        /// What is wrong with it.
        why: String,
    },
    /// The volume is smaller than what is to be written to it.
    #[error(
        "the target volume has {target_bytes} bytes, and the backup's data needs {needed_bytes}"
    )]
    TargetTooSmall {
        /// What the backup needs.
        needed_bytes: u64,
        /// What there is.
        target_bytes: u64,
    },
    /// The segments do not cover the volume: the attempt's data is not whole.
    #[error("the segments of this attempt do not make a whole backup: {why}")]
    Gap {
        /// What is missing.
        why: String,
    },
    /// A block is not as the parent has it, although it was told to be.
    #[error(
        "the block at volume offset {offset} counted as unchanged since backup {parent_id}, and is not as that has it"
    )]
    Untrue {
        /// The parent.
        parent_id: BackupId,
        /// Where the block is, from the volume's start.
        offset: u64,
    },
    /// A codec could not be set up.
    #[error("set up a codec")]
    Codec {
        /// Why not.
        source: io::Error,
    },
    /// The system gave no memory.
    #[error("get memory for a buffer")]
    Memory {
        /// Why not.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("start an engine thread")]
    Thread {
        /// Why not.
        source: io::Error,
    },
}

impl EngineError {
    /// Whether trying later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stopped(stop) => match stop {
                Stop::Cancelled | Stop::Fenced => false,
                Stop::Draining => true,
            },
            Self::Volume(source) => source.is_transient(),
            Self::Store(source) => source.is_transient(),
            Self::File { source, .. } => source.is_transient(),
            Self::Codec { .. } | Self::Memory { .. } | Self::Thread { .. } => true,
            Self::Damaged(_)
            | Self::Chain { .. }
            | Self::Parent { .. }
            | Self::Sheet { .. }
            | Self::TargetTooSmall { .. }
            | Self::Gap { .. }
            | Self::Untrue { .. } => false,
        }
    }

    /// Whether something was not found on the backup target, or may not have been.
    pub(super) fn tells_of_absence(&self) -> bool {
        match self {
            Self::Gap { .. } | Self::Damaged(_) => true,
            Self::Store(source)
            | Self::File {
                source: FormatError::Store { source, .. },
                ..
            } => source.tells_of_absence(),
            _ => false,
        }
    }

    /// The whole story in one sentence, for the owner: this error and all its sources.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            sentence.push_str(": ");
            sentence.push_str(&error.to_string());
            source = error.source();
        }
        sentence
    }
}

impl From<Stop> for EngineError {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// A run of volume bytes that cannot be had from the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExtent {
    /// The backup whose object is damaged.
    pub backup_id: BackupId,
    /// The object.
    pub object: String,
    /// Where the bytes belong, from the volume's start.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// What was found.
    pub why: String,
}

impl std::fmt::Display for BadExtent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "backup {}, object `{}`, volume offset {}, length {}: {}",
            self.backup_id, self.object, self.offset, self.length, self.why
        )
    }
}

/// All bad extents that were found: the first hundred by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// The first of them.
    pub extents: Vec<BadExtent>,
    /// How many there are in all.
    pub total: u64,
}

impl Damage {
    /// Adds one; one that goes on where the last one of the same object ended makes that longer.
    pub(super) fn add(&mut self, extent: BadExtent) {
        if let Some(last) = self.extents.last_mut()
            && last.object == extent.object
            && last.why == extent.why
            && last.offset + last.length == extent.offset
        {
            last.length += extent.length;
            return;
        }
        self.total += 1;
        if self.extents.len() < NAMED_MAX {
            self.extents.push(extent);
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} damaged extent(s) in the backup", self.total)?;
        for (index, extent) in self.extents.iter().take(SPELLED_MAX).enumerate() {
            write!(f, "{}{extent}", if index == 0 { ": " } else { "; " })?;
        }
        if self.total > SPELLED_MAX as u64 {
            write!(f, "; and {} more", self.total - SPELLED_MAX as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(object: &str, offset: u64) -> BadExtent {
        BadExtent {
            backup_id: "2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1".parse().unwrap(),
            object: object.to_owned(),
            offset,
            length: 512,
            why: "it is cut".to_owned(),
        }
    }

    #[test]
    fn neighbours_of_one_object_are_one_bad_extent_and_many_are_only_counted() {
        let mut damage = Damage::default();
        damage.add(bad("a", 0));
        damage.add(bad("a", 512));
        assert_eq!((damage.total, damage.extents[0].length), (1, 1024));
        for number in 1..300 {
            damage.add(bad("a", number * 4096));
        }
        assert_eq!((damage.total, damage.extents.len()), (300, NAMED_MAX));
        let text = damage.to_string();
        assert!(
            text.contains("object `a`, volume offset 0, length 1024"),
            "{text}"
        );
        assert!(text.ends_with("and 297 more"), "{text}");
    }

    #[test]
    fn a_sentence_tells_the_sources_too() {
        let error = EngineError::Volume(VolumeError::SourceChanged { doing: "read" });
        assert_eq!(
            error.sentence(),
            "the volume failed: source changed while being read"
        );
    }
}
