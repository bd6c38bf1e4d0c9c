//! Two files beside the mount point, by which the workers of a machine agree about it.
//!
//! ```text
//! <md5>.lock    held while one of them mounts, unmounts or comes in; its text names the mount that a worker made
//! <md5>.users   held, shared, for as long as a worker uses the mount
//! ```
//!
//! Locks go with the process that holds them, so a worker that was killed leaves none behind. What it leaves
//! is the mount, and the text that says that a worker made it: the next one may unmount it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::patience::within;

/// Held while the mount is being made, taken down, or come to.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    point: PathBuf,
}

/// Held for as long as the mount is used.
#[derive(Debug)]
pub(super) struct Use {
    _file: File,
}

fn open(point: &Path, extension: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(point.with_extension(extension))
}

impl Lock {
    /// Waits for it, but not for ever: who has it may hang.
    pub(super) fn take(point: &Path, limit: Duration) -> io::Result<Self> {
        let file = open(point, "lock")?;
        let taken = within(limit, move || {
            flock(&file, FlockOperation::LockExclusive).map(|()| file)
        });
        let file = taken.ok_or_else(|| {
            io::Error::other("another worker of this machine has been mounting it for too long")
        })??;
        let point = point.to_owned();
        Ok(Self { file, point })
    }

    /// Comes in as a user.
    pub(super) fn begin_use(&self) -> io::Result<Use> {
        let file = open(&self.point, "users")?;
        flock(&file, FlockOperation::LockShared)?; // who wants it exclusively has the other lock
        Ok(Use { _file: file })
    }

    /// Whether nobody else uses it. To be asked by one who has stopped using it himself.
    pub(super) fn is_unused(&self) -> io::Result<bool> {
        let file = open(&self.point, "users")?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Notes that a worker made this mount.
    pub(super) fn note(&mut self, mount_id: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(name_of(mount_id)?.as_bytes())
    }

    /// Notes that there is none any more.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Whether a worker made this mount, this one or another.
    pub(super) fn was_made_by_a_worker(&mut self, mount_id: u64) -> io::Result<bool> {
        self.file.rewind()?;
        let mut text = String::new();
        self.file.read_to_string(&mut text)?;
        Ok(text == name_of(mount_id)?)
    }
}

/// Numbers of mounts begin again when the machine does.
fn name_of(mount_id: u64) -> io::Result<String> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("{} {mount_id}\n", boot_id.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn one_at_a_time_has_the_lock_and_nobody_waits_for_ever() {
        let base = tempfile::tempdir().unwrap();
        let point = base.path().join("0123");
        let first = Lock::take(&point, SOON).unwrap();
        let refused = Lock::take(&point, Duration::from_millis(50)).unwrap_err();
        assert!(refused.to_string().contains("another worker"), "{refused}");
        drop(first);
        Lock::take(&point, SOON).unwrap();
    }

    #[test]
    fn a_mount_is_unused_when_its_last_user_has_gone() {
        let base = tempfile::tempdir().unwrap();
        let point = base.path().join("0123");
        let lock = Lock::take(&point, SOON).unwrap();
        let (one, two) = (lock.begin_use().unwrap(), lock.begin_use().unwrap());
        assert!(!lock.is_unused().unwrap());
        drop(one);
        assert!(!lock.is_unused().unwrap());
        drop(two);
        assert!(lock.is_unused().unwrap());
    }

    #[test]
    fn only_the_mount_that_a_worker_noted_is_a_workers() {
        let base = tempfile::tempdir().unwrap();
        let point = base.path().join("0123");
        let mut lock = Lock::take(&point, SOON).unwrap();
        assert!(!lock.was_made_by_a_worker(33).unwrap());
        lock.note(33).unwrap();
        drop(lock);
        let mut lock = Lock::take(&point, SOON).unwrap();
        assert!(lock.was_made_by_a_worker(33).unwrap());
        assert!(!lock.was_made_by_a_worker(3).unwrap());
        lock.forget().unwrap();
        assert!(!lock.was_made_by_a_worker(33).unwrap());
    }
}
