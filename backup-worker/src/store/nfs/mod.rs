//! A share that the worker mounts itself, at `<mount base>/<MD5 of the share>`, where Cinder's nfs driver mounts
//! it too. What is on it is the posix driver's: [`PosixStore`] opens its root here.
//!
//! ```text
//! open_root ──► what is mounted at the point?
//!                 nothing          ──► under the lock: mount it, note that a worker did
//!                 the share        ──► open the root, and look whether it lies on that very mount
//!                 the share, stale ──► under the lock: away with it, if a worker made it; mount it anew
//!                 anything else    ──► refused, and left alone
//! leave     ──► under the lock: nobody else uses it, and a worker made it? Then unmount
//! ```
//!
//! **Invariants.** A root is the share's or none: an empty directory under a share that is not mounted is never
//! read, so that nothing counts as gone that is only away. Only what a worker mounted is unmounted. The share's
//! own directory keeps its mode and owner, and so does all below it.

mod locks;
mod mountinfo;
mod system;
#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::Nfs;
use md5::{Digest as _, Md5};
use rustix::io::Errno;
use uuid::Uuid;

use self::locks::{Lock, Use};
use self::mountinfo::Mount;
use self::system::System;
use super::StoreError;
use super::posix::{PosixStore, Root};

/// How often the root is looked for while others mount and unmount.
const ROUNDS_MAX: usize = 4;
/// Who comes so soon after a mount that failed is told that it did; the server is not asked again.
const FAILED_LATELY: Duration = Duration::from_secs(2);

/// The share of a target, and this worker's use of it.
#[derive(Debug)]
pub(super) struct Share {
    nfs: Nfs,
    system: System,
    own: Mutex<Own>,
}

/// What this worker has to do with the mount.
#[derive(Debug, Default)]
struct Own {
    /// Held as long as this worker uses it.
    in_use: Option<Use>,
    /// The last try, if it failed.
    failed: Option<(Instant, String)>,
    /// The worker ends: nothing is mounted any more.
    has_left: bool,
}

/// A store on a share. Nothing is mounted yet: the server may be away.
pub(crate) fn store(nfs: &Nfs, target_id: Option<Uuid>) -> PosixStore {
    let share = Share::new(nfs.clone(), System::of_machine());
    PosixStore::on_share(share, target_id)
}

/// Prepares a share to be a target, once, and tells its id. It is mounted for that and unmounted again, unless it was
/// mounted.
///
/// # Errors
/// When it cannot be mounted or marked.
pub(crate) fn init_target(nfs: &Nfs) -> Result<Uuid, StoreError> {
    let share = Share::new(nfs.clone(), System::of_machine());
    let marked = share
        .open_root(false)
        .and_then(|root| super::posix::mark(&root, &share.shown()));
    share.leave();
    marked
}

impl Share {
    fn new(nfs: Nfs, system: System) -> Self {
        let own = Mutex::default();
        Self { nfs, system, own }
    }

    /// Where it is mounted, as configured.
    pub(super) fn shown(&self) -> PathBuf {
        mount_point(&self.nfs)
    }

    /// Opens the share's own directory, and mounts it first if that is not done.
    ///
    /// # Errors
    /// When it cannot be mounted, or something else is mounted there.
    pub(super) fn open_root(&self, stepwise: bool) -> Result<Root, StoreError> {
        let point = self.point()?;
        for _ in 0..ROUNDS_MAX {
            let mount = self.come_to(&point)?;
            match Root::open(&point, stepwise) {
                Ok(root) if root.mount_id() == Ok(mount.id) => return Ok(root),
                Ok(_) => {} // mounted or unmounted by others meanwhile
                Err(Errno::STALE) => self.renew(&point, &mount)?,
                Err(errno) => return Err(self.failed("open", errno.into())),
            }
        }
        let why = "it is mounted and unmounted all the time";
        Err(self.failed("open", io::Error::other(why)))
    }

    /// Ends this worker's use, and takes the mount down if nobody else needs it. Never waits for the server.
    pub(super) fn leave(&self) {
        // Somebody who mounts just now has a clock; the mount that may come of it stays for the next worker.
        let Ok(mut own) = self.own.try_lock() else {
            tracing::warn!(
                share = self.nfs.share,
                "the share is being mounted; it is left as it is"
            );
            return;
        };
        own.has_left = true;
        let Some(in_use) = own.in_use.take() else {
            return;
        };
        drop(in_use);
        let taken_down = self
            .point()
            .map_err(io::Error::other)
            .and_then(|point| self.take_down(&point));
        match taken_down {
            Ok(what) => tracing::info!(share = self.nfs.share, "{what}"),
            Err(error) => tracing::warn!(share = self.nfs.share, %error, "the share stays mounted"),
        }
    }

