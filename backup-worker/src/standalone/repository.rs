//! A stored tree without its database: backups are found by the names of their files.
//!
//! A metadata file is named `…_backup_<id>_metadata`, and names the parent by id. Where the database
//! would know the container, here the one of the id is tried, and then all are.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::domain::{BackupId, ContainerName, ObjectPrefix};
use common::messages::sheet::StoredBackup;

use super::failure::Failure;
use super::watch::Watch;
use crate::format::FormatError;
use crate::format::metadata::{self, MetadataHead, ObjectEntry};
use crate::store::{BackupStore, StoreError, posix};

/// A stored tree.
pub struct Repository {
    path: PathBuf,
    store: Arc<dyn BackupStore>,
    /// Every prefix of the tree by backup; made when a look into one container was not enough.
    index: OnceCell<BTreeMap<BackupId, Vec<Stored>>>,
}

/// What lies under one prefix, or in one scratch place.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) backup_id: BackupId,
    pub(super) container: ContainerName,
    /// `None` when there is only a scratch place.
    pub(super) prefix: Option<ObjectPrefix>,
    /// Whether there is a metadata file: the backup is whole.
    pub(super) is_whole: bool,
    /// Scratch places of the backup in the container.
    pub(super) scratch: Vec<String>,
}

/// What a look for one id came to.
enum Found {
    Whole(StoredBackup),
    Unfinished,
    Nothing,
}

impl Stored {
    /// The backup, if it is whole.
    pub(super) fn whole(&self) -> Option<StoredBackup> {
        self.prefix
            .clone()
            .filter(|_| self.is_whole)
            .map(|prefix| StoredBackup {
                backup_id: self.backup_id,
                container: self.container.clone(),
                prefix,
            })
    }
}

