//! Finding files below a root without ever leaving it.
//!
//! Every path is resolved by the kernel relative to an open directory, with symbolic links refused
//! on the whole way, so that neither a hostile name nor a link planted between check and use leads
//! out. Kernels without `openat2` get the same by one `O_NOFOLLOW` step for each component.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::VolumeError;

/// Nobody but the worker's user reads volume data.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A name inside an opened directory: where a volume's file is, or may come to be.
#[derive(Debug)]
pub(super) struct Place {
    dir: OwnedFd,
    name: String,
    /// For messages: the path below the root.
    shown: String,
}

impl Place {
    /// Walks from `root` to the directory that holds the last component of `path`, a relative path.
    pub(super) fn find(root: &Path, path: &str) -> Result<Self, VolumeError> {
        let directory = OFlags::DIRECTORY | OFlags::RDONLY;
        let root = rustix::fs::open(root, directory | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| VolumeError::BackendAway(errno.into()))?;
        let (dir, name) = match path.rsplit_once('/') {
            Some((parents, name)) => {
                let dir = open_beneath(root.as_fd(), parents, directory, Mode::empty())
                    .map_err(|errno| refusal(path, "open the directory of", errno))?;
                (dir, name)
            }
            None => (root, path),
        };
        if matches!(name, "" | "." | "..") {
            return Err(refused(path, "it is not the name of a file"));
        }
        Ok(Self {
            dir,
            name: name.to_owned(),
            shown: path.to_owned(),
        })
    }

    /// The path below the root, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The name inside its directory.
    pub(super) fn file_name(&self) -> &str {
        &self.name
    }

    /// Another name in the same directory.
    pub(super) fn beside(&self, name: &str) -> Result<Self, VolumeError> {
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(refused(name, "it is not the name of a file"));
        }
        let dir = self
            .dir
            .try_clone()
            .map_err(|source| self.io("open the directory of", source))?;
        Ok(Self {
            dir,
            name: name.to_owned(),
            shown: name.to_owned(),
        })
    }

    /// Opens the regular file that is there; anything else is refused. `None` when nothing is there.
    pub(super) fn open(&self, access: OFlags) -> Result<Option<File>, VolumeError> {
        // NONBLOCK: a planted named pipe must not hold us.
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY;
        match open_beneath(self.dir.as_fd(), &self.name, flags, Mode::empty()) {
            Ok(fd) => self.regular(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refusal(&self.shown, "open", errno)),
        }
    }

    /// As [`Place::open`], for a file that has to be there.
    pub(super) fn open_existing(&self, access: OFlags) -> Result<File, VolumeError> {
        self.open(access)?.ok_or_else(|| VolumeError::NoSuchVolume {
            volume: self.shown.clone(),
        })
    }

    /// Makes an empty file; `None` when the name is taken.
    pub(super) fn create_new(&self) -> Result<Option<File>, VolumeError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match open_beneath(self.dir.as_fd(), &self.name, flags, PRIVATE) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(refusal(&self.shown, "create", errno)),
        }
    }

    /// Makes a file without a name in the same directory, which is gone when it is closed; `None` where the file system
    /// has none such.
    pub(super) fn unnamed(&self) -> Result<Option<File>, VolumeError> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, ".", flags, PRIVATE) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(self.io("make a file beside", errno.into())),
        }
    }

    /// Removes the file and tells whether there was one. A directory is refused; of a symbolic link
    /// only the link goes, and only if `link_too`.
    pub(super) fn remove(&self, link_too: bool) -> Result<bool, VolumeError> {
        let stat = match rustix::fs::statat(&self.dir, &*self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(refusal(&self.shown, "look at", errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink if link_too => {}
            _ => return Err(refused(&self.shown, "it is not a regular file")),
        }
        match rustix::fs::unlinkat(&self.dir, &*self.name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(refusal(&self.shown, "remove", errno)),
        }
    }

    /// Gives the file the name of `to`, in the same directory, unless that name is taken; tells
    /// whether it was free.
    pub(super) fn publish_as(&self, to: &Self) -> Result<bool, VolumeError> {
        let renamed = rustix::fs::renameat_with(
            &self.dir,
            &*self.name,
            &to.dir,
            &*to.name,
            RenameFlags::NOREPLACE,
        );
        let published = match renamed {
            // Some file systems do not know NOREPLACE; a link never replaces either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.dir, &*self.name, &to.dir, &*to.name, AtFlags::empty())
                    .and_then(|()| rustix::fs::unlinkat(&self.dir, &*self.name, AtFlags::empty()))
            }
            other => other,
        };
        match published {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(refusal(&to.shown, "publish", errno)),
        }
    }

    /// Names in the same directory for which `wanted` holds.
    pub(super) fn names_beside(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, VolumeError> {
        let failed = |errno: Errno| self.io("list the directory of", errno.into());
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str()
                && wanted(name)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes names that came or went durable.
    pub(super) fn sync_directory(&self) -> Result<(), VolumeError> {
        rustix::fs::fsync(&self.dir)
            .map_err(|errno| self.io("make durable the name of", errno.into()))
    }

    /// An error of the system about this file.
    pub(super) fn io(&self, verb: &'static str, source: io::Error) -> VolumeError {
        VolumeError::Io {
            verb,
            volume: self.shown.clone(),
            source,
        }
    }

    fn regular(&self, fd: OwnedFd) -> Result<File, VolumeError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.io("look at", errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused(&self.shown, "it is not a regular file"));
        }
        Ok(File::from(fd))
    }
}

