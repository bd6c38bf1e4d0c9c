//! The volumes that are backed up, made by a seed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::files::find_program;
use crate::say;

const MIB: u64 = 1 << 20;
/// Changes come in runs of this length.
const CHANGE_BYTES: usize = 64 << 10;
/// A larger file would be most of a small image.
const LARGEST_FILE: u64 = 64 * MIB;

/// With less an ext4 has no room for files.
const SMALLEST: u64 = 16 * MIB;

/// Kinds of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Image {
    /// An ext4 file system, seven tenths full of this machine's own files
    Ext4,
    /// Bytes that nothing shrinks
    Random,
    /// Sixteen times as large as the others' data: an ext4 with a sixteenth of it used
    Sparse,
    /// Like the first, an eighth of its size: for what is slow
    Small,
}

impl Image {
    /// Its name in files and tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Random => "random",
            Self::Sparse => "sparse",
            Self::Small => "small ext4",
        }
    }

    /// Seconds that all its rows should take in three rounds, by what full runs took with two cores.
    pub(super) fn expected_s(self) -> f64 {
        match self {
            Self::Ext4 => 480.0,
            Self::Random => 360.0,
            Self::Sparse => 1080.0,
            Self::Small => 90.0,
        }
    }

    /// Makes the volume's file. `size_bytes` is that of an image without holes.
    ///
    /// # Errors
    /// When the system refuses, or has no files to take.
    pub(super) fn make(
        self,
        file: &Path,
        scratch: &Path,
        size_bytes: u64,
        seed: u64,
    ) -> Result<()> {
        say::line(format_args!("Making the image `{}`", self.name()));
        match self {
            Self::Ext4 => ext4(file, scratch, size_bytes, size_bytes * 7 / 10, seed),
            Self::Sparse => ext4(file, scratch, 16 * size_bytes, size_bytes * 9 / 10, seed),
            Self::Random => random(file, size_bytes, seed),
            Self::Small => {
                let size_bytes = (size_bytes / 8).max(SMALLEST);
                ext4(file, scratch, size_bytes, size_bytes * 7 / 10, seed)
            }
        }
    }
}

