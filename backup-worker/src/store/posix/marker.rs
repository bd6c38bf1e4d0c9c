//! `.emberkeep-target`: the file that tells a prepared target from an empty mount point.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::root::{Root, entry};
use crate::store::StoreError;

const NAME: &str = ".emberkeep-target";
/// A marker is some 60 bytes; what is longer is none.
const SIZE_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Marker {
    target_id: Uuid,
}

/// Prepares a directory to be a target, and tells its id.
///
/// The directory is made if it is not there. A target that is prepared already keeps its id, also
/// when two processes try at once.
///
/// # Errors
/// When the directory cannot be made or written.
pub fn init_target(path: &Path) -> Result<Uuid, StoreError> {
    let failed = |verb, source: std::io::Error| StoreError::Io {
        verb,
        path: path.display().to_string(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o770)
        .create(path)
        .map_err(|source| failed("make", source))?;
    let root = Root::open(path, false).map_err(|source| failed("open", source.into()))?;
    mark(&root, path)
}

/// The same for a directory that is there.
///
/// # Errors
/// When it cannot be written.
pub(in crate::store) fn mark(root: &Root, path: &Path) -> Result<Uuid, StoreError> {
    if let Some(found) = read(root, path)? {
        return Ok(found);
    }
    let failed = |source| StoreError::Io {
        verb: "mark",
        path: path.display().to_string(),
        source,
    };
    publish(root.fd(), Uuid::new_v4()).map_err(failed)?;
    read(root, path)?.ok_or_else(|| failed(Errno::NOENT.into()))
}

/// Writes the marker under a name of its own, and gives it its final name unless another has it.
fn publish(root: BorrowedFd<'_>, target_id: Uuid) -> std::io::Result<()> {
    let unfinished = format!("{NAME}.{target_id}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let written = (|| {
        let mut file = File::from(entry(root, &unfinished, flags, Mode::from_raw_mode(0o640))?);
        serde_json::to_writer(&mut file, &Marker { target_id })?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        match rustix::fs::renameat_with(root, &unfinished, root, NAME, RenameFlags::NOREPLACE) {
            // Not every file system can; a link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(root, &unfinished, root, NAME, AtFlags::empty())
            }
            outcome => outcome,
        }
        .or_else(|error| match error {
            Errno::EXIST => Ok(()),
            error => Err(std::io::Error::from(error)),
        })
    })();
    match rustix::fs::unlinkat(root, &unfinished, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return written.and(Err(error.into())),
    }
    rustix::fs::fsync(root)?;
    written
}

/// The target's id, `None` without a marker.
fn read(root: &Root, path: &Path) -> Result<Option<Uuid>, StoreError> {
    let wrong = |why: String| StoreError::WrongTarget {
        root: path.display().to_string(),
        why,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match entry(root.fd().as_fd(), NAME, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(wrong(format!("`{NAME}` cannot be opened: {error}"))),
    };
    let mut text = Vec::new();
    file.take(SIZE_MAX)
        .read_to_end(&mut text)
        .map_err(|error| wrong(format!("`{NAME}` cannot be read: {error}")))?;
    let marker: Marker = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("`{NAME}` cannot be understood: {error}")))?;
    Ok(Some(marker.target_id))
}

/// Fails unless the root is a prepared target, and the expected one if one is expected.
pub(super) fn check(root: &Root, path: &Path, expected: Option<Uuid>) -> Result<(), StoreError> {
    let why = match (read(root, path)?, expected) {
        (Some(found), Some(expected)) if found != expected => {
            format!("its id is {found}, and {expected} is configured")
        }
        (Some(_), _) => return Ok(()),
        (None, _) => {
            format!("it has no `{NAME}` file; is it mounted, and was `init-target` run on it?")
        }
    };
    let root = path.display().to_string();
    Err(StoreError::WrongTarget { root, why })
}