fn refused(path: &str, why: &str) -> VolumeError {
    VolumeError::Refused {
        volume: path.to_owned(),
        why: why.to_owned(),
    }
}

/// What a failed look-up means: the tree is hostile, empty there, or broken.
fn refusal(path: &str, verb: &'static str, errno: Errno) -> VolumeError {
    match errno {
        Errno::LOOP => refused(path, "it leads over a symbolic link"),
        Errno::XDEV => refused(path, "it leads out of the backend's root"),
        Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => refused(path, "it is not a regular file"),
        Errno::NAMETOOLONG | Errno::INVAL => refused(path, "it is no name the backend can have"),
        Errno::NOENT => VolumeError::NoSuchVolume {
            volume: path.to_owned(),
        },
        other => VolumeError::Io {
            verb,
            volume: path.to_owned(),
            source: other.into(),
        },
    }
}

/// Set once the kernel has said that it has no `openat2`.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens a relative path below `dir`, following no symbolic link on the whole way.
fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        match open_in_one_step(dir, path, flags, mode) {
            // EPERM: how older container runtimes answer a call they do not know.
            Err(Errno::NOSYS | Errno::PERM) => {}
            answer => return answer,
        }
        let answer = open_step_by_step(dir, path, flags, mode);
        if answer.is_ok() {
            WITHOUT_OPENAT2.store(true, Ordering::Relaxed);
        }
        return answer;
    }
    open_step_by_step(dir, path, flags, mode)
}

fn open_in_one_step(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    /// The kernel asks for another try when the tree is renamed under its feet.
    const TRIES: usize = 16;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        answer = rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, within);
        if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    answer
}

fn open_step_by_step(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    if path.starts_with('/') {
        return Err(Errno::XDEV);
    }
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let here = at.as_ref().map_or(dir, AsFd::as_fd);
        let (component, more) = match rest.split_once('/') {
            Some((component, more)) => (component, Some(more)),
            None => (rest, None),
        };
        match component {
            ".." => return Err(Errno::XDEV),
            "" | "." => return Err(Errno::INVAL),
            _ => {}
        }
        let Some(more) = more else {
            return rustix::fs::openat(here, component, flags, mode);
        };
        let next = rustix::fs::openat(here, component, step, Mode::empty())?;
        at = Some(next);
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Opener = fn(BorrowedFd<'_>, &str, OFlags, Mode) -> Result<OwnedFd, Errno>;
    const OPENERS: [(&str, Opener); 2] = [
        ("in one step", open_in_one_step),
        ("step by step", open_step_by_step),
    ];

    #[test]
    fn both_ways_of_opening_stay_below_the_root() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().join("root");
        std::fs::create_dir_all(root.join("inside")).unwrap();
        std::fs::write(tree.path().join("secret"), b"s").unwrap();
        std::fs::write(root.join("inside/volume"), b"v").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        std::os::unix::fs::symlink("volume", root.join("inside/link")).unwrap();
        std::os::unix::fs::symlink("inside", root.join("shortcut")).unwrap();
        std::os::unix::fs::symlink(tree.path(), root.join("out")).unwrap();
        let secret = tree.path().join("secret");
        let dir = rustix::fs::open(&root, OFlags::DIRECTORY, Mode::empty()).unwrap();

        for (name, open) in OPENERS {
            let open = |path: &str| open(dir.as_fd(), path, OFlags::RDONLY, Mode::empty());
            match open("inside/volume") {
                Ok(_) => {}
                Err(Errno::NOSYS) => continue, // this kernel has only the other way
                Err(errno) => panic!("{name}: {errno}"),
            }
            for hostile in [
                "link",
                "inside/link",
                "shortcut/volume",
                "out/secret",
                "../secret",
                "inside/../../secret",
                secret.to_str().unwrap(),
            ] {
                assert!(open(hostile).is_err(), "{hostile} was opened {name}");
            }
        }
    }
}
