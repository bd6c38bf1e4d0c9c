//! A folder whose file system shares blocks between files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::files;

/// The folder; what was mounted for it is unmounted when this is dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    kind: String,
    mounted: bool,
}

impl Place {
    /// A folder that is there.
    ///
    /// # Errors
    /// When its file system cannot share blocks.
    pub fn at(dir: &Path) -> Result<Self> {
        files::make_private_dir(dir)?;
        let path = dir
            .canonicalize()
            .with_context(|| format!("find {}", dir.display()))?;
        let place = Self {
            kind: path.display().to_string(),
            path,
            mounted: false,
        };
        place.check()?;
        Ok(place)
    }

    /// A new XFS in a file below `dir`, with room for `bytes` twice.
    ///
    /// # Errors
    /// When this user may not mount, or `mkfs.xfs` fails.
    pub fn mounted(dir: &Path, bytes: u64) -> Result<Self> {
        anyhow::ensure!(
            rustix::process::geteuid().is_root(),
            "an ordinary user cannot mount a file system: be root, or name a folder on XFS or btrfs with --dir"
        );
        let image = dir.join("volumes.img");
        let file = File::create(&image).with_context(|| format!("make {}", image.display()))?;
        file.set_len(bytes * 5 / 2 + (1 << 30))
            .with_context(|| format!("make {}", image.display()))?;
        succeed(
            Command::new("mkfs.xfs")
                .args(["-q", "-m", "reflink=1"])
                .arg(&image),
        )?;
        let path = dir.join("volumes");
        files::make_private_dir(&path)?;
        succeed(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&path),
        )
        .context("mount a file system")?;
        let place = Self {
            path,
            kind: "XFS".to_owned(),
            mounted: true,
        };
        place.check()?;
        Ok(place)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    fn check(&self) -> Result<()> {
        let (one, other) = (self.path.join(".one"), self.path.join(".other"));
        std::fs::write(&one, [1; 4096]).context("write a file")?;
        let source = File::open(&one).context("open a file")?;
        let clone = File::create(&other).context("make a file")?;
        let cloned = rustix::fs::ioctl_ficlone(&clone, &source);
        for path in [one, other] {
            std::fs::remove_file(path).context("remove a file")?;
        }
        cloned.with_context(|| format!("{} shares no blocks between files", self.path.display()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a process that is just ending may still have a file open.
            let _ = succeed(Command::new("umount").arg("-l").arg(&self.path));
        }
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().context("start a program")?;
    anyhow::ensure!(
        output.status.success(),
        "{:?} failed: {}",
        command.get_program(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
