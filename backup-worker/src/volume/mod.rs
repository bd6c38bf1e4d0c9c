//! Volumes behind a seam.
//!
//! A driver freezes a volume, reads the frozen view, and opens a volume for a restore. Jobs and
//! engine know only the traits here; each driver is a file. Calls block.
//!
//! Two kinds of snapshot: a *temporary* one is a backup's, which removes it, or keeps it for the next one to be compared
//! with; the other is its owner's, and goes only when its owner says so.
//!
//! **Invariants.** A driver never leaves its root and follows no symbolic link. Only names that
//! begin `bk-` are ever removed by clean-up. A restore target is locked from before its first
//! write until it is closed.

mod direct;
mod file;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt::Debug;
use std::io;

use common::domain::BackupId;
use common::messages::sheet::{SnapshotRef, VolumeRef};
use jiff::Timestamp;

pub(crate) use direct::DirectFile;
pub use file::FileVolumes;

/// What a volume driver can fail with.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The volume's data is not there.
    #[error("volume `{volume}` does not exist on its backend")]
    NoSuchVolume {
        /// Its source.
        volume: String,
    },
    /// The snapshot's data is not there.
    #[error("snapshot `{snapshot}` does not exist on its backend")]
    NoSuchSnapshot {
        /// Its name.
        snapshot: String,
    },
    /// The data changed while it was read or copied.
    #[error("source changed while being {doing}")]
    SourceChanged {
        /// `read` or `copied`.
        doing: &'static str,
    },
    /// Another process holds the target's lock.
    #[error("volume `{volume}` is locked by another writer")]
    Held {
        /// Its source.
        volume: String,
    },
    /// The name or what it leads to is not allowed.
    #[error("volume `{volume}` is refused: {why}")]
    Refused {
        /// Its source.
        volume: String,
        /// The rule.
        why: String,
    },
    /// The backend itself cannot be reached: its root is not there, not mounted, not ours to open.
    #[error("reach the volume backend")]
    BackendAway(#[source] io::Error),
    /// Some of its bytes cannot be read.
    #[error("read {length} bytes at {offset} of volume `{volume}`")]
    Unreadable {
        /// The volume's or snapshot's source.
        volume: String,
        /// From where, in bytes from its start.
        offset: u64,
        /// How many bytes were wanted; the bad ones are among them.
        length: u64,
        /// Why not.
        source: io::Error,
    },
    /// The system refused.
    #[error("{verb} volume `{volume}`")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which volume or snapshot.
        volume: String,
        /// Why not.
        source: io::Error,
    },
}

impl VolumeError {
    /// Whether trying later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSuchVolume { .. }
            | Self::NoSuchSnapshot { .. }
            | Self::Refused { .. }
            | Self::SourceChanged { .. } => false,
            Self::Held { .. } | Self::BackendAway(_) => true,
            Self::Unreadable { source, .. } | Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
            ),
        }
    }
}

/// A place for volumes. Implementations are cheap to share between threads.
pub trait VolumeDriver: Debug + Send + Sync {
    /// Makes a volume of its full size that reads as zeros. One that is there already with that size is success.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&self, volume: &VolumeRef) -> Result<(), VolumeError>;

    /// Makes a volume that begins with the bytes of a snapshot and reads as zeros behind them. One that
    /// is there already is success: it is made under a name of this `generation` and published
    /// without replacing, so that a stale execution never writes into it.
    ///
    /// # Errors
    /// [`VolumeError::NoSuchSnapshot`], or when it cannot be made.
    fn create_from(
        &self,
        volume: &VolumeRef,
        snapshot: &SnapshotRef,
        generation: u64,
    ) -> Result<(), VolumeError>;

    /// Looks at existing data that is to become a volume, and tells its bytes.
    ///
    /// # Errors
    /// When it is not there or is nothing a volume can be.
    fn inspect(&self, volume: &VolumeRef) -> Result<u64, VolumeError>;

    /// Removes a volume, and what any generation left of making it. Gone already is success.
    ///
    /// # Errors
    /// When the system refuses.
    fn delete(&self, volume: &VolumeRef) -> Result<(), VolumeError>;

    /// Freezes the volume under the name `snapshot`, or adopts the one that is already there, and opens the
    /// frozen view. The snapshot is made under a name of this `generation` first and published without
    /// replacing, so that of two executions both get the same one.
    ///
    /// A driver that cannot snapshot reads an unattached volume in place (`in_use` false) and copies an attached one.
    ///
    /// # Errors
    /// [`VolumeError::SourceChanged`] when a copy never came out steady.
    fn freeze(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        generation: u64,
        in_use: bool,
    ) -> Result<Box<dyn FrozenVolume>, VolumeError>;

