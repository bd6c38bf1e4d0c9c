//! Removing what an attempt left: by its names, in the one right order.
//!
//! The metadata goes first, so that from the first moment on nobody takes what is left for a backup;
//! the snapshot goes last, because without it nothing could be made again. Everything here can be
//! done twice, and stops when the lease is lost.

use std::collections::HashSet;

use common::domain::{AttemptNames, ContainerName};
use common::messages::sheet::VolumeRef;

use super::Job;
use super::halt::{Halt, Trouble};
use crate::format::metadata;
use crate::store::{BackupStore, StoreError};
use crate::volume::BackedUp;

/// Objects removed between two looks at the lease.
const BATCH: usize = 256;

/// Metadata and sha256 file, scratch place, objects.
pub(super) fn objects(job: &Job, names: &AttemptNames) -> Result<(), Halt> {
    remove_stored(&*job.env.store, names, &|| Ok(job.lease.still_ours()?))
}

/// What [`objects`] removes, for who has no job. `still_ours` is asked before each step.
pub(crate) fn remove_stored<E: From<StoreError>>(
    store: &dyn BackupStore,
    names: &AttemptNames,
    still_ours: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    store.check_marker()?;
    still_ours()?;
    let AttemptNames {
        container, prefix, ..
    } = names;
    let objects = || {
        let mut left = store.list(container, prefix.as_str())?;
        left.retain(|name| prefix.can_have(name));
        common::durable!("erase.objects", remove(store, container, &left, still_ours))
    };
    if common::faults::planted("objects_before_metadata") {
        let mut all = store.list(container, prefix.as_str())?;
        all.retain(|name| prefix.can_have(name) && *name != prefix.metadata());
        common::durable!("erase.objects", remove(store, container, &all, still_ours))?;
    }
    common::durable!(
        "erase.metadata",
        store.remove(container, &[prefix.metadata()])
    )?;
    common::durable!(
        "erase.sha256file",
        store.remove(container, &[prefix.sha256file()])
    )?;
    if let Some(scratch) = &names.scratch {
        still_ours()?;
        common::durable!("erase.scratch", store.remove_scratch(container, scratch))?;
    }
    objects()
}

/// The scratch place: parts and segments.
pub(super) fn scratch(job: &Job, names: &AttemptNames) -> Result<(), Halt> {
    let Some(scratch) = &names.scratch else {
        return Ok(());
    };
    let store = &*job.env.store;
    store.check_marker()?;
    job.lease.still_ours()?;
    Ok(common::durable!(
        "erase.scratch",
        store.remove_scratch(&names.container, scratch)
    )?)
}

/// What lies under the prefix of a finished backup and is not named by its metadata.
pub(super) fn strays(job: &Job, names: &AttemptNames) -> Result<(), Halt> {
    let store = &*job.env.store;
    let AttemptNames {
        container, prefix, ..
    } = names;
    store.check_marker()?;
    let mut unnamed: HashSet<String> = store
        .list(container, prefix.as_str())?
        .into_iter()
        .filter(|name| prefix.can_have(name))
        .collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    unnamed.remove(&prefix.sha256file());
    unnamed.remove(&prefix.metadata());
    let (input, _) = store.open(container, &prefix.metadata())?;
    let read = metadata::read(input, &mut |object| {
        unnamed.remove(&object.name);
        Ok(())
    });
    // Without a whole table nobody knows what is a stray.
    read.map_err(|error| {
        Halt::Lasting(Trouble::new(
            "The backup's metadata cannot be read.",
            common::telemetry::error_chain(&error),
        ))
    })?;
    let mut unnamed: Vec<String> = unnamed.into_iter().collect();
    unnamed.sort();
    remove(store, container, &unnamed, &|| {
        Ok(job.lease.still_ours()?)
    })
}

/// The temporary snapshot of a backup that is whole, with what any execution left of it: removed, or kept to compare the
/// next backup with, as the volume's driver does it.
pub(super) fn retire_snapshot(
    job: &Job,
    volume: &VolumeRef,
    names: &AttemptNames,
    backup: &BackedUp<'_>,
) -> Result<(), Halt> {
    let Some(snapshot) = &names.snapshot else {
        return Ok(());
    };
    job.lease.still_ours()?;
    let driver = job.driver(&volume.backend)?;
    Ok(common::durable!(
        "erase.snapshot",
        driver.retire_snapshot(volume, snapshot, backup)
    )?)
}

/// The temporary snapshot, with what any execution left of it.
pub(super) fn snapshot(
    job: &Job,
    volume: Option<&VolumeRef>,
    names: &AttemptNames,
) -> Result<(), Halt> {
    let (Some(volume), Some(snapshot)) = (volume, &names.snapshot) else {
        return Ok(());
    };
    job.lease.still_ours()?;
    let driver = job.driver(&volume.backend)?;
    Ok(common::durable!(
        "erase.snapshot",
        driver.remove_snapshot(volume, snapshot)
    )?)
}

fn remove<E: From<StoreError>>(
    store: &dyn BackupStore,
    container: &ContainerName,
    objects: &[String],
    still_ours: &dyn Fn() -> Result<(), E>,
) -> Result<(), E> {
    for batch in objects.chunks(BATCH) {
        still_ours()?;
        store.remove(container, batch)?;
    }
    Ok(())
}
