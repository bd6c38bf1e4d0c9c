//! Backups in a directory of a mounted file system, laid out as Cinder's posix, nfs and glusterfs
//! drivers lay them out.
//!
//! What Cinder leaves out is here: an object is written in the scratch place, made durable, and
//! only then renamed; a directory is synced after its names change. Nothing but the scratch place
//! is ever beside a prefix.
//!
//! **Invariants.** No path is followed through a symbolic link below the root. Writing goes
//! through a root that was seen with the right marker, and stays on that file system even when
//! another is mounted over it meanwhile.

mod container;
mod marker;
mod publish;
mod root;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use common::domain::ContainerName;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use uuid::Uuid;

use self::container::{
    CONTAINER_MODE, Container, PARENT_MODE, check_name, check_scratch, create, expect, failed,
    forget, io_failed, make_directory, unlink,
};
use super::nfs::Share;
use super::{BackupStore, Part, StoreError};

pub use marker::init_target;
pub(super) use marker::mark;
pub(super) use root::Root;
pub use tree::containers;

const STREAM_BUFFER: usize = 256 << 10;
/// Another execution may still write into a scratch place that is being removed.
const SCRATCH_ROUNDS_MAX: usize = 5;

/// A target directory.
#[derive(Debug)]
pub struct PosixStore {
    path: PathBuf,
    /// What is mounted at the path first, and unmounted at the end.
    share: Option<Share>,
    expected: Option<Uuid>,
    stepwise: bool,
    /// The root as it was when its marker was last checked: the only one that is written to.
    checked: RwLock<Option<Arc<Root>>>,
}

impl PosixStore {
    /// A store at `path`. With `target_id`, only the target of that id is written to; without,
    /// any prepared one. Nothing is touched yet: the directory may still be unmounted.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, target_id: Option<Uuid>) -> Self {
        Self {
            path: path.into(),
            share: None,
            expected: target_id,
            stepwise: false,
            checked: RwLock::new(None),
        }
    }

    /// The same on a share that is mounted when it is needed.
    pub(super) fn on_share(share: Share, target_id: Option<Uuid>) -> Self {
        Self {
            path: share.shown(),
            share: Some(share),
            expected: target_id,
            stepwise: false,
            checked: RwLock::new(None),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root for reading: looked up each time, so that what is mounted late is found.
    fn root(&self) -> Result<Root, StoreError> {
        match &self.share {
            Some(share) => share.open_root(self.stepwise),
            None => Root::open(&self.path, self.stepwise)
                .map_err(|errno| failed("open", &self.path.display().to_string(), errno)),
        }
    }

    /// An object's file, and its size.
    fn object(&self, container: &ContainerName, object: &str) -> Result<(File, u64), StoreError> {
        check_name(object)?;
        let container = Container::open(&self.root()?, container)?;
        container.file(&container.fd, object)
    }

    /// The root for writing.
    fn writable(&self) -> Result<Arc<Root>, StoreError> {
        let known = self.checked.read().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(root) => Ok(Arc::clone(root)),
            None => {
                drop(known);
                self.check()
            }
        }
    }

    /// Looks at the marker. No lock is held meanwhile: a share may hang.
    fn check(&self) -> Result<Arc<Root>, StoreError> {
        let look = || {
            let root = Arc::new(self.root()?);
            marker::check(&root, &self.path, self.expected)?;
            Ok(root)
        };
        let seen = look();
        let mut known = self.checked.write().unwrap_or_else(PoisonError::into_inner);
        *known = seen.as_ref().ok().map(Arc::clone);
        seen
    }
}

impl BackupStore for PosixStore {
    fn check_marker(&self) -> Result<(), StoreError> {
        self.check().map(drop)
    }

    fn leave(&self) {
        let known = &mut *self.checked.write().unwrap_or_else(PoisonError::into_inner);
        drop(known.take()); // an open directory would hold the mount
        if let Some(share) = &self.share {
            share.leave();
        }
    }

    fn prepare(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        check_scratch(scratch)?;
        let root = self.writable()?;
        let path = container.as_str();
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        let mut parent = None;
        for end in ends.into_iter().map(Some).chain([None]) {
            let (so_far, mode) = match end {
                Some(end) => (&path[..end], PARENT_MODE),
                None => (path, CONTAINER_MODE),
            };
            let name = so_far.rsplit('/').next().unwrap_or(so_far);
            let above = parent.as_ref().map_or(root.fd(), OwnedFd::as_fd);
            make_directory(above, name, mode, end.is_none())
                .map_err(|errno| failed("make", so_far, errno))?;
            let made = root
                .directory(so_far)
                .map_err(|errno| failed("open", so_far, errno))?;
            parent = Some(made);
        }
        let container = Container::open(&root, container)?;
        make_directory(container.fd.as_fd(), scratch, CONTAINER_MODE, true)
            .map_err(|errno| failed("make", &container.below(scratch), errno))?;
        // Who renamed segments into it may have crashed before they were durable, and they are gone on with.
        rustix::fs::fsync(container.scratch(scratch)?)
            .map_err(|errno| failed("sync", &container.below(scratch), errno))
    }

