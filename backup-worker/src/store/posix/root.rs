//! Paths below the target's root, resolved so that nothing planted in the tree leads out of it.
//!
//! Linux does it in one call (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). Where
//! that call is missing or forbidden, each component is opened on its own without following links.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// How often an interrupted look-up is begun again; the kernel gives up on one when the tree is
/// renamed under it.
const LOOK_UPS_MAX: usize = 8;

/// A directory and the way paths below it are resolved.
#[derive(Debug)]
pub(in crate::store) struct Root {
    fd: OwnedFd,
    /// Leave `openat2` alone.
    stepwise: bool,
}

impl Root {
    /// Opens the root. The operator's path to it may have links.
    pub(in crate::store) fn open(path: &Path, stepwise: bool) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, stepwise })
    }

    /// The mount it lies on, as `/proc/self/mountinfo` numbers it. No server is asked.
    pub(in crate::store) fn mount_id(&self) -> Result<u64, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(&self.fd, "", flags, StatxFlags::MNT_ID)?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return Err(Errno::NOSYS); // a kernel before 5.8
        }
        Ok(stat.stx_mnt_id)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a directory below the root.
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn beneath(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.stepwise {
            return self.step_by_step(path, flags);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for _ in 0..LOOK_UPS_MAX {
            let flags = flags | OFlags::CLOEXEC;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A kernel without it, or a sandbox that does not know it.
                Err(Errno::NOSYS | Errno::PERM) => return self.step_by_step(path, flags),
                outcome => return outcome,
            }
        }
        Err(Errno::AGAIN)
    }

    fn step_by_step(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut components = path.split('/').peekable();
        while let Some(component) = components.next() {
            if matches!(component, "" | "." | "..") {
                return Err(Errno::XDEV); // what openat2 says of a path that leads out
            }
            let flags = if components.peek().is_some() {
                OFlags::PATH | OFlags::DIRECTORY
            } else {
                flags
            };
            let parent = at.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            at = Some(entry(parent, component, flags, Mode::empty())?);
        }
        at.ok_or(Errno::NOENT)
    }
}

/// Opens one entry of a directory, never through a link.
pub(super) fn entry(
    directory: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat(directory, name, flags, mode) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// Tells the names in a directory, in any order. Names that are no UTF-8 are not ours and are left out.
pub(super) fn for_each_name(directory: &OwnedFd, tell: &mut dyn FnMut(&str)) -> io::Result<()> {
    for found in rustix::fs::Dir::read_from(directory)? {
        let found = found?;
        if let Ok(name) = found.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            tell(name);
        }
    }
    Ok(())
}

/// The same names, sorted.
pub(super) fn names(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for_each_name(directory, &mut |name| names.push(name.to_owned()))?;
    names.sort_unstable();
    Ok(names)
}
