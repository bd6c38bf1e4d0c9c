//! Volumes as raw files in a directory.
//!
//! * [`place`]: finding a file without leaving the root
//! * [`snapshot`]: freezing by reflink, by a steady copy, or not at all
//! * [`opened`]: the frozen view and the locked target
//! * [`kept`], [`shared`], [`blocks`]: the snapshot that is kept of the last backup, and what was not written since
//! * [`data`], [`stamp`]: holes, and what tells one file from another
//!
//! A snapshot lies in the directory of its volume, where the file system can share blocks with it.
//! Where it cannot, an unattached volume is read in place and watched; an attached one is copied.

mod blocks;
mod data;
mod kept;
mod opened;
mod place;
mod shared;
mod snapshot;
mod stamp;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use common::domain::ByteCount;
use common::messages::sheet::{SnapshotRef, VolumeRef};
use rustix::fs::OFlags;

use super::{BackedUp, FrozenVolume, TargetVolume, VolumeDriver, VolumeError};
use opened::{FrozenFile, LockedFile};
use place::Place;
use snapshot::{Made, Making};

/// Driver for raw files below a root directory.
#[derive(Debug, Clone)]
pub struct FileVolumes {
    root: PathBuf,
    keep_snapshots: bool,
    restore_differing: bool,
}

impl FileVolumes {
    /// A driver for the files below `root`. The root is opened anew for each call, so that a share
    /// that is mounted later, or again, is found.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            keep_snapshots: false,
            restore_differing: false,
        }
    }

    /// The same; with `keep` it keeps the snapshot of each volume's last backup, and tells by it what was not written
    /// since.
    #[must_use]
    pub fn keeping_snapshots(self, keep: bool) -> Self {
        Self {
            keep_snapshots: keep,
            ..self
        }
    }

    /// The same; with `differing` a restore to an existing volume writes only what differs.
    #[must_use]
    pub fn restoring_differing(self, differing: bool) -> Self {
        Self {
            restore_differing: differing,
            ..self
        }
    }

    fn place(&self, volume: &VolumeRef) -> Result<Place, VolumeError> {
        Place::find(&self.root, volume.source.as_str())
    }

    /// Opens a published snapshot of the volume; `None` when there is none.
    fn snapshot(
        &self,
        place: Place,
        volume: &VolumeRef,
    ) -> Result<Option<FrozenFile>, VolumeError> {
        let compared_with = self.keep_snapshots.then_some(volume.volume_id);
        FrozenFile::snapshot(place, compared_with)
    }

    /// Where an owner's snapshot is, or may come to be.
    fn place_of(&self, snapshot: &SnapshotRef) -> Result<Place, VolumeError> {
        self.place(&snapshot.volume)?.beside(snapshot.name.as_str())
    }
}

impl VolumeDriver for FileVolumes {
    fn create(&self, volume: &VolumeRef) -> Result<(), VolumeError> {
        let place = self.place(volume)?;
        let wanted = ByteCount::from_gib(volume.size_gib).0;
        let io = |error| place.io("create", error);
        let file = match place.create_new()? {
            Some(file) => file,
            None => place.open_existing(OFlags::RDWR)?,
        };
        let size = file.metadata().map_err(io)?.len();
        // An empty file is what a crash between making and sizing leaves.
        if size != wanted && size != 0 {
            return Err(VolumeError::Refused {
                volume: volume.source.to_string(),
                why: "it exists with another size".to_owned(),
            });
        }
        file.set_len(wanted).map_err(io)?;
        file.sync_all().map_err(io)?;
        place.sync_directory()
    }

    fn create_from(
        &self,
        volume: &VolumeRef,
        snapshot: &SnapshotRef,
        generation: u64,
    ) -> Result<(), VolumeError> {
        let place = self.place(volume)?;
        let staged = place.beside(&snapshot::staged_volume(volume.volume_id))?;
        if place.open(OFlags::RDONLY)?.is_none() {
            let source = self.place_of(snapshot)?;
            if source.open(OFlags::RDONLY)?.is_none() {
                return Err(no_such(snapshot));
            }
            snapshot::make(&Making {
                source: &source,
                name: &place,
                stage: &snapshot::stage(&staged, generation)?,
                copy_if_need_be: true,
                size_bytes_min: ByteCount::from_gib(volume.size_gib).0,
            })?;
        }
        snapshot::remove_stages_before(&staged, generation)
    }

    fn inspect(&self, volume: &VolumeRef) -> Result<u64, VolumeError> {
        let place = self.place(volume)?;
        let file = place.open_existing(OFlags::RDONLY)?;
        let metadata = file
            .metadata()
            .map_err(|error| place.io("look at", error))?;
        Ok(metadata.len())
    }

