//! `<prefix>_metadata`: the table of a backup's objects, and the mark that the backup is whole.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};

use common::domain::{BackupId, Compression, ProjectId, UserId, VolumeId};
use common::messages::sheet::BackupRecord;
use jiff::Timestamp;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json::{Budget, PythonLayout, check_version, error};
use super::{FormatError, VERSION, parse_python_time, python_time};

const FILE: &str = "metadata file";
const INPUT_BUFFER: usize = 64 << 10;

/// Everything in a metadata file but its objects. What Cinder never reads may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataHead {
    /// Display description.
    pub backup_description: Option<String>,
    /// The backup's id, as text.
    pub backup_id: Option<String>,
    /// Display name.
    pub backup_name: Option<String>,
    /// When the record was made; microseconds count, finer parts are not stored.
    pub created_at: Option<Timestamp>,
    /// What is ours. Its being there says that we wrote the backup.
    pub emberkeep: Option<Emberkeep>,
    /// The backup this one builds on, as text.
    pub parent_id: Option<String>,
    /// The volume's id, as text.
    pub volume_id: Option<String>,
    /// The source volume's own data: a JSON text of Cinder's making or in its shape.
    pub volume_meta: Option<String>,
}

/// Our member of the metadata file, from which a lost record is rebuilt. Cinder ignores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emberkeep {
    // In the order of their names, like all members.
    /// Zone of the backup.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// The moment the data describes.
    #[serde(default)]
    pub data_timestamp: Option<Timestamp>,
    /// The owner's key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The owner.
    pub project_id: ProjectId,
    /// The volume's size.
    pub size_gib: u32,
    /// The user's snapshot it was made of, if any.
    #[serde(default)]
    pub snapshot_id: Option<uuid::Uuid>,
    /// Who asked.
    pub user_id: UserId,
}

impl MetadataHead {
    /// The head of a backup of ours. `data_timestamp` is the moment of the freeze, unless the
    /// record knows better.
    #[must_use]
    pub fn of_record(
        backup_id: BackupId,
        volume_id: VolumeId,
        parent_id: Option<BackupId>,
        record: &BackupRecord,
        frozen_at: Timestamp,
    ) -> Self {
        Self {
            backup_description: record.description.clone(),
            backup_id: Some(backup_id.to_string()),
            backup_name: record.name.clone(),
            created_at: Some(record.created_at),
            emberkeep: Some(Emberkeep {
                availability_zone: record.availability_zone.clone(),
                data_timestamp: Some(record.data_timestamp.unwrap_or(frozen_at)),
                metadata: record.metadata.clone(),
                project_id: record.project_id.clone(),
                size_gib: record.size_gib,
                snapshot_id: record.snapshot_id,
                user_id: record.user_id.clone(),
            }),
            parent_id: parent_id.map(|id| id.to_string()),
            volume_id: Some(volume_id.to_string()),
            volume_meta: record.volume_meta.clone(),
        }
    }

    /// Whether we wrote the backup: then its objects have not a byte too many.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.emberkeep.is_some()
    }
}

/// One data object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its full name in the container.
    pub name: String,
    /// Where its extent begins, in bytes from the volume's start.
    pub offset: u64,
    /// Bytes of its extent, uncompressed. Cinder does not need it; all writers give it.
    pub length: Option<u64>,
    /// How it is compressed.
    pub compression: Compression,
    /// MD5 of its extent, uncompressed. Cinder does not check it; all writers give it.
    pub md5: Option<[u8; 16]>,
}

/// Writes a metadata file, byte for byte as Cinder lays it out, without holding more than one
/// object in memory.
///
/// # Errors
/// When `objects` or `out` fails, with that error.
pub fn write(
    out: &mut dyn Write,
    head: &MetadataHead,
    objects: &mut dyn Iterator<Item = io::Result<ObjectEntry>>,
) -> io::Result<()> {
    let broken = Cell::new(None);
    let file = File {
        head,
        objects: Objects {
            iterator: RefCell::new(objects),
            broken: &broken,
        },
    };
    let written = file.serialize(&mut PythonLayout::serializer(out));
    match broken.take() {
        Some(error) => Err(error),
        None => written.map_err(io::Error::from),
    }
}

/// Reads a metadata file, handing on each object as it comes. Members may come in any order, so
/// an error can be found after some objects were handed on: they are then worth nothing.
///
/// # Errors
/// When `input` or `on_object` fails, or the file is not one that Cinder would restore from.
pub fn read(
    input: impl Read,
    on_object: &mut dyn FnMut(ObjectEntry) -> Result<(), FormatError>,
) -> Result<MetadataHead, FormatError> {
    let budget = Budget::default();
    let mut stopped = None;
    let visitor = FileVisitor {
        budget: &budget,
        on_object,
        stopped: &mut stopped,
    };
    let input = BufReader::with_capacity(INPUT_BUFFER, budget.count(input));
    let mut json = serde_json::Deserializer::from_reader(input);
    let outcome = json
        .deserialize_map(visitor)
        .and_then(|head| json.end().map(|()| head));
    match (outcome, stopped) {
        (_, Some(error)) => Err(error),
        (Ok(head), None) => Ok(head),
        (Err(source), None) => Err(error(FILE, source)),
    }
}