    fn write_part(
        &self,
        container: &ContainerName,
        scratch: &str,
        part: &str,
        data: &[u8],
    ) -> Result<Part, StoreError> {
        check_name(part)?;
        let root = self.writable()?;
        let container = Container::open(&root, container)?;
        let directory = container.scratch(scratch)?;
        let write = || {
            common::faults::io("store.io")?;
            unlink(&directory, part)?;
            let mut file = create(&directory, part)?;
            file.write_all(data)?;
            forget(&file);
            Ok(())
        };
        write().map_err(|source: io::Error| io_failed("write", &container.below(part), source))?;
        Ok(Part {
            name: part.to_owned(),
            bytes: data.len() as u64,
        })
    }

    fn discard_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        prefix: &str,
    ) -> Result<(), StoreError> {
        let root = self.writable()?;
        let container = Container::open(&root, container)?;
        let directory = container.scratch(scratch)?;
        let failed = |verb| {
            let path = container.below(scratch);
            move |source| io_failed(verb, &path, source)
        };
        for name in root::names(&directory).map_err(failed("list"))? {
            if name.starts_with(prefix) {
                unlink(&directory, &name).map_err(failed("remove"))?;
            }
        }
        Ok(())
    }

    fn publish_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        parts: &[(Part, String)],
    ) -> Result<(), StoreError> {
        if parts.is_empty() {
            return Ok(());
        }
        let root = self.writable()?;
        publish::publish(&Container::open(&root, container)?, scratch, parts)
    }

    fn put_stream(
        &self,
        container: &ContainerName,
        scratch: &str,
        object: &str,
        in_scratch: bool,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        check_name(object)?;
        let root = self.writable()?;
        let container = Container::open(&root, container)?;
        let directory = container.scratch(scratch)?;
        let destination = if in_scratch {
            &directory
        } else {
            &container.fd
        };
        // A name of this call alone: an execution that was given up may be at the same object.
        let unfinished = format!("put-{}", Uuid::now_v7());
        let mut put = || {
            common::faults::io("store.io")?;
            let mut out = BufWriter::with_capacity(STREAM_BUFFER, create(&directory, &unfinished)?);
            write(&mut out)?;
            out.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            rustix::fs::renameat(&directory, &unfinished, destination, object)?;
            io::Result::Ok(rustix::fs::fsync(destination)?)
        };
        put().map_err(|source| {
            // Gone already once it was renamed; and if it cannot be removed, the scratch place goes later.
            let _ = rustix::fs::unlinkat(&directory, &unfinished, AtFlags::empty());
            io_failed("write", &container.below(object), source)
        })
    }

    fn open(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        let (file, size) = self.object(container, object)?;
        Ok((Box::new(file), size))
    }

    fn will_read(&self, container: &ContainerName, object: &str) {
        if let Ok((file, _)) = self.object(container, object) {
            expect(&file);
        }
    }

    fn open_in_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
        name: &str,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        check_name(name)?;
        let container = Container::open(&self.root()?, container)?;
        let (file, _) = container.file(&container.scratch(scratch)?, name)?;
        Ok(Box::new(file))
    }

    fn for_each_name(
        &self,
        container: &ContainerName,
        prefix: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        let container = match Container::open(&self.root()?, container) {
            Err(StoreError::NoSuchContainer { .. }) => return Ok(()),
            opened => opened?,
        };
        let mut matching = |name: &str| {
            if name.starts_with(prefix) {
                tell(name);
            }
        };
        root::for_each_name(&container.fd, &mut matching)
            .map_err(|source| io_failed("list", container.name.as_str(), source))
    }

    fn list_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Vec<String>, StoreError> {
        let open = || {
            let container = Container::open(&self.root()?, container)?;
            container.scratch(scratch)
        };
        let directory = match open() {
            Err(StoreError::NoSuchContainer { .. } | StoreError::NoSuchObject { .. }) => {
                return Ok(Vec::new());
            }
            opened => opened?,
        };
        root::names(&directory).map_err(|source| io_failed("list", scratch, source))
    }

    fn remove(&self, container: &ContainerName, objects: &[String]) -> Result<(), StoreError> {
        let container = match Container::open(&*self.writable()?, container) {
            Err(StoreError::NoSuchContainer { .. }) => return Ok(()),
            opened => opened?,
        };
        for object in objects {
            check_name(object)?;
            common::faults::io("store.io")
                .and_then(|()| unlink(&container.fd, object))
                .map_err(|source| io_failed("remove", &container.below(object), source))?;
        }
        // Also when all were gone: whoever removed them may not have come this far.
        container.sync()
    }

    fn remove_scratch(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        let container = match Container::open(&*self.writable()?, container) {
            Err(StoreError::NoSuchContainer { .. }) => return Ok(()),
            opened => opened?,
        };
        let path = container.below(scratch);
        for round in 1.. {
            let directory = match container.scratch(scratch) {
                Err(StoreError::NoSuchObject { .. }) => break,
                opened => opened?,
            };
            for name in
                root::names(&directory).map_err(|source| io_failed("list", &path, source))?
            {
                unlink(&directory, &name).map_err(|source| io_failed("remove", &path, source))?;
            }
            match rustix::fs::unlinkat(&container.fd, scratch, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) if round < SCRATCH_ROUNDS_MAX => {}
                Ok(()) | Err(Errno::NOENT) => break,
                Err(errno) => return Err(failed("remove", &path, errno)),
            }
        }
        container.sync()
    }
}
