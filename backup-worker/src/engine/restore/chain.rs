//! A chain of backups as their metadata files describe it, checked before anything is written.

use std::io::{self, Read};

use common::domain::{BackupId, ByteCount, Compression};
use common::messages::sheet::StoredBackup;

use crate::engine::{BadExtent, Damage, EngineError};
use crate::format::FormatError;
use crate::format::codec::{DecodeError, Length, Trailing, decode};
use crate::format::metadata::{self, MetadataHead, ObjectEntry};
use crate::store::{BackupStore, StoreError};

/// All data objects of a chain. Their order is Cinder's order of restoring: oldest backup first, then as
/// listed; where two hold the same byte, the later one wins.
#[derive(Debug)]
pub(super) struct Chain {
    levels: Vec<Level>,
    objects: Vec<ChainObject>,
    /// The wanted backup's.
    pub(super) volume_meta: Option<String>,
}

/// One backup of a chain.
#[derive(Debug)]
struct Level {
    backup: StoredBackup,
    trailing: Trailing,
    /// Names that are not `<prefix>-<n>`.
    odd_names: Vec<String>,
}

/// One data object, in as few bytes as it takes: a chain can have millions.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainObject {
    /// Where it begins in the volume.
    pub(super) offset: u64,
    /// Bytes of the volume.
    pub(super) length: u64,
    /// MD5 of them, if recorded.
    pub(super) md5: Option<[u8; 16]>,
    /// How they are stored.
    pub(super) compression: Compression,
    level: u16,
    name: Name,
}

impl ChainObject {
    /// The first byte after it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Numbered(u32),
    Odd(u32),
}

/// A name among those of one backup, in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NameKey<'a> {
    Numbered(u32),
    Odd(&'a str),
}

impl<'a> NameKey<'a> {
    /// Of a name on the target.
    pub(super) fn of(backup: &StoredBackup, name: &'a str) -> Self {
        number_of(backup, name).map_or(Self::Odd(name), Self::Numbered)
    }
}

/// Whether `id`, from a metadata file, means this backup: by its record, or by its prefix. A record that was imported
/// under another id names the same data.
fn means(id: &str, backup: &StoredBackup) -> bool {
    let named = backup.prefix.as_str().rsplit_once("_backup_");
    id == backup.backup_id.to_string() || named.is_some_and(|(_, named)| id == named)
}

impl Chain {
    /// Reads and checks the metadata files of a chain, given newest first. `limit` bounds what an object whose
    /// length is not recorded may hold.
    pub(super) fn read(
        store: &dyn BackupStore,
        chain: &[StoredBackup],
        size_gib: u32,
        limit: u64,
    ) -> Result<Self, EngineError> {
        let mut read = Self {
            levels: Vec::with_capacity(chain.len()),
            objects: Vec::new(),
            volume_meta: None,
        };
        for (depth, backup) in chain.iter().enumerate().rev() {
            let head = read.add(store, backup, limit)?;
            let refused = |why: String| EngineError::Chain {
                backup_id: backup.backup_id,
                why,
            };
            if let Some(id) = &head.backup_id
                && !means(id, backup)
            {
                return Err(refused(format!("its metadata file is of backup {id}")));
            }
            // A minimal metadata file names no parent, and a backup imported without one may still be in a chain.
            let fits = match (&head.parent_id, chain.get(depth + 1)) {
                (Some(id), Some(parent)) => means(id, parent),
                (None, parent) => parent.is_none() || head.backup_id.is_none(),
                (Some(_), None) => false,
            };
            if !fits {
                return Err(refused(match head.parent_id {
                    Some(id) => format!("it is made on backup {id}"),
                    None => "it is a full backup".to_owned(),
                }));
            }
            if depth == 0 {
                read.volume_meta = head.volume_meta;
            }
        }
        let size = ByteCount::from_gib(size_gib).0;
        let wanted = read.levels.len().saturating_sub(1);
        if let Some(index) = (0..read.objects.len())
            .rev()
            .take_while(|index| usize::from(read.objects[*index].level) == wanted)
            .find(|index| read.objects[*index].end() > size)
        {
            return Err(EngineError::Chain {
                backup_id: read.backup_id(index),
                why: format!(
                    "object `{}` ends beyond the backup's size of {size_gib} GiB",
                    read.object_name(index)
                ),
            });
        }
        Ok(read)
    }

