//! Volumes with faults.

use std::sync::Arc;

use common::domain::BackupId;
use common::messages::sheet::{SnapshotRef, VolumeRef};
use jiff::Timestamp;

use super::{Faults, Verb};
use crate::volume::{
    BackedUp, Extent, FrozenVolume, TargetVolume, Unchanged, VolumeDriver, VolumeError,
};

/// Any driver, with faults.
#[derive(Debug)]
pub(crate) struct FaultyVolumes {
    inner: Arc<dyn VolumeDriver>,
    faults: Faults,
}

impl FaultyVolumes {
    pub(crate) fn new(inner: Arc<dyn VolumeDriver>, faults: &Faults) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: faults.clone(),
        })
    }

    fn opened(&self, inner: Box<dyn FrozenVolume>) -> Box<dyn FrozenVolume> {
        Self::frozen(inner, &self.faults)
    }

    /// A frozen volume of its own.
    pub(crate) fn frozen(inner: Box<dyn FrozenVolume>, faults: &Faults) -> Box<dyn FrozenVolume> {
        Box::new(FaultyFrozen {
            inner,
            faults: faults.clone(),
        })
    }
}

fn call<T>(
    faults: &Faults,
    verb: Verb,
    name: &str,
    call: impl FnOnce() -> Result<T, VolumeError>,
) -> Result<T, VolumeError> {
    let failed = |source| VolumeError::Io {
        verb: "use",
        volume: name.to_owned(),
        source,
    };
    faults.call(verb, name, failed, call)
}

impl VolumeDriver for FaultyVolumes {
    fn create(&self, volume: &VolumeRef) -> Result<(), VolumeError> {
        let name = volume.source.as_str();
        call(&self.faults, Verb::CreateVolume, name, || {
            self.inner.create(volume)
        })
    }

    fn create_from(
        &self,
        volume: &VolumeRef,
        snapshot: &SnapshotRef,
        generation: u64,
    ) -> Result<(), VolumeError> {
        let name = volume.source.as_str();
        call(&self.faults, Verb::CreateVolume, name, || {
            self.inner.create_from(volume, snapshot, generation)
        })
    }

    fn inspect(&self, volume: &VolumeRef) -> Result<u64, VolumeError> {
        self.inner.inspect(volume)
    }

    fn delete(&self, volume: &VolumeRef) -> Result<(), VolumeError> {
        self.inner.delete(volume)
    }

    fn freeze(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        generation: u64,
        in_use: bool,
    ) -> Result<Box<dyn FrozenVolume>, VolumeError> {
        let frozen = call(&self.faults, Verb::Freeze, snapshot, || {
            self.inner.freeze(volume, snapshot, generation, in_use)
        })?;
        Ok(self.opened(frozen))
    }

    fn reopen(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        identity: &str,
    ) -> Result<Option<Box<dyn FrozenVolume>>, VolumeError> {
        let frozen = call(&self.faults, Verb::Freeze, snapshot, || {
            self.inner.reopen(volume, snapshot, identity)
        })?;
        Ok(frozen.map(|frozen| self.opened(frozen)))
    }

    fn retire_snapshot(
        &self,
        volume: &VolumeRef,
        snapshot: &str,
        backup: &BackedUp<'_>,
    ) -> Result<(), VolumeError> {
        call(&self.faults, Verb::RemoveSnapshot, snapshot, || {
            self.inner.retire_snapshot(volume, snapshot, backup)
        })
    }

    fn remove_snapshot(&self, volume: &VolumeRef, snapshot: &str) -> Result<(), VolumeError> {
        call(&self.faults, Verb::RemoveSnapshot, snapshot, || {
            self.inner.remove_snapshot(volume, snapshot)
        })
    }

    fn create_snapshot(&self, snapshot: &SnapshotRef, generation: u64) -> Result<(), VolumeError> {
        let name = snapshot.name.as_str();
        call(&self.faults, Verb::Freeze, name, || {
            self.inner.create_snapshot(snapshot, generation)
        })
    }

    fn open_snapshot(&self, snapshot: &SnapshotRef) -> Result<Box<dyn FrozenVolume>, VolumeError> {
        let name = snapshot.name.as_str();
        let frozen = call(&self.faults, Verb::Freeze, name, || {
            self.inner.open_snapshot(snapshot)
        })?;
        Ok(self.opened(frozen))
    }

    fn delete_snapshot(&self, snapshot: &SnapshotRef) -> Result<(), VolumeError> {
        let name = snapshot.name.as_str();
        call(&self.faults, Verb::RemoveSnapshot, name, || {
            self.inner.delete_snapshot(snapshot)
        })
    }

    fn restores_differing(&self) -> bool {
        self.inner.restores_differing()
    }

    fn open_target(&self, volume: &VolumeRef) -> Result<Box<dyn TargetVolume>, VolumeError> {
        let name = volume.source.as_str();
        let inner = call(&self.faults, Verb::OpenTarget, name, || {
            self.inner.open_target(volume)
        })?;
        Ok(Box::new(FaultyTarget {
            inner,
            faults: self.faults.clone(),
        }))
    }
}

#[derive(Debug)]
struct FaultyFrozen {
    inner: Box<dyn FrozenVolume>,
    faults: Faults,
}

impl FrozenVolume for FaultyFrozen {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn frozen_at(&self) -> Option<Timestamp> {
        self.inner.frozen_at()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        call(&self.faults, Verb::ReadVolume, &offset.to_string(), || {
            self.inner.read_at(offset, buffer)
        })
    }

    fn next_data(&self, offset: u64) -> Result<Option<Extent>, VolumeError> {
        self.inner.next_data(offset)
    }

    fn will_read(&self, extent: Extent) {
        self.inner.will_read(extent);
    }

    fn was_read(&self, extent: Extent) {
        self.inner.was_read(extent);
    }

    fn check_unchanged(&self) -> Result<(), VolumeError> {
        self.inner.check_unchanged()
    }

    fn unchanged_since(&self, parent: BackupId) -> Option<Box<dyn Unchanged>> {
        self.inner.unchanged_since(parent)
    }
}

#[derive(Debug)]
struct FaultyTarget {
    inner: Box<dyn TargetVolume>,
    faults: Faults,
}

impl TargetVolume for FaultyTarget {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError> {
        call(&self.faults, Verb::WriteVolume, &offset.to_string(), || {
            self.inner.write_at(offset, data)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        call(&self.faults, Verb::ReadVolume, &offset.to_string(), || {
            self.inner.read_at(offset, buffer)
        })
    }

    fn sync(&self) -> Result<(), VolumeError> {
        call(&self.faults, Verb::SyncVolume, "", || self.inner.sync())
    }
}
