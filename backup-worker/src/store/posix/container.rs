//! One open container, and what is done with the names in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use common::domain::ContainerName;
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::root::{Root, entry};
use crate::store::StoreError;

/// Cinder's modes: the container and the files in it are its owner's and group's.
pub(super) const CONTAINER_MODE: Mode = Mode::from_raw_mode(0o770);
const FILE_MODE: Mode = Mode::from_raw_mode(0o660);
/// Directories above a container: what the umask leaves.
pub(super) const PARENT_MODE: Mode = Mode::from_raw_mode(0o777);

/// An open container.
pub(super) struct Container<'a> {
    pub(super) name: &'a ContainerName,
    pub(super) fd: OwnedFd,
}

impl<'a> Container<'a> {
    pub(super) fn open(root: &Root, name: &'a ContainerName) -> Result<Self, StoreError> {
        match root.directory(name.as_str()) {
            Ok(fd) => Ok(Self { name, fd }),
            Err(Errno::NOENT) => Err(StoreError::NoSuchContainer {
                container: name.clone(),
            }),
            Err(errno) => Err(failed("open", name.as_str(), errno)),
        }
    }

    pub(super) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The scratch place in it.
    pub(super) fn scratch(&self, scratch: &str) -> Result<OwnedFd, StoreError> {
        check_scratch(scratch)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        entry(self.fd.as_fd(), scratch, flags, Mode::empty())
            .map_err(|errno| self.missing_or("open", scratch, errno))
    }

    fn missing_or(&self, verb: &'static str, object: &str, errno: Errno) -> StoreError {
        if errno == Errno::NOENT {
            StoreError::NoSuchObject {
                container: self.name.clone(),
                object: object.to_owned(),
            }
        } else {
            failed(verb, &self.below(object), errno)
        }
    }

    /// Opens a plain file, in the container or its scratch place.
    pub(super) fn file(&self, directory: &OwnedFd, name: &str) -> Result<(File, u64), StoreError> {
        // Non-blocking, or a named pipe planted here would hold the worker for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = entry(directory.as_fd(), name, flags, Mode::empty())
            .map_err(|errno| self.missing_or("open", name, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed("stat", name, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let path = self.below(name);
            let why = "it is no plain file";
            return Err(StoreError::Refused { path, why });
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        Ok((File::from(file), size))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| failed("sync", self.name.as_str(), errno))
    }
}

/// Makes a directory unless it is there, and makes its name durable. `exact` sets the mode
/// whatever the umask; a directory that was there keeps its own.
pub(super) fn make_directory(
    parent: BorrowedFd<'_>,
    name: &str,
    mode: Mode,
    exact: bool,
) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) if exact => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            rustix::fs::fchmod(entry(parent, name, flags, Mode::empty())?, mode)?;
        }
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    // Also for one that was there: its maker may have crashed before this.
    rustix::fs::fsync(parent)
}

/// A new file of Cinder's mode.
pub(super) fn create(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = entry(directory.as_fd(), name, flags, FILE_MODE)?;
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(File::from(file))
}

/// Says that all of a file will be read: it is fetched meanwhile, in the largest pieces that the disk takes.
pub(super) fn expect(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::WillNeed); // a hint
}

/// Says that the bytes of a file are not wanted in memory. Those that are not on the disk yet are on their way there
/// from now on, so that a sync finds little left to do; those that are make room for what others use.
pub(super) fn forget(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed); // a hint
}

/// Removes a name, which may be gone.
pub(super) fn unlink(directory: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// An object's or part's name is one path component, and none that is ours.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let why = if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        "it is not one path component"
    } else if name.starts_with(".emberkeep") {
        "names that begin with `.emberkeep` are reserved"
    } else {
        return Ok(());
    };
    let path = name.to_owned();
    Err(StoreError::Refused { path, why })
}

pub(super) fn check_scratch(name: &str) -> Result<(), StoreError> {
    if name.starts_with(".emberkeep-") && !name.contains(['/', '\0']) {
        return Ok(());
    }
    Err(StoreError::Refused {
        path: name.to_owned(),
        why: "a scratch place is one path component that begins `.emberkeep-`",
    })
}

pub(super) fn failed(verb: &'static str, path: &str, errno: Errno) -> StoreError {
    let path = path.to_owned();
    match errno {
        Errno::LOOP | Errno::XDEV | Errno::NOTDIR => StoreError::Refused {
            path,
            why: "it leads over a symbolic link, out of the root or through what is no directory",
        },
        errno => StoreError::Io {
            verb,
            path,
            source: errno.into(),
        },
    }
}

pub(super) fn io_failed(verb: &'static str, path: &str, source: io::Error) -> StoreError {
    let path = path.to_owned();
    StoreError::Io { verb, path, source }
}
