//! File systems that share blocks between files, and looks into the page cache, for tests.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tempfile::TempDir;

/// What is made on a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Xfs,
    Btrfs,
}

/// A small file system on a loop device, unmounted when dropped.
pub(crate) struct Mount {
    dir: TempDir,
    volumes: PathBuf,
}

impl Mount {
    /// Why not, where it cannot be had.
    pub(crate) fn new(kind: Kind) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a file system needs root".to_owned());
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(320 << 20).unwrap();
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let (program, options) = match kind {
            Kind::Xfs => ("mkfs.xfs", &["-q", "-m", "reflink=1"][..]),
            Kind::Btrfs => ("mkfs.btrfs", &["-q"][..]),
        };
        run(Command::new(program).args(options).arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(dir.path().join("mnt")))?;
        let volumes = dir.path().join("mnt/volumes");
        std::fs::create_dir(&volumes).unwrap();
        Ok(Self { dir, volumes })
    }

    /// One of each kind that can be had here; says which cannot.
    pub(crate) fn all() -> Vec<Self> {
        [Kind::Xfs, Kind::Btrfs]
            .into_iter()
            .filter_map(|kind| {
                let mount = Self::new(kind);
                mount.map_err(|why| skipped(&why)).ok()
            })
            .collect()
    }

    /// An empty directory on it.
    pub(crate) fn path(&self) -> &Path {
        &self.volumes
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(self.dir.path().join("mnt")));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', " "))
    }
}

/// Says on standard error that a test could not run here; `grep -c SKIPPED:` counts them.
#[expect(
    clippy::print_stderr,
    reason = "a skipped test must be seen by who runs it"
)]
pub(crate) fn skipped(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Whether a file's first byte is in the page cache; `None` where the file system does not tell.
pub(crate) fn is_cached(file: &File) -> Option<bool> {
    let mut byte = [0];
    let at_once = ReadWriteFlags::NOWAIT;
    match preadv2(file, &mut [IoSliceMut::new(&mut byte)], 0, at_once) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}
