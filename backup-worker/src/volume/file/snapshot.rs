//! Snapshot files: made under a name of the generation, published once, removed by name.
//!
//! ```text
//! volume ──FICLONE or copy──► bk-<backup>-a<n>.g<generation> ──no replace──► bk-<backup>-a<n>
//! ```
//!
//! Of two executions that freeze one attempt, the first to publish wins and both read its file. The
//! file is durable before it is published, and the name before anything is read from it.

use std::fs::File;
use std::io;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::VolumeError;
use super::data;
use super::place::Place;
use super::stamp::Stamp;

/// What every snapshot's name begins with; nothing else is ever removed by clean-up.
const PREFIX: &str = "bk-";
/// How often an attached volume is copied before it counts as never steady.
const COPY_TRIES: u32 = 3;

/// Refuses a name that is not a snapshot's.
pub(super) fn check_name(snapshot: &str) -> Result<(), VolumeError> {
    let plain = snapshot
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if snapshot.starts_with(PREFIX) && plain {
        Ok(())
    } else {
        Err(VolumeError::Refused {
            volume: snapshot.to_owned(),
            why: format!("the name of a temporary snapshot begins with `{PREFIX}`"),
        })
    }
}

/// How a snapshot file came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// The file of that name now holds the volume's bytes of one moment.
    Published,
    /// The file system shares no blocks between files, and a copy was not wanted: nothing was made.
    Unsupported,
}

/// Makes and publishes the snapshot of `source` at `name`, or leaves the one that is already there.
pub(super) fn make(
    source: &Place,
    name: &Place,
    generation: u64,
    copy_if_need_be: bool,
) -> Result<Made, VolumeError> {
    let volume = source.open_existing(OFlags::RDONLY)?;
    let stage = name.beside(&format!("{}.g{generation}", name.shown()))?;
    stage.remove(true)?; // an earlier try of this same generation
    let Some(file) = stage.create_new()? else {
        return Err(stage.io("create", io::ErrorKind::AlreadyExists.into()));
    };
    let made = fill(source, &volume, &file, copy_if_need_be).and_then(|made| {
        if made == Made::Unsupported {
            stage.remove(true)?;
            return Ok(made);
        }
        file.sync_all()
            .map_err(|error| stage.io("make durable the snapshot", error))?;
        if !stage.publish_as(name)? {
            stage.remove(true)?;
        }
        name.sync_directory()?;
        Ok(made)
    });
    if made.is_err() {
        // Our own unfinished file; `remove_all` would find it too.
        let _ = stage.remove(true);
    }
    made
}

fn fill(
    source: &Place,
    volume: &File,
    stage: &File,
    copy_if_need_be: bool,
) -> Result<Made, VolumeError> {
    match rustix::fs::ioctl_ficlone(stage, volume) {
        Ok(()) => Ok(Made::Published),
        Err(errno) if cannot_clone(errno) && copy_if_need_be => {
            copy_when_steady(source, volume, stage, || {})?;
            Ok(Made::Published)
        }
        Err(errno) if cannot_clone(errno) => Ok(Made::Unsupported),
        Err(errno) => Err(source.io("clone", errno.into())),
    }
}

fn cannot_clone(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS
    )
}

/// Copies an attached volume until its size and times are the same before and after.
/// `after_each_copy` runs between copy and comparison.
pub(super) fn copy_when_steady(
    source: &Place,
    volume: &File,
    stage: &File,
    mut after_each_copy: impl FnMut(),
) -> Result<(), VolumeError> {
    let look = || Stamp::of(volume).map_err(|errno| source.io("look at", errno.into()));
    for _ in 0..COPY_TRIES {
        let before = look()?;
        data::copy_sparse(volume, stage, before.size_bytes)
            .map_err(|error| source.io("copy", error))?;
        after_each_copy();
        if look()? == before {
            return Ok(());
        }
    }
    Err(VolumeError::SourceChanged { doing: "copied" })
}

/// Removes the snapshot and what any generation left under its name.
pub(super) fn remove_all(name: &Place) -> Result<(), VolumeError> {
    let ours = |found: &str| {
        found.strip_prefix(name.shown()).is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix(".g").is_some_and(|generation| {
                    !generation.is_empty() && generation.bytes().all(|b| b.is_ascii_digit())
                })
        })
    };
    for found in name.names_beside(ours)? {
        name.beside(&found)?.remove(true)?;
    }
    name.sync_directory()
}
