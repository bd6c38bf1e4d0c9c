//! Volumes as raw files in a directory.
//!
//! * [`place`]: finding a file without leaving the root
//! * [`snapshot`]: freezing by reflink, by a steady copy, or not at all
//! * [`opened`]: the frozen view and the locked target
//! * [`data`], [`stamp`]: holes, and what tells one file from another
//!
//! A snapshot lies in the directory of its volume, where the file system can share blocks with it.
//! Where it cannot, an unattached volume is read in place and watched; an attached one is copied.

mod data;
mod opened;
mod place;
mod snapshot;
mod stamp;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use common::domain::ByteCount;
use common::messages::sheet::VolumeRef;
use rustix::fs::OFlags;

use super::{FrozenVolume, TargetVolume, VolumeDriver, VolumeError};
use opened::{FrozenFile, LockedFile};
use place::Place;
use snapshot::Made;

/// Driver for raw files below a root directory.
#[derive(Debug, Clone)]
pub struct FileVolumes {
    root: PathBuf,
}

impl FileVolumes {
    /// A driver for the files below `root`. The root is opened anew for each call, so that a share
    /// that is mounted later, or again, is found.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn place(&self, volume: &VolumeRef) -> Result<Place, VolumeError> {
        Place::find(&self.root, volume.source.as_str())
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
        place.sync_directory()
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
        if let Some(frozen) = FrozenFile::snapshot(source.beside(snapshot)?)? {
            return Ok(Box::new(frozen));
        }
        match snapshot::make(&source, &source.beside(snapshot)?, generation, in_use)? {
            Made::Published => {
                let name = source.beside(snapshot)?;
                FrozenFile::snapshot(name)?
                    .map(|frozen| Box::new(frozen) as Box<dyn FrozenVolume>)
                    .ok_or_else(|| VolumeError::NoSuchVolume {
                        volume: snapshot.to_owned(),
                    })
            }
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
            match FrozenFile::snapshot(source.beside(snapshot)?)? {
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

    fn remove_snapshot(&self, volume: &VolumeRef, snapshot: &str) -> Result<(), VolumeError> {
        snapshot::check_name(snapshot)?;
        match self.place(volume) {
            Err(VolumeError::NoSuchVolume { .. }) => Ok(()),
            place => snapshot::remove_all(&place?.beside(snapshot)?),
        }
    }

    fn open_target(&self, volume: &VolumeRef) -> Result<Box<dyn TargetVolume>, VolumeError> {
        Ok(Box::new(LockedFile::open(self.place(volume)?)?))
    }
}
