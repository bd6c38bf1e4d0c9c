//! The snapshot that stays behind a whole backup, to compare the next one with.
//!
//! ```text
//! bk-<backup>-a<n>  ──no replace──► bk-kept-<volume>-<backup>      one for each volume, the last backup's
//! ```
//!
//! **Invariants.** A kept snapshot is the very file its backup was read from, which its name says. It is never
//! replaced: what comes to its name later is another view of the volume. And it shares blocks with its volume, or is
//! not kept: a copy would cost the whole volume's space and tell nothing.

use std::fs::File;

use common::domain::{BackupId, VolumeId};
use rustix::fs::OFlags;

use super::super::{BackedUp, VolumeError};
use super::blocks::share_start;
use super::place::Place;
use super::shared::{SharedRanges, are_places_told};
use super::snapshot;
use super::stamp::Stamp;

/// Bytes that a new file is to share, to see whether it can.
const PROBE_BYTES: u64 = 1 << 20;

/// What the names of all kept snapshots of a volume begin with.
fn prefix(volume: VolumeId) -> String {
    format!("bk-kept-{volume}-")
}

/// The name of the snapshot that is kept of this backup.
pub(super) fn name(volume: VolumeId, backup: BackupId) -> String {
    format!("{}{backup}", prefix(volume))
}

/// Keeps the temporary snapshot `temporary`, if it is what the backup was read from and can be kept, and
/// removes it otherwise; then all others that are kept of the volume. Repeated, it changes nothing.
pub(super) fn keep(
    temporary: &Place,
    volume: VolumeId,
    backup: &BackedUp<'_>,
) -> Result<(), VolumeError> {
    let kept = temporary.beside(&name(volume, backup.backup_id))?;
    if is_to_be_kept(temporary, backup.identity)? {
        // What has the name already was kept by an earlier execution. That one was there first.
        temporary.publish_as(&kept)?;
    }
    snapshot::remove_all(temporary)?;
    remove_of_volume(&kept, volume, Some(kept.file_name()))
}

fn is_to_be_kept(temporary: &Place, identity: Option<&str>) -> Result<bool, VolumeError> {
    let Some(file) = temporary.open(OFlags::RDONLY)? else {
        return Ok(false);
    };
    let stamp = Stamp::of(&file).map_err(|errno| temporary.io("look at", errno.into()))?;
    if identity != Some(stamp.file_identity().as_str()) {
        return Ok(false);
    }
    let told = are_places_told(&file).map_err(|errno| temporary.io("look at", errno.into()))?;
    if !told {
        return Ok(false);
    }
    let Some(probe) = temporary.unnamed()? else {
        return Ok(false);
    };
    let length = stamp.size_bytes.min(PROBE_BYTES);
    Ok(share_start(&probe, &file, length).is_ok())
}

/// Removes what is kept of a volume, but for the one called `but`.
pub(super) fn remove_of_volume(
    beside: &Place,
    volume: VolumeId,
    but: Option<&str>,
) -> Result<(), VolumeError> {
    let prefix = prefix(volume);
    let kept = beside.names_beside(|name| name.starts_with(&prefix) && but != Some(name))?;
    for name in kept {
        beside.beside(&name)?.remove(true)?;
    }
    beside.sync_directory()
}

/// What a frozen view shares with the snapshot that is kept of `parent`; `None` when there is none, or it cannot be told.
pub(super) fn shared_with(
    place: &Place,
    frozen: &File,
    volume: VolumeId,
    parent: BackupId,
) -> Result<Option<SharedRanges>, VolumeError> {
    let name = place.beside(&name(volume, parent))?;
    let Some(kept) = name.open(OFlags::RDONLY)? else {
        return Ok(None);
    };
    let frozen = frozen
        .try_clone()
        .map_err(|error| place.io("open again", error))?;
    SharedRanges::of(kept, frozen).map_err(|errno| name.io("compare the blocks of", errno.into()))
}
