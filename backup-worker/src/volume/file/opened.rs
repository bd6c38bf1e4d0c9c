//! An open file as a frozen volume, and as the target of a restore.

use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;

use common::domain::{BackupId, VolumeId};
use jiff::Timestamp;
use rustix::fs::{Advice, FlockOperation, OFlags};
use rustix::io::Errno;

use super::super::{DirectFile, Extent, FrozenVolume, TargetVolume, Unchanged, VolumeError};
use super::place::Place;
use super::stamp::Stamp;
use super::{data, kept};

/// A snapshot file, or an unattached volume that is read in place.
#[derive(Debug)]
pub(super) struct FrozenFile {
    file: File,
    place: Place,
    size_bytes: u64,
    identity: String,
    frozen_at: Option<Timestamp>,
    /// For a volume that is read in place: what it looked like when it was opened.
    in_place: Option<Stamp>,
    /// The volume, where a snapshot may be kept of its last backup.
    compared_with: Option<VolumeId>,
}

impl FrozenFile {
    /// Opens a published snapshot; `None` when there is none.
    pub(super) fn snapshot(
        place: Place,
        compared_with: Option<VolumeId>,
    ) -> Result<Option<Self>, VolumeError> {
        let Some(file) = place.open(OFlags::RDONLY)? else {
            return Ok(None);
        };
        let stamp = Stamp::of(&file).map_err(|errno| place.io("look at", errno.into()))?;
        Ok(Some(Self {
            file,
            place,
            size_bytes: stamp.size_bytes,
            identity: stamp.file_identity(),
            frozen_at: stamp.modified_at(),
            in_place: None,
            compared_with,
        }))
    }

    /// Opens a volume that nobody is expected to write, and will notice if somebody does.
    pub(super) fn in_place(place: Place) -> Result<Self, VolumeError> {
        let file = place.open_existing(OFlags::RDONLY)?;
        let stamp = Stamp::of(&file).map_err(|errno| place.io("look at", errno.into()))?;
        Ok(Self {
            file,
            place,
            size_bytes: stamp.size_bytes,
            identity: stamp.content_identity(),
            frozen_at: None,
            in_place: Some(stamp),
            compared_with: None,
        })
    }
}

impl FrozenVolume for FrozenFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn frozen_at(&self) -> Option<Timestamp> {
        self.frozen_at
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        common::faults::io("volume.io")
            .and_then(|()| self.file.read_exact_at(buffer, offset))
            .map_err(|source| VolumeError::Unreadable {
                volume: self.place.shown().to_owned(),
                offset,
                length: buffer.len() as u64,
                source,
            })
    }

    fn next_data(&self, offset: u64) -> Result<Option<Extent>, VolumeError> {
        data::next_data(&self.file, offset, self.size_bytes)
            .map_err(|error| self.place.io("look for data in", error))
    }

    fn will_read(&self, extent: Extent) {
        advise(&self.file, extent, Advice::WillNeed);
    }

    fn was_read(&self, extent: Extent) {
        advise(&self.file, extent, Advice::DontNeed);
    }

    fn check_unchanged(&self) -> Result<(), VolumeError> {
        let Some(opened) = &self.in_place else {
            return Ok(());
        };
        let now = Stamp::of(&self.file).map_err(|errno| self.place.io("look at", errno.into()))?;
        if now == *opened {
            Ok(())
        } else {
            Err(VolumeError::SourceChanged { doing: "read" })
        }
    }

    fn unchanged_since(&self, parent: BackupId) -> Option<Box<dyn Unchanged>> {
        let volume = self.compared_with?;
        match kept::shared_with(&self.place, &self.file, volume, parent) {
            Ok(shared) => shared.map(|shared| Box::new(shared) as Box<dyn Unchanged>),
            Err(error) => {
                let error = common::telemetry::error_chain(&error);
                tracing::warn!(error, "the kept snapshot is of no use; all data is read");
                None
            }
        }
    }
}

/// A file system that takes no hints is as good.
fn advise(file: &File, extent: Extent, advice: Advice) {
    let _ = rustix::fs::fadvise(file, extent.offset, NonZero::new(extent.length), advice);
}

/// A volume that a restore writes. The lock lives as long as the open file.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: DirectFile,
    place: Place,
    size_bytes: u64,
}

impl LockedFile {
    pub(super) fn open(place: Place) -> Result<Self, VolumeError> {
        let file = place.open_existing(OFlags::RDWR)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(_) if common::faults::planted("restore_without_lock") => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(VolumeError::Held {
                    volume: place.shown().to_owned(),
                });
            }
            Err(errno) => return Err(place.io("lock", errno.into())),
        }
        let size_bytes = Stamp::of(&file)
            .map_err(|errno| place.io("look at", errno.into()))?
            .size_bytes;
        Ok(Self {
            file: DirectFile::new(file),
            place,
            size_bytes,
        })
    }
}

impl TargetVolume for LockedFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError> {
        common::failpoint!("volume.write");
        common::faults::io("volume.io")
            .and_then(|()| self.file.write_all_at(data, offset))
            .map_err(|error| self.place.io("write", error))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        self.file
            .file()
            .read_exact_at(buffer, offset)
            .map_err(|error| self.place.io("read", error))
    }

    fn sync(&self) -> Result<(), VolumeError> {
        common::faults::io("volume.io")
            .and_then(|()| self.file.file().sync_data())
            .map_err(|error| self.place.io("make durable", error))?;
        let all = Extent {
            offset: 0,
            length: self.size_bytes,
        };
        advise(self.file.file(), all, Advice::DontNeed); // what is durable need not crowd the host's memory
        Ok(())
    }
}