    fn take_down(&self, point: &Path) -> io::Result<&'static str> {
        let mut lock = Lock::take(point, self.nfs.mount_timeout)?;
        let Some(mount) = self.mounted(point)? else {
            return Ok("the share is not mounted any more");
        };
        if !lock.was_made_by_a_worker(mount.id)? {
            return Ok("the share stays mounted: no worker mounted it");
        }
        if !lock.is_unused()? {
            return Ok("the share stays mounted: other workers use it");
        }
        self.system.unmount(point)?;
        lock.forget()?;
        Ok("the share is unmounted")
    }

    /// The directory to mount at, without links in its path: the kernel tells mounts by that.
    fn point(&self) -> Result<PathBuf, StoreError> {
        let base = &self.nfs.mount_base;
        let made = || {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(base);
            made.and_then(|()| base.canonicalize())
        };
        made()
            .map(|base| base.join(name_of(&self.nfs.share)))
            .map_err(|source| self.failed("make the mount point of", source))
    }

    fn mounted(&self, point: &Path) -> io::Result<Option<Mount>> {
        let text = std::fs::read(&self.system.mountinfo)?;
        Ok(mountinfo::mounted_at(&text, point))
    }

    /// The share's mount, made now if there is none; this worker is among its users then.
    fn come_to(&self, point: &Path) -> Result<Mount, StoreError> {
        let mut own = self.own();
        let reads = |source| self.failed("find", source);
        if own.in_use.is_some()
            && let Some(mount) = self.mounted(point).map_err(reads)?
        {
            drop(own);
            return self.checked(mount);
        }
        self.under_lock(&mut own, point, |lock| {
            if let Some(mount) = self.mounted(point)? {
                return Ok(mount);
            }
            self.mount(lock, point)
        })
        .and_then(|mount| self.checked(mount))
    }

    /// Mounts again what has become stale: the server has it no more under its old handle.
    fn renew(&self, point: &Path, stale: &Mount) -> Result<(), StoreError> {
        let mut own = self.own();
        self.under_lock(&mut own, point, |lock| {
            let now = self.mounted(point)?;
            if now.as_ref().map(|mount| mount.id) != Some(stale.id) {
                return Ok(()); // another was quicker
            }
            if !lock.was_made_by_a_worker(stale.id)? {
                let why = "it is stale, and no worker mounted it: unmount it, and mount it again";
                return Err(io::Error::other(why));
            }
            tracing::warn!(
                share = self.nfs.share,
                "the share is stale; it is mounted again"
            );
            // Other workers that use it have nothing of it either.
            self.system.unmount(point)?;
            lock.forget()?;
            self.mount(lock, point).map(drop)
        })
    }

    /// Does what only one worker of the machine may do at a time, as a user of the mount.
    fn under_lock<T>(
        &self,
        own: &mut Own,
        point: &Path,
        deed: impl FnOnce(&mut Lock) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let deed = |own: &mut Own| {
            if own.has_left {
                return Err(io::Error::other("this worker is about to end"));
            }
            let mut lock = Lock::take(point, self.nfs.mount_timeout)?;
            if own.in_use.is_none() {
                own.in_use = Some(lock.begin_use()?);
            }
            deed(&mut lock)
        };
        if let Some((when, why)) = &own.failed
            && when.elapsed() < FAILED_LATELY
        {
            return Err(self.failed("mount", io::Error::other(why.clone())));
        }
        let done = deed(own);
        own.failed = done
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.to_string()));
        done.map_err(|source| self.failed("mount", source))
    }

    fn mount(&self, lock: &mut Lock, point: &Path) -> io::Result<Mount> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(point)?;
        self.system.mount(&self.nfs, point)?;
        let mount = self.mounted(point)?;
        let mount = mount.ok_or_else(|| {
            io::Error::other("`mount` said that all is well, and it is not mounted")
        })?;
        lock.note(mount.id)?;
        tracing::info!(
            share = self.nfs.share,
            point = %point.display(),
            options = mount.options,
            "the share is mounted"
        );
        Ok(mount)
    }

    /// Only the whole share counts, whoever mounted it.
    fn checked(&self, mount: Mount) -> Result<Mount, StoreError> {
        let is_nfs = matches!(mount.fs_type.as_str(), "nfs" | "nfs4");
        let wanted = without_end(&self.nfs.share);
        if is_nfs && mount.root == Path::new("/") && without_end(&mount.source) == wanted {
            return Ok(mount);
        }
        let Mount {
            source,
            fs_type,
            root,
            ..
        } = mount;
        Err(StoreError::WrongTarget {
            root: self.shown().display().to_string(),
            why: format!(
                "`{source}` ({fs_type}, from `{}`) is mounted there, and `{}` is configured",
                root.display(),
                self.nfs.share
            ),
        })
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, verb: &'static str, source: io::Error) -> StoreError {
        let path = self.nfs.share.clone();
        StoreError::Io { verb, path, source }
    }
}

/// Where a share is mounted.
pub(crate) fn mount_point(nfs: &Nfs) -> PathBuf {
    nfs.mount_base.join(name_of(&nfs.share))
}

/// Cinder's name for the mount point of a share (os-brick: `remotefs.py`, `get_mount_point`).
fn name_of(share: &str) -> String {
    hex::encode(Md5::digest(share.as_bytes()))
}

/// The kernel tells `host:/path/` as `host:/path`.
fn without_end(share: &str) -> &str {
    share.trim_end_matches('/')
}