    /// Reads one metadata file and adds its objects.
    fn add(
        &mut self,
        store: &dyn BackupStore,
        backup: &StoredBackup,
        limit: u64,
    ) -> Result<MetadataHead, EngineError> {
        let file = backup.prefix.metadata();
        let in_file = |source: FormatError| EngineError::File {
            backup_id: backup.backup_id,
            object: file.clone(),
            source,
        };
        let level = u16::try_from(self.levels.len()).map_err(|_| EngineError::Chain {
            backup_id: backup.backup_id,
            why: "the chain is too long".to_owned(),
        })?;
        let mut odd_names = Vec::new();
        let mut unknown_lengths = Vec::new();
        let objects = &mut self.objects;
        let (input, _) = store.open(&backup.container, &file).map_err(|source| {
            in_file(FormatError::Store {
                file: "metadata file",
                source,
            })
        })?;
        let head = metadata::read(input, &mut |entry: ObjectEntry| {
            let name = name_of(backup, &entry.name, &mut odd_names)?;
            if entry.length.is_none() {
                unknown_lengths.push(objects.len());
            }
            let length = entry.length.unwrap_or(0);
            if entry.offset.checked_add(length).is_none() || objects.len() >= u32::MAX as usize {
                return Err(refused(format!(
                    "object `{}` is out of all bounds",
                    entry.name
                )));
            }
            objects.push(ChainObject {
                offset: entry.offset,
                length,
                md5: entry.md5,
                compression: entry.compression,
                level,
                name,
            });
            Ok(())
        })
        .map_err(in_file)?;
        self.levels.push(Level {
            backup: backup.clone(),
            trailing: if head.is_ours() {
                Trailing::Refused
            } else {
                Trailing::AsCinder
            },
            odd_names,
        });
        for index in unknown_lengths {
            self.objects[index].length = self.measure(store, index, limit)?;
        }
        Ok(head)
    }

    /// The plain bytes of an object whose metadata do not tell.
    fn measure(
        &self,
        store: &dyn BackupStore,
        index: usize,
        limit: u64,
    ) -> Result<u64, EngineError> {
        let bound = limit.saturating_sub(self.objects[index].offset);
        let damaged = |why: String| {
            let mut damage = Damage::default();
            damage.add(self.bad(index, self.objects[index].offset, 0, why));
            EngineError::Damaged(damage)
        };
        let opened = self
            .open_stored(store, index)
            .and_then(|stored| self.decode(index, stored, Length::AtMost(bound)));
        let mut plain = match opened {
            Ok(plain) => plain,
            Err(EngineError::Store(
                StoreError::NoSuchObject { .. } | StoreError::NoSuchContainer { .. },
            )) => return Err(damaged("it is not on the backup target".to_owned())),
            Err(error) => return Err(error),
        };
        io::copy(&mut plain, &mut io::sink()).map_err(|error| match DecodeError::of(&error) {
            Some(damage) => damaged(damage.to_string()),
            None => self.unreadable(index, error),
        })
    }

    /// An object's plain bytes, out of its stored ones.
    pub(super) fn decode<R: Read>(
        &self,
        index: usize,
        stored: R,
        length: Length,
    ) -> Result<impl Read + use<R>, EngineError> {
        let compression = self.objects[index].compression;
        decode(compression, stored, length, self.level(index).trailing)
            .map_err(|source| EngineError::Codec { source })
    }

    /// Opens an object's stored bytes.
    pub(super) fn open_stored(
        &self,
        store: &dyn BackupStore,
        index: usize,
    ) -> Result<impl Read + use<>, EngineError> {
        let container = &self.level(index).backup.container;
        let (stored, _) = store.open(container, &self.object_name(index))?;
        Ok(stored)
    }