/// An ext4 with `used_bytes` of files of this machine's, chosen by the seed.
fn ext4(file: &Path, scratch: &Path, size_bytes: u64, used_bytes: u64, seed: u64) -> Result<()> {
    let tree = scratch.join("tree");
    std::fs::create_dir(&tree).context("make a tree of files")?;
    let mut candidates = Vec::new();
    for root in ["/usr/bin", "/usr/lib", "/usr/share"] {
        collect(Path::new(root), &mut candidates);
    }
    candidates.sort();
    let mut random = Random::new(seed);
    let mut used = 0;
    let mut number = 0_u32;
    while used < used_bytes && !candidates.is_empty() {
        let at = random.below(candidates.len());
        let (source, length) = candidates.swap_remove(at);
        if used + length > used_bytes + MIB {
            continue;
        }
        let folder = tree.join(format!("{:03}", number / 500));
        std::fs::create_dir_all(&folder).context("make a folder")?;
        // A file that went away meanwhile, or may not be read, is not missed.
        if std::fs::copy(&source, folder.join(number.to_string())).is_ok() {
            used += length;
            number += 1;
        }
    }
    anyhow::ensure!(
        number > 0,
        "this machine has no files below /usr to fill an image with"
    );
    File::create_new(file)
        .and_then(|file| file.set_len(size_bytes))
        .with_context(|| format!("make {}", file.display()))?;
    let mut mke2fs = std::process::Command::new(find_program("mke2fs").context("find mke2fs")?);
    mke2fs
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-d"])
        .arg(&tree)
        .arg(file);
    let made = mke2fs.output().context("start mke2fs")?;
    anyhow::ensure!(
        made.status.success(),
        "mke2fs: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    std::fs::remove_dir_all(&tree).context("remove the tree of files")
}

/// Regular files below a folder, with their lengths.
fn collect(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    let Ok(entries) = folder.read_dir() else {
        return;
    };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => collect(&entry.path(), found),
            Ok(metadata) if metadata.is_file() && (1..LARGEST_FILE).contains(&metadata.len()) => {
                found.push((entry.path(), metadata.len()));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

fn random(file: &Path, size_bytes: u64, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let mut write = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(file)?);
        let mut bytes = vec![0; CHANGE_BYTES];
        for _ in 0..size_bytes / CHANGE_BYTES as u64 {
            random.fill(&mut bytes);
            file.write_all(&bytes)?;
        }
        file.flush()
    };
    write().with_context(|| format!("make {}", file.display()))
}

/// Makes `changed` like `original`, but with 1 % of it overwritten.
///
/// # Errors
/// When the system refuses.
pub(super) fn change(original: &Path, changed: &Path, seed: u64) -> Result<()> {
    copy(original, changed)?;
    overwrite(changed, seed)
}

/// A copy with the same holes.
///
/// # Errors
/// When the system refuses.
pub(super) fn copy(original: &Path, copy: &Path) -> Result<()> {
    let mut cp = std::process::Command::new("cp");
    cp.args(["--sparse=always", "--reflink=auto", "--"])
        .arg(original)
        .arg(copy);
    let copied = cp.status().context("start cp")?;
    anyhow::ensure!(copied.success(), "copy {}", original.display());
    Ok(())
}

/// Overwrites 1 % of the runs that are not zeros by random bytes, one at least, in places that the seed chooses.
///
/// # Errors
/// When the system refuses.
pub(super) fn overwrite(volume: &Path, seed: u64) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let file = File::options().read(true).write(true).open(volume)?;
        let mut used = Vec::new();
        let mut bytes = vec![0; CHANGE_BYTES];
        for offset in (0..file.metadata()?.len()).step_by(CHANGE_BYTES) {
            let got = file.read_at(&mut bytes, offset)?;
            if got == CHANGE_BYTES && bytes.iter().fold(0, |or, byte| or | byte) != 0 {
                used.push(offset);
            }
        }
        let mut random = Random::new(seed ^ 0x00c0_ffee);
        for _ in 0..(used.len() / 100).max(1).min(used.len()) {
            let at = random.below(used.len());
            random.fill(&mut bytes);
            file.write_all_at(&bytes, used.swap_remove(at))?;
        }
        file.sync_all()
    };
    write().with_context(|| format!("change {}", volume.display()))
}

/// xorshift64*: the same numbers for the same seed, on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.next() >> 16) % end as u64).unwrap_or(0)
    }

    /// Above 0, at most 1.
    pub(super) fn unit(&mut self) -> f64 {
        const STEPS: u32 = 1 << 30;
        let step = u32::try_from(self.next() >> 34).unwrap_or(STEPS - 1);
        f64::from(step + 1) / f64::from(STEPS)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.as_chunks_mut().0 {
            *word = self.next().to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_image_and_one_percent_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        random(&at("a"), 20 * MIB, 7).unwrap();
        random(&at("b"), 20 * MIB, 7).unwrap();
        let original = std::fs::read(at("a")).unwrap();
        assert!(original == std::fs::read(at("b")).unwrap());
        change(&at("a"), &at("c"), 7).unwrap();
        let changed = std::fs::read(at("c")).unwrap();
        let differ = |(old, new): (&[u8], &[u8])| old != new;
        let runs = original
            .chunks(CHANGE_BYTES)
            .zip(changed.chunks(CHANGE_BYTES));
        assert_eq!(runs.filter(|pair| differ(*pair)).count(), 3);
    }

    #[test]
    fn zeros_are_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = File::create(at("a")).unwrap();
        file.set_len(2 * MIB).unwrap();
        file.write_all_at(&[1], MIB).unwrap();
        change(&at("a"), &at("b"), 1).unwrap();
        let changed = std::fs::read(at("b")).unwrap();
        let hole = usize::try_from(MIB).unwrap();
        assert!(changed[..hole].iter().all(|byte| *byte == 0));
        assert!(
            changed[hole..hole + CHANGE_BYTES]
                .iter()
                .any(|byte| *byte > 1)
        );
    }
}