    fn delete(&self, volume: &VolumeRef) -> Result<(), VolumeError> {
        let place = match self.place(volume) {
            Err(VolumeError::NoSuchVolume { .. }) => return Ok(()),
            found => found?,
        };
        place.remove(false)?;
        kept::remove_of_volume(&place, volume.volume_id, None)?;
        // This makes the directory durable too.
        snapshot::remove_all(&place.beside(&snapshot::staged_volume(volume.volume_id))?)
    }

    fn freeze(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        generation: u64,
        in_use: bool,
    ) -> Result<Box<dyn FrozenVolume>, VolumeError> {
        snapshot::check_name(snapshot)?;
        let source = self.place(volume)?;
        if let Some(frozen) = self.snapshot(source.beside(snapshot)?, volume)? {
            return Ok(Box::new(frozen));
        }
        let name = source.beside(snapshot)?;
        let made = snapshot::make(&Making {
            source: &source,
            name: &name,
            stage: &snapshot::stage(&name, generation)?,
            copy_if_need_be: in_use,
            size_bytes_min: 0,
        })?;
        match made {
            Made::Published => self
                .snapshot(name, volume)?
                .map(|frozen| Box::new(frozen) as Box<dyn FrozenVolume>)
                .ok_or_else(|| VolumeError::NoSuchSnapshot {
                    snapshot: snapshot.to_owned(),
                }),
            Made::Unsupported => Ok(Box::new(FrozenFile::in_place(source)?)),
        }
    }

    fn reopen(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        identity: &str,
    ) -> Result<Option<Box<dyn FrozenVolume>>, VolumeError> {
        snapshot::check_name(snapshot)?;
        let opened = self.place(volume).and_then(|source| {
            match self.snapshot(source.beside(snapshot)?, volume)? {
                Some(frozen) => Ok(frozen),
                None => FrozenFile::in_place(source),
            }
        });
        match opened {
            Ok(frozen) if frozen.identity() == identity => Ok(Some(Box::new(frozen))),
            Ok(_) | Err(VolumeError::NoSuchVolume { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn retire_snapshot(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        backup: &BackedUp<'_>,
    ) -> Result<(), VolumeError> {
        snapshot::check_name(snapshot)?;
        let temporary = match self.place(volume) {
            Err(VolumeError::NoSuchVolume { .. }) => return Ok(()),
            place => place?.beside(snapshot)?,
        };
        if self.keep_snapshots {
            return kept::keep(&temporary, volume.volume_id, backup);
        }
        snapshot::remove_all(&temporary)?;
        kept::remove_of_volume(&temporary, volume.volume_id, None)
    }

    fn remove_snapshot(&self, volume: &VolumeRef, snapshot: &str) -> Result<(), VolumeError> {
        snapshot::check_name(snapshot)?;
        match self.place(volume) {
            Err(VolumeError::NoSuchVolume { .. }) => Ok(()),
            place => snapshot::remove_all(&place?.beside(snapshot)?),
        }
    }

    fn create_snapshot(&self, snapshot: &SnapshotRef, generation: u64) -> Result<(), VolumeError> {
        let source = self.place(&snapshot.volume)?;
        let name = self.place_of(snapshot)?;
        if name.open(OFlags::RDONLY)?.is_none() {
            snapshot::make(&Making {
                source: &source,
                name: &name,
                stage: &snapshot::stage(&name, generation)?,
                copy_if_need_be: true,
                size_bytes_min: 0,
            })?;
        }
        snapshot::remove_stages_before(&name, generation)
    }

    fn open_snapshot(&self, snapshot: &SnapshotRef) -> Result<Box<dyn FrozenVolume>, VolumeError> {
        match self.snapshot(self.place_of(snapshot)?, &snapshot.volume)? {
            Some(frozen) => Ok(Box::new(frozen)),
            None => Err(no_such(snapshot)),
        }
    }

    fn delete_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), VolumeError> {
        match self.place_of(snapshot) {
            Err(VolumeError::NoSuchVolume { .. }) => Ok(()),
            name => snapshot::remove_all(&name?),
        }
    }

    fn restores_differing(&self) -> bool {
        self.restore_differing
    }

    fn open_target(&self, volume: &VolumeRef) -> Result<Box<dyn TargetVolume>, VolumeError> {
        Ok(Box::new(LockedFile::open(self.place(volume)?)?))
    }
}

fn no_such(snapshot: &SnapshotRef) -> VolumeError {
    VolumeError::NoSuchSnapshot {
        snapshot: snapshot.name.to_string(),
    }
}