impl Repository {
    /// The tree at `path`.
    ///
    /// # Errors
    /// When there is no directory.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let deed = || format!("open the repository {}", path.display());
        let found = std::fs::metadata(path).map_err(|error| Failure::to(deed(), &error))?;
        if !found.is_dir() {
            return Err(Failure::CouldNot(format!("{}: it is no directory", deed())));
        }
        Ok(Self {
            path: path.to_owned(),
            store: crate::store_at(path),
            index: OnceCell::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> Arc<dyn BackupStore> {
        Arc::clone(&self.store)
    }

    /// Hands on all that is stored, container by container; tells what could not be looked into.
    pub(super) fn scan(
        &self,
        watch: &Watch,
        visit: &mut dyn FnMut(Stored) -> Result<(), Failure>,
    ) -> Result<Vec<StoreError>, Failure> {
        posix::containers(&self.path, &mut |container| {
            watch.check()?;
            for stored in self.in_container(&container)? {
                visit(stored)?;
            }
            Ok(())
        })
    }

    /// All that is stored in one container.
    fn in_container(&self, container: &ContainerName) -> Result<Vec<Stored>, Failure> {
        let mut whole: BTreeMap<ObjectPrefix, bool> = BTreeMap::new();
        let mut scratch: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
        // One by one: a container has as many names as the volume has objects.
        self.store.for_each_name(container, "", &mut |name| {
            if let Some(id) = scratch_of(name) {
                scratch.entry(id).or_default().push(name.to_owned());
            } else if let Some((prefix, is_metadata)) = prefix_of(name) {
                *whole.entry(prefix).or_default() |= is_metadata;
            }
        })?;
        let mut stored: Vec<_> = whole
            .into_iter()
            .filter_map(|(prefix, is_whole)| {
                let backup_id = id_of(&prefix)?;
                Some(Stored {
                    backup_id,
                    container: container.clone(),
                    prefix: Some(prefix),
                    is_whole,
                    scratch: scratch.remove(&backup_id).unwrap_or_default(),
                })
            })
            .collect();
        stored.extend(scratch.into_iter().map(|(backup_id, scratch)| Stored {
            backup_id,
            container: container.clone(),
            prefix: None,
            is_whole: false,
            scratch,
        }));
        Ok(stored)
    }

    /// All that is stored of one backup.
    pub(super) fn stored_of(&self, id: BackupId, watch: &Watch) -> Result<Vec<Stored>, Failure> {
        let mut found = match self.in_container(&ContainerName::from_backup_id(id)) {
            Ok(found) => found,
            Err(Failure::CouldNot(_)) => Vec::new(), // the walk over all tells what is wrong
            Err(other) => return Err(other),
        };
        found.retain(|stored| stored.backup_id == id);
        if found.iter().any(|stored| stored.is_whole) {
            return Ok(found);
        }
        if self.index.get().is_none() {
            let mut index: BTreeMap<_, Vec<_>> = BTreeMap::new();
            self.scan(watch, &mut |stored| {
                index.entry(stored.backup_id).or_default().push(stored);
                Ok(())
            })?;
            let _ = self.index.set(index);
        }
        let index = self.index.get().and_then(|index| index.get(&id));
        Ok(index.cloned().unwrap_or_default())
    }

    /// Finds a whole backup.
    fn find(&self, id: BackupId, watch: &Watch) -> Result<Found, Failure> {
        let stored = self.stored_of(id, watch)?;
        let mut whole: Vec<_> = stored.iter().filter_map(Stored::whole).collect();
        match (whole.pop(), whole.pop()) {
            (Some(one), None) => Ok(Found::Whole(one)),
            (Some(one), Some(other)) => Err(Failure::CouldNot(format!(
                "backup {id} is stored more than once: {}/{} and {}/{}; move one away",
                other.container, other.prefix, one.container, one.prefix
            ))),
            (None, _) if stored.is_empty() => Ok(Found::Nothing),
            (None, _) => Ok(Found::Unfinished),
        }
    }

    /// A backup and its parents, newest first, by the parents their metadata files name.
    ///
    /// # Errors
    /// When there is no such backup, or a parent is missing, or they go in a circle.
    pub fn chain(&self, id: BackupId, watch: &Watch) -> Result<Vec<StoredBackup>, Failure> {
        let wanted = match self.find(id, watch)? {
            Found::Whole(wanted) => wanted,
            Found::Unfinished => {
                return Err(Failure::CouldNot(format!(
                    "backup {id} was never finished: it has no metadata file"
                )));
            }
            Found::Nothing => {
                let path = self.path.display();
                return Err(Failure::CouldNot(format!(
                    "there is no backup {id} in {path}"
                )));
            }
        };
        let mut seen = HashSet::from([id]);
        let mut chain = vec![wanted];
        while let Some(last) = chain.last() {
            watch.check()?;
            let head = self.head(last, &mut |_| Ok(()))?;
            let Some(text) = head.parent_id else {
                break;
            };
            let refused = |why: String| Failure::backup(last.backup_id, why);
            let parent: BackupId = text
                .parse()
                .map_err(|_| refused(format!("its parent {text:?} is no backup's id")))?;
            if !seen.insert(parent) {
                let why = format!("its parents go in a circle: {parent} comes twice");
                return Err(refused(why));
            }
            match self.find(parent, watch)? {
                Found::Whole(parent) => chain.push(parent),
                Found::Unfinished => {
                    return Err(refused(format!("its parent {parent} was never finished")));
                }
                Found::Nothing => return Err(refused(format!("its parent {parent} is missing"))),
            }
        }
        Ok(chain)
    }

    /// Reads a metadata file.
    pub(super) fn head(
        &self,
        backup: &StoredBackup,
        on_object: &mut dyn FnMut(ObjectEntry) -> Result<(), FormatError>,
    ) -> Result<MetadataHead, Failure> {
        let object = backup.prefix.metadata();
        let failed = |source: FormatError| {
            if source.is_transient() {
                let deed = format!("read `{object}`");
                Failure::to(deed, &source)
            } else {
                Failure::file(backup.backup_id, object.clone(), &source)
            }
        };
        let (input, _) = self
            .store
            .open(&backup.container, &object)
            .map_err(|source| {
                failed(FormatError::Store {
                    file: "metadata file",
                    source,
                })
            })?;
        metadata::read(input, on_object).map_err(failed)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The prefix of a stored file, and whether it is the metadata file.
pub(super) fn prefix_of(name: &str) -> Option<(ObjectPrefix, bool)> {
    let (prefix, is_metadata) = match name.strip_suffix("_metadata") {
        Some(prefix) => (prefix, true),
        None => match name.strip_suffix("_sha256file") {
            Some(prefix) => (prefix, false),
            None => {
                let (prefix, number) = name.rsplit_once('-')?;
                number.parse::<u64>().ok()?;
                (prefix, false)
            }
        },
    };
    Some((ObjectPrefix::new(prefix).ok()?, is_metadata))
}

pub(super) fn id_of(prefix: &ObjectPrefix) -> Option<BackupId> {
    prefix.as_str().rsplit_once("_backup_")?.1.parse().ok()
}

/// The backup a scratch place `.emberkeep-<id>-a<n>` is of.
pub(super) fn scratch_of(name: &str) -> Option<BackupId> {
    let (id, attempt) = name.strip_prefix(".emberkeep-")?.rsplit_once("-a")?;
    attempt.parse::<u32>().ok()?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2f863a48-cc5c-4d12-8a5c-6bb29d309012";

    #[test]
    fn a_backup_is_known_by_the_names_of_its_files() {
        let prefix = format!("volume_x_20260301_backup_{ID}");
        for (end, is_metadata) in [
            ("_metadata", true),
            ("_sha256file", false),
            ("-00001", false),
        ] {
            let (found, metadata) = prefix_of(&format!("{prefix}{end}")).unwrap();
            assert_eq!((found.as_str(), metadata), (prefix.as_str(), is_metadata));
            assert_eq!(id_of(&found).unwrap().to_string(), ID);
        }
        for other in [prefix.as_str(), "x_metadata", "notes.txt", "a-1", "-1"] {
            assert!(prefix_of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_scratch_place_tells_whose_it_is() {
        let id = scratch_of(&format!(".emberkeep-{ID}-a12"));
        assert_eq!(id.unwrap().to_string(), ID);
        for other in [".emberkeep-target", ".emberkeep-x-a1", ID] {
            assert!(scratch_of(other).is_none(), "{other}");
        }
    }
}