// --- writing ---

struct File<'a> {
    head: &'a MetadataHead,
    objects: Objects<'a>,
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = self.head;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backup_description", &head.backup_description)?;
        map.serialize_entry("backup_id", &head.backup_id)?;
        map.serialize_entry("backup_name", &head.backup_name)?;
        map.serialize_entry("created_at", &head.created_at.map(python_time))?;
        if let Some(ours) = &head.emberkeep {
            map.serialize_entry("emberkeep", ours)?;
        }
        map.serialize_entry("objects", &self.objects)?;
        map.serialize_entry("parent_id", &head.parent_id)?;
        map.serialize_entry("version", VERSION)?;
        map.serialize_entry("volume_id", &head.volume_id)?;
        map.serialize_entry("volume_meta", &head.volume_meta)?;
        map.end()
    }
}

struct Objects<'a> {
    iterator: RefCell<&'a mut dyn Iterator<Item = io::Result<ObjectEntry>>>,
    broken: &'a Cell<Option<io::Error>>,
}

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for object in &mut **self.iterator.borrow_mut() {
            match object {
                Ok(object) => {
                    seq.serialize_element(&BTreeMap::from([(&object.name, Values(&object))]))?
                }
                Err(error) => {
                    self.broken.set(Some(error));
                    return Err(S::Error::custom("the source of objects failed"));
                }
            }
        }
        seq.end()
    }
}

struct Values<'a>(&'a ObjectEntry);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("compression", &self.0.compression)?;
        if let Some(length) = self.0.length {
            map.serialize_entry("length", &length)?;
        }
        if let Some(md5) = self.0.md5 {
            map.serialize_entry("md5", &hex::encode(md5))?;
        }
        map.serialize_entry("offset", &self.0.offset)?;
        map.end()
    }
}

// --- reading ---

struct FileVisitor<'a> {
    budget: &'a Budget,
    on_object: &'a mut dyn FnMut(ObjectEntry) -> Result<(), FormatError>,
    stopped: &'a mut Option<FormatError>,
}

impl<'de> Visitor<'de> for FileVisitor<'_> {
    type Value = MetadataHead;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metadata file")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<MetadataHead, A::Error> {
        let budget = self.budget;
        let mut head = MetadataHead::default();
        let mut version = false;
        let mut objects = false;
        while let Some(key) = budget.key(&mut map)? {
            match key.as_str() {
                "backup_description" => head.backup_description = budget.text(&mut map)?,
                "backup_id" => head.backup_id = budget.text(&mut map)?,
                "backup_name" => head.backup_name = budget.text(&mut map)?,
                "created_at" => {
                    head.created_at = budget
                        .text(&mut map)?
                        .and_then(|text| parse_python_time(&text));
                }
                "emberkeep" => head.emberkeep = budget.value(&mut map)?,
                "parent_id" => head.parent_id = budget.text(&mut map)?,
                "volume_id" => head.volume_id = budget.text(&mut map)?,
                "volume_meta" => head.volume_meta = budget.value(&mut map)?,
                "version" => {
                    check_version(budget.text(&mut map)?.as_deref())?;
                    version = true;
                }
                "objects" => {
                    if objects {
                        return Err(de::Error::duplicate_field("objects"));
                    }
                    objects = true;
                    map.next_value_seed(ObjectList(&mut self))?;
                }
                _ => Budget::skip(&mut map)?,
            }
        }
        if !version {
            return Err(de::Error::missing_field("version"));
        }
        if !objects {
            return Err(de::Error::missing_field("objects"));
        }
        Ok(head)
    }
}

struct ObjectList<'a, 'b>(&'a mut FileVisitor<'b>);

impl<'de> DeserializeSeed<'de> for ObjectList<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ObjectList<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let FileVisitor {
            budget,
            on_object,
            stopped,
        } = self.0;
        while let Some(object) = seq.next_element_seed(Element(budget))? {
            if let Err(error) = on_object(object) {
                **stopped = Some(error);
                return Err(de::Error::custom("stopped by the reader"));
            }
        }
        Ok(())
    }
}

/// One element: an object with one member. Of two, Cinder restores the first.
struct Element<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ObjectEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ObjectEntry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ObjectEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object's name and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectEntry, A::Error> {
        let Some(name) = self.0.key(&mut map)? else {
            return Err(de::Error::custom("an element of `objects` is empty"));
        };
        let stored: Stored = self.0.value(&mut map)?;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        let md5 = stored
            .md5
            .map(|text| {
                let mut md5 = [0; 16];
                hex::decode_to_slice(&text, &mut md5)
                    .map(|()| md5)
                    .map_err(|_| de::Error::custom(format_args!("`{text}` is no MD5")))
            })
            .transpose()?;
        Ok(ObjectEntry {
            name,
            offset: stored.offset,
            length: stored.length,
            compression: stored.compression,
            md5,
        })
    }
}

#[derive(Deserialize)]
struct Stored {
    compression: Compression,
    #[serde(default)]
    length: Option<u64>,
    #[serde(default)]
    md5: Option<String>,
    offset: u64,
}