    /// Opens again what an earlier execution froze under the name `snapshot`: the snapshot, or the volume that was
    /// read in place. `None` when what is there is not of that `identity`, or nothing is. Nothing is made.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn reopen(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        identity: &str,
    ) -> Result<Option<Box<dyn FrozenVolume>>, VolumeError>;

    /// Puts away the temporary snapshot `snapshot` of a backup that is whole, with what any generation left of it. It is
    /// removed, or kept for the next backup of the volume to be compared with, if the driver does that and can; what was
    /// kept of earlier backups of the volume goes. Put away already is success.
    ///
    /// # Errors
    /// [`VolumeError::Refused`] for a name that does not begin `bk-`.
    fn retire_snapshot(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        backup: &BackedUp<'_>,
    ) -> Result<(), VolumeError>;

    /// Removes the temporary snapshot `snapshot` and what any generation left of it. Gone already is success.
    /// What is kept of other backups stays.
    ///
    /// # Errors
    /// [`VolumeError::Refused`] for a name that does not begin `bk-`.
    fn remove_snapshot(&self, volume: &VolumeRef, snapshot: &str) -> Result<(), VolumeError>;

    /// Makes an owner's snapshot of its volume: always a thing of its own, never the volume read in place.
    /// One that is there already is success; what smaller generations left of making it goes.
    ///
    /// # Errors
    /// [`VolumeError::SourceChanged`] when a copy never came out steady.
    fn create_snapshot(&self, snapshot: &SnapshotRef, generation: u64) -> Result<(), VolumeError>;

    /// Opens an owner's snapshot.
    ///
    /// # Errors
    /// [`VolumeError::NoSuchSnapshot`].
    fn open_snapshot(&self, snapshot: &SnapshotRef) -> Result<Box<dyn FrozenVolume>, VolumeError>;

    /// Removes an owner's snapshot and what any generation left of making it. Gone already is success.
    ///
    /// # Errors
    /// When the system refuses.
    fn delete_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), VolumeError>;

    /// Whether a restore to an existing volume is to write only what differs.
    fn restores_differing(&self) -> bool;

    /// Opens a volume for a restore and takes its exclusive lock, which is kept until the writer is dropped.
    ///
    /// # Errors
    /// [`VolumeError::Held`] when another process has the lock.
    fn open_target(&self, volume: &VolumeRef) -> Result<Box<dyn TargetVolume>, VolumeError>;
}

/// A whole backup, as its snapshot is put away.
#[derive(Debug, Clone, Copy)]
pub struct BackedUp<'a> {
    /// Which.
    pub backup_id: BackupId,
    /// The identity of the frozen view that all of it was read from, if it is known.
    pub identity: Option<&'a str>,
}

/// A run of bytes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the volume's start.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl Extent {
    /// The first byte after it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset + self.length
    }
}

/// A volume that does not change any more.
pub trait FrozenVolume: Debug + Send + Sync {
    /// Bytes in all.
    fn size_bytes(&self) -> u64;

    /// What tells this frozen view from any other, as text.
    fn identity(&self) -> &str;

    /// When it was frozen, by the backend's clock: who adopts what an earlier execution froze cannot know it
    /// otherwise. `None` for a volume that is read in place.
    fn frozen_at(&self) -> Option<Timestamp>;

    /// Fills `buffer` from `offset`; the range lies inside the volume.
    ///
    /// # Errors
    /// When the system refuses or the data ends early.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError>;

    /// The first run of data at or after `offset`, and `None` when only holes follow. A driver that cannot
    /// tell answers with all that follows.
    ///
    /// # Errors
    /// When the system refuses.
    fn next_data(&self, offset: u64) -> Result<Option<Extent>, VolumeError>;

    /// Says that these bytes, which are data, will be read soon. A hint.
    fn will_read(&self, extent: Extent);

    /// Says that these bytes were read and will not be read again, so that they need not stay in the host's memory in
    /// place of what others use. A hint.
    fn was_read(&self, extent: Extent);

    /// For a volume that is read in place: fails if it changed since it was opened. Called at each seal
    /// and before commit; a real snapshot has nothing to check.
    ///
    /// # Errors
    /// [`VolumeError::SourceChanged`].
    fn check_unchanged(&self) -> Result<(), VolumeError>;

    /// What can tell, without reading, which bytes are those that the backup `parent` was made of; `None` when
    /// nothing can.
    fn unchanged_since(&self, parent: BackupId) -> Option<Box<dyn Unchanged>>;
}

/// Tells which bytes of a frozen volume are as an earlier backup of it has them.
pub trait Unchanged: Debug + Send + Sync {
    /// Puts into `ranges` the runs of `extent` that are the same for certain: in order, none touching another. What
    /// cannot be told is not the same.
    fn unchanged_in(&self, extent: Extent, ranges: &mut Vec<Extent>);
}

/// A volume that a restore writes, locked.
pub trait TargetVolume: Debug + Send + Sync {
    /// Bytes in all.
    fn size_bytes(&self) -> u64;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// When the system refuses.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError>;

    /// Reads what is there now, to compare.
    ///
    /// # Errors
    /// When the system refuses.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the system refuses.
    fn sync(&self) -> Result<(), VolumeError>;
}
