//! What lies on the backup target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::domain::BackupId;
use sha2::{Digest, Sha256};

/// A backup target as a directory.
#[derive(Debug, Clone)]
pub struct Target {
    root: PathBuf,
}

/// Every file of a tree: its bytes' SHA-256 by its path below the root.
pub type Tree = BTreeMap<PathBuf, String>;

impl Target {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Paths of all files, below the root, sorted.
    ///
    /// # Panics
    /// When a directory cannot be read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        files_below(&self.root)
    }

    /// Paths of all that belongs to a backup: its objects, its closing files, its scratch places.
    #[must_use]
    pub fn files_of(&self, id: BackupId) -> Vec<PathBuf> {
        let id = id.to_string();
        let mut files = self.files();
        files.retain(|path| {
            // A container may be named after the backup too; only what lies in it counts.
            path.components()
                .any(|part| is_named_after(&part.as_os_str().to_string_lossy(), &id))
        });
        files
    }

    /// Data objects of a backup, in order.
    #[must_use]
    pub fn objects_of(&self, id: BackupId) -> Vec<PathBuf> {
        let marker = format!("_backup_{id}-");
        let mut files = self.files();
        files.retain(|path| name_of(path).contains(&marker));
        files
    }

    /// Segments that a running backup has sealed.
    #[must_use]
    pub fn segments_of(&self, id: BackupId) -> Vec<PathBuf> {
        let scratch = format!(".emberkeep-{id}-a");
        let mut files = self.files();
        files.retain(|path| {
            let within = path.parent().map(name_of).unwrap_or_default();
            within.starts_with(&scratch) && name_of(path).starts_with("segment")
        });
        files
    }

    /// Bytes of the volume that a running backup has sealed, as its segments tell: `end` in `docs/format.md`.
    ///
    /// # Panics
    /// When a segment cannot be read.
    #[must_use]
    pub fn sealed_bytes_of(&self, id: BackupId) -> u64 {
        const END: std::ops::Range<usize> = 36..44;
        let ends = self.segments_of(id).into_iter().map(|path| {
            let bytes = std::fs::read(self.root.join(path)).expect("a segment can be read");
            let end = bytes[END].try_into().expect("a segment has a head");
            u64::from_le_bytes(end)
        });
        ends.max().unwrap_or(0)
    }

    /// The metadata file of a backup, if it is there.
    #[must_use]
    pub fn metadata_of(&self, id: BackupId) -> Option<PathBuf> {
        let suffix = format!("_backup_{id}_metadata");
        self.files()
            .into_iter()
            .find(|path| name_of(path).ends_with(&suffix))
    }

    /// Bytes of the data objects of a backup.
    ///
    /// # Panics
    /// When one cannot be read.
    #[must_use]
    pub fn stored_bytes(&self, id: BackupId) -> u64 {
        self.objects_of(id)
            .iter()
            .map(|path| {
                let path = self.root.join(path);
                path.metadata().expect("an object is there").len()
            })
            .sum()
    }

    /// All that counts of a finished backup, with its contents, to compare later: what begins as
    /// its metadata file does. Leftovers of other attempts are no part of it.
    ///
    /// # Panics
    /// When there is no metadata file, or a file cannot be read.
    #[must_use]
    pub fn tree_of(&self, id: BackupId) -> Tree {
        let metadata = self.metadata_of(id).expect("a backup has a metadata file");
        let prefix = metadata.to_string_lossy().replace("_metadata", "");
        let mut files = self.files();
        files.retain(|path| path.to_string_lossy().starts_with(&prefix));
        files
            .into_iter()
            .map(|path| {
                let bytes = std::fs::read(self.root.join(&path)).expect("a file can be read");
                (path, hex::encode(Sha256::digest(bytes)))
            })
            .collect()
    }
}

/// Whether a file or directory is one of ours for this backup, and not its container.
fn is_named_after(name: &str, id: &str) -> bool {
    name.contains(&format!("_backup_{id}")) || name.starts_with(&format!(".emberkeep-{id}"))
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Paths of all files below a directory, relative to it, sorted. What goes away while it is
/// read is left out; links are not followed.
pub(crate) fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory {
                open.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                files.push(path.to_owned());
            }
        }
    }
    files.sort();
    files
}