    /// Says that an object's stored bytes will be read before long.
    pub(super) fn will_read(&self, store: &dyn BackupStore, index: usize) {
        let container = &self.level(index).backup.container;
        store.will_read(container, &self.object_name(index));
    }

    /// Whether this is the MD5 of an object, as far as is known.
    pub(super) fn is_recorded_md5(&self, index: u32, md5: [u8; 16]) -> bool {
        let recorded = self.objects[index as usize].md5;
        recorded.is_none_or(|recorded| recorded == md5)
    }

    /// An error of the target while an object was read.
    pub(super) fn unreadable(&self, index: usize, source: io::Error) -> EngineError {
        EngineError::Store(StoreError::Unreadable {
            container: self.level(index).backup.container.clone(),
            object: self.object_name(index),
            source,
        })
    }

    /// A bad extent in an object.
    pub(super) fn bad(&self, index: usize, offset: u64, length: u64, why: String) -> BadExtent {
        BadExtent {
            backup_id: self.backup_id(index),
            object: self.object_name(index),
            offset,
            length,
            why,
        }
    }

    /// All objects; a later one wins.
    pub(super) fn objects(&self) -> &[ChainObject] {
        &self.objects
    }

    /// The first and the last object of each backup as a range of indexes, with the backup.
    pub(super) fn by_backup(
        &self,
    ) -> impl Iterator<Item = (&StoredBackup, std::ops::Range<usize>)> {
        self.levels.iter().enumerate().map(|(number, level)| {
            let from = self
                .objects
                .partition_point(|o| usize::from(o.level) < number);
            let to = self
                .objects
                .partition_point(|o| usize::from(o.level) <= number);
            (&level.backup, from..to)
        })
    }

    /// An object's full name.
    pub(super) fn object_name(&self, index: usize) -> String {
        let level = self.level(index);
        match self.objects[index].name {
            Name::Numbered(number) => level.backup.prefix.object(u64::from(number)),
            Name::Odd(odd) => level.odd_names[odd as usize].clone(),
        }
    }

    /// What an object is found by among those of its backup.
    pub(super) fn key(&self, index: usize) -> NameKey<'_> {
        match self.objects[index].name {
            Name::Numbered(number) => NameKey::Numbered(number),
            Name::Odd(odd) => NameKey::Odd(&self.level(index).odd_names[odd as usize]),
        }
    }

    fn backup_id(&self, index: usize) -> BackupId {
        self.level(index).backup.backup_id
    }

    fn level(&self, index: usize) -> &Level {
        &self.levels[usize::from(self.objects[index].level)]
    }
}

/// The number in a name that is `<prefix>-<n>`.
fn number_of(backup: &StoredBackup, name: &str) -> Option<u32> {
    let number = crate::engine::number_of(&backup.prefix, name)?;
    u32::try_from(number).ok()
}

/// Checks an object's name and makes it short.
fn name_of(
    backup: &StoredBackup,
    name: &str,
    odd_names: &mut Vec<String>,
) -> Result<Name, FormatError> {
    let is_below = name
        .strip_prefix(backup.prefix.as_str())
        .is_some_and(|rest| !rest.contains('/') && !rest.contains(char::is_control));
    if !is_below {
        return Err(refused(format!(
            "object {name:?} is not under the backup's prefix"
        )));
    }
    if let Some(number) = number_of(backup, name) {
        return Ok(Name::Numbered(number));
    }
    let odd = u32::try_from(odd_names.len())
        .map_err(|_| refused("it has too many objects".to_owned()))?;
    odd_names.push(name.to_owned());
    Ok(Name::Odd(odd))
}

fn refused(why: String) -> FormatError {
    FormatError::Refused {
        file: "metadata file",
        why,
    }
}

/// An object somewhere in a chain, for tests that look only at extents.
#[cfg(test)]
pub(super) fn test_object(offset: u64, length: u64) -> ChainObject {
    ChainObject {
        offset,
        length,
        md5: None,
        compression: Compression::None,
        level: 0,
        name: Name::Numbered(1),
    }
}
