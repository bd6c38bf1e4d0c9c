//! Where `restore` writes: a file or a block device that the operator names.
//!
//! A driver's volumes lie below its root; this is any path, as the shell would take it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::failure::Failure;
use crate::volume::{DirectFile, TargetVolume, VolumeError};

/// An open output, locked.
#[derive(Debug)]
pub(super) struct Output {
    file: DirectFile,
    path: PathBuf,
    size_bytes: u64,
    is_new: bool,
    is_written: AtomicBool,
}

impl Output {
    /// Fails early when there is something that may not be written over.
    pub(super) fn check(path: &Path, force: bool) -> Result<(), Failure> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        Ok(())
    }

    /// Makes a file of `volume_bytes` that reads as zeros, or with `force` opens what is there.
    pub(super) fn open(path: &Path, force: bool, volume_bytes: u64) -> Result<Self, Failure> {
        let failed = |verb: &str, error: io::Error| {
            Failure::to(format!("{verb} {}", path.display()), &error)
        };
        let new = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let (mut file, is_new) = match new {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {
                (open_existing(path)?, false)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
            Err(error) => return Err(failed("make", error)),
        };
        let prepared = (|| {
            lock(&file)?;
            if is_new {
                file.set_len(volume_bytes)?;
            }
            file.seek(SeekFrom::End(0)) // a device has no length but this
        })();
        match prepared {
            Ok(size_bytes) => Ok(Self {
                file: DirectFile::new(file),
                path: path.to_owned(),
                size_bytes,
                is_new,
                is_written: AtomicBool::new(false),
            }),
            Err(error) => {
                if is_new {
                    let _ = std::fs::remove_file(path);
                }
                Err(failed("prepare", error))
            }
        }
    }

    /// Whether it was made for this restore.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether anything was written to it.
    pub(super) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Relaxed)
    }

    /// Makes a new file's name durable too.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let kept = || {
            self.file.file().sync_all()?;
            if !self.is_new {
                return Ok(());
            }
            let parent = match self.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            File::open(parent)?.sync_all()
        };
        kept().map_err(|error: io::Error| {
            Failure::to(format!("make durable {}", self.path.display()), &error)
        })
    }

    /// Removes what was made and is worth nothing.
    pub(super) fn discard(&self) {
        if self.is_new {
            let _ = std::fs::remove_file(&self.path); // the error of the restore says more
        }
    }

    fn io(&self, verb: &'static str, source: io::Error) -> VolumeError {
        VolumeError::Io {
            verb,
            volume: self.path.display().to_string(),
            source,
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::CouldNot(format!(
        "{} exists; `--force` writes over it in place",
        path.display()
    ))
}

fn open_existing(path: &Path) -> Result<File, Failure> {
    let failed = |error: io::Error| Failure::to(format!("open {}", path.display()), &error);
    let found = std::fs::metadata(path).map_err(failed)?.file_type();
    let mut flags = OFlags::NONBLOCK; // a named pipe that takes its place must not hold us
    if found.is_block_device() {
        flags |= OFlags::EXCL; // refused while it is mounted
    } else if !found.is_file() {
        return Err(Failure::CouldNot(format!(
            "{} is no file and no block device",
            path.display()
        )));
    }
    let flags = i32::try_from(flags.bits()).expect("the flags of open are an int");
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .map_err(failed)
}

fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("it is locked by another writer")),
        other => Ok(other?),
    }
}

impl TargetVolume for Output {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError> {
        self.is_written.store(true, Ordering::Relaxed);
        self.file
            .write_all_at(data, offset)
            .map_err(|error| self.io("write", error))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        self.file
            .file()
            .read_exact_at(buffer, offset)
            .map_err(|error| self.io("read", error))
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.file
            .file()
            .sync_data()
            .map_err(|error| self.io("make durable", error))
    }
}
