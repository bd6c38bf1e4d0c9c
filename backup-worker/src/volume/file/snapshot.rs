//! Snapshot files: made under a name of the generation, published once, removed by name.
//!
//! ```text
//! volume   ──FICLONE or copy──► bk-<backup>-a<n>.g<generation>   ──no replace──► bk-<backup>-a<n>
//! volume   ──FICLONE or copy──► snapshot-<id>.g<generation>      ──no replace──► snapshot-<id>
//! snapshot ──FICLONE or copy──► bk-volume-<id>.g<generation>     ──no replace──► volume-<id>
//! ```
//!
//! Of two executions that freeze one attempt, the first to publish wins and both read its file. The
//! file is durable before it is published, and the name before anything is read from it.

use std::fs::File;
use std::io;

use common::domain::VolumeId;
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

/// What is to be made.
#[derive(Debug)]
pub(super) struct Making<'a> {
    /// What is read.
    pub(super) source: &'a Place,
    /// What the whole file is to be called.
    pub(super) name: &'a Place,
    /// What it is called until it is whole; in the same directory.
    pub(super) stage: &'a Place,
    /// Whether a copy will do where the file system shares no blocks.
    pub(super) copy_if_need_be: bool,
    /// Zeros follow the source's bytes up to here.
    pub(super) size_bytes_min: u64,
}

/// What a generation calls the file until it is whole.
pub(super) fn stage(name: &Place, generation: u64) -> Result<Place, VolumeError> {
    let file = name.file_name();
    name.beside(&format!("{file}.g{generation}"))
}

/// What a volume that is filled from a snapshot is staged under: a name that no volume can have.
pub(super) fn staged_volume(volume: VolumeId) -> String {
    format!("{PREFIX}volume-{volume}")
}

/// Makes and publishes a file with the bytes of another, or leaves the one that is already there.
pub(super) fn make(making: &Making<'_>) -> Result<Made, VolumeError> {
    let Making {
        source,
        name,
        stage,
        copy_if_need_be,
        size_bytes_min,
    } = *making;
    let volume = source.open_existing(OFlags::RDONLY)?;
    stage.remove(true)?; // an earlier try of this same generation
    let Some(file) = stage.create_new()? else {
        return Err(stage.io("create", io::ErrorKind::AlreadyExists.into()));
    };
    let made = fill(source, &volume, &file, copy_if_need_be).and_then(|made| {
        if made == Made::Unsupported {
            stage.remove(true)?;
            return Ok(made);
        }
        grow(stage, &file, size_bytes_min)?;
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

fn grow(stage: &Place, file: &File, size_bytes_min: u64) -> Result<(), VolumeError> {
    let size_bytes = Stamp::of(file)
        .map_err(|errno| stage.io("look at", errno.into()))?
        .size_bytes;
    if size_bytes >= size_bytes_min {
        return Ok(());
    }
    file.set_len(size_bytes_min)
        .map_err(|error| stage.io("grow", error))
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
    remove_those(name, |found| {
        found == name.file_name() || generation_of(name, found).is_some()
    })
}

/// Removes what smaller generations left staged: their executions are over, and what one of them still
/// writes has no name any more.
pub(super) fn remove_stages_before(name: &Place, generation: u64) -> Result<(), VolumeError> {
    remove_those(name, |found| {
        generation_of(name, found).is_some_and(|older| older < generation)
    })
}

fn remove_those(name: &Place, which: impl Fn(&str) -> bool) -> Result<(), VolumeError> {
    for found in name.names_beside(which)? {
        name.beside(&found)?.remove(true)?;
    }
    name.sync_directory()
}

/// Whose stage of `name` this is, if it is one.
fn generation_of(name: &Place, found: &str) -> Option<u64> {
    let digits = found.strip_prefix(name.file_name())?.strip_prefix(".g")?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}
