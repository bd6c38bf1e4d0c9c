//! `<prefix>_sha256file`: a SHA-256 for every block of the whole volume, in order.
//!
//! It is read twice in a backup's life: by the next incremental, to find changed blocks, and by a
//! restore, to check them. Both walk it in order, so [`DigestStream`] hands digests on as they are
//! wanted: a thread of its own parses, and a bounded channel holds it back.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use common::domain::{ContainerName, ObjectPrefix};
use jiff::Timestamp;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};

use super::digest_lines::DigestLines;
use super::json::{Budget, PythonLayout, check_version, error};
use super::metadata::MetadataHead;
use super::{FormatError, VERSION, python_time};
use crate::store::{BackupStore, StoreError};

const FILE: &str = "sha256 file";

/// A block's digest.
pub type Digest = [u8; 32];

/// Everything in a sha256 file but its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sha256Head {
    /// Display description.
    pub backup_description: Option<String>,
    /// The backup's id, as text.
    pub backup_id: Option<String>,
    /// Display name.
    pub backup_name: Option<String>,
    /// Bytes one digest covers; the file calls it `chunk_size`.
    pub block_size: u64,
    /// When the record was made.
    pub created_at: Option<Timestamp>,
    /// The volume's id, as text.
    pub volume_id: Option<String>,
}

impl Sha256Head {
    /// The head that goes with a backup's metadata file.
    #[must_use]
    pub fn beside(metadata: &MetadataHead, block_size: u64) -> Self {
        Self {
            backup_description: metadata.backup_description.clone(),
            backup_id: metadata.backup_id.clone(),
            backup_name: metadata.backup_name.clone(),
            block_size,
            created_at: metadata.created_at,
            volume_id: metadata.volume_id.clone(),
        }
    }
}

/// Writes a sha256 file, byte for byte as Cinder lays it out, one digest at a time.
///
/// # Errors
/// When `digests` or `out` fails, with that error.
pub fn write(
    out: &mut dyn Write,
    head: &Sha256Head,
    digests: &mut dyn Iterator<Item = io::Result<Digest>>,
) -> io::Result<()> {
    let broken = Cell::new(None);
    let file = File {
        head,
        digests: Digests {
            iterator: RefCell::new(digests),
            broken: &broken,
        },
    };
    let written = file.serialize(&mut PythonLayout::serializer(out));
    match broken.take() {
        Some(error) => Err(error),
        None => written.map_err(io::Error::from),
    }
}

/// Reads a sha256 file, handing on each digest as it comes, and gives its block size. Members may
/// come in any order, so an error can be found after digests were handed on.
///
/// # Errors
/// When `input` or `on_digest` fails, or the file is none.
pub fn read(
    input: impl Read,
    on_digest: &mut dyn FnMut(Digest) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let mut stopped = None;
    let wanted = Wanted::Digests {
        on_digest,
        stopped: &mut stopped,
    };
    let outcome = parse(input, wanted, true);
    match (outcome, stopped) {
        (_, Some(error)) => Err(error),
        (Ok(block_size), None) => Ok(block_size),
        (Err(source), None) => Err(error(FILE, source)),
    }
}

/// The block size of a stored sha256 file, read no further than it must; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read, or has no usable `chunk_size`.
pub fn block_size_of(
    store: &dyn BackupStore,
    container: &ContainerName,
    prefix: &ObjectPrefix,
) -> Result<Option<u64>, FormatError> {
    match store.open(container, &prefix.sha256file()) {
        // Cinder's own files have it before the digests: this reads a few hundred bytes. In any
        // other order it costs a pass over the file.
        Ok((input, _)) => read_block_size(input).map(Some),
        Err(StoreError::NoSuchObject { .. } | StoreError::NoSuchContainer { .. }) => Ok(None),
        Err(source) => Err(FormatError::Store { file: FILE, source }),
    }
}

fn read_block_size(input: impl Read) -> Result<u64, FormatError> {
    let found = Cell::new(None);
    match (parse(input, Wanted::BlockSize(&found), false), found.get()) {
        (_, Some(block_size)) | (Ok(block_size), None) => Ok(block_size),
        (Err(source), None) => Err(error(FILE, source)),
    }
}

/// The digests of a stored sha256 file, in order, in bounded memory.
#[derive(Debug)]
pub struct DigestStream {
    block_size: u64,
    batches: Receiver<Result<Vec<Digest>, FormatError>>,
    /// What is left of the batch at hand, last digest first.
    rest: Vec<Digest>,
    over: bool,
}

/// Digests handed over at once; two batches wait in the channel, one is parsed, one is read.
const BATCH: usize = 4096;

impl DigestStream {
    /// Opens the sha256 file of a backup; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or has no usable `chunk_size`.
    pub fn open(
        store: &dyn BackupStore,
        container: &ContainerName,
        prefix: &ObjectPrefix,
    ) -> Result<Option<Self>, FormatError> {
        let Some(block_size) = block_size_of(store, container, prefix)? else {
            return Ok(None);
        };
        let (input, _) = store
            .open(container, &prefix.sha256file())
            .map_err(|source| FormatError::Store { file: FILE, source })?;
        Self::over(block_size, input).map(Some)
    }

    fn over(block_size: u64, input: Box<dyn Read + Send>) -> Result<Self, FormatError> {
        let (sender, batches) = sync_channel(2);
        // The thread ends with the file, or when the stream is dropped: its next send fails then.
        std::thread::Builder::new()
            .name("digests".to_owned())
            .spawn(move || parse_into(input, &sender))
            .map_err(|source| FormatError::Io { file: FILE, source })?;
        Ok(Self {
            block_size,
            batches,
            rest: Vec::new(),
            over: false,
        })
    }

    /// Bytes one digest covers.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Appends the next `count` digests to `digests`, fewer only at the end of the list. The
    /// end is told only after the rest of the file was found whole.
    ///
    /// # Errors
    /// When the file cannot be read on; the stream is then at its end.
    pub fn next_digests(
        &mut self,
        digests: &mut Vec<Digest>,
        count: usize,
    ) -> Result<(), FormatError> {
        let mut missing = count;
        while missing > 0 {
            if self.rest.is_empty() {
                match self.next_batch() {
                    Some(batch) => self.rest = batch?,
                    None => return Ok(()),
                }
            }
            let from = self.rest.len().saturating_sub(missing);
            missing -= self.rest.len() - from;
            digests.extend(self.rest.drain(from..).rev());
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Option<Result<Vec<Digest>, FormatError>> {
        if self.over {
            return None;
        }
        let message = self.batches.recv().unwrap_or_else(|_| {
            let source = io::Error::other("its reader ended without a word");
            Err(FormatError::Io { file: FILE, source })
        });
        match message {
            Ok(mut batch) if !batch.is_empty() => {
                batch.reverse();
                Some(Ok(batch))
            }
            // An empty batch is the reader's good-bye.
            Ok(_) => {
                self.over = true;
                None
            }
            Err(error) => {
                self.over = true;
                Some(Err(error))
            }
        }
    }
}

/// The reader thread: nobody listens any more once a send fails.
fn parse_into(input: Box<dyn Read + Send>, batches: &SyncSender<Result<Vec<Digest>, FormatError>>) {
    let gone = || FormatError::Refused {
        file: FILE,
        why: "nobody reads it any more".to_owned(),
    };
    let mut batch = Vec::with_capacity(BATCH);
    let outcome = read(input, &mut |digest| {
        batch.push(digest);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            batches.send(Ok(full)).map_err(|_| gone())?;
        }
        Ok(())
    });
    // A receiver that is gone wants neither the rest nor the error.
    drop(match outcome {
        Ok(_) if batch.is_empty() => batches.send(Ok(batch)),
        Ok(_) => batches
            .send(Ok(batch))
            .and_then(|()| batches.send(Ok(Vec::new()))),
        Err(error) => batches.send(Err(error)),
    });
}

// --- writing ---

struct File<'a> {
    head: &'a Sha256Head,
    digests: Digests<'a>,
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = self.head;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backup_description", &head.backup_description)?;
        map.serialize_entry("backup_id", &head.backup_id)?;
        map.serialize_entry("backup_name", &head.backup_name)?;
        map.serialize_entry("chunk_size", &head.block_size)?;
        map.serialize_entry("created_at", &head.created_at.map(python_time))?;
        map.serialize_entry("sha256s", &self.digests)?;
        map.serialize_entry("version", VERSION)?;
        map.serialize_entry("volume_id", &head.volume_id)?;
        map.end()
    }
}

struct Digests<'a> {
    iterator: RefCell<&'a mut dyn Iterator<Item = io::Result<Digest>>>,
    broken: &'a Cell<Option<io::Error>>,
}

impl Serialize for Digests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        let mut text = [0; 64];
        for digest in &mut **self.iterator.borrow_mut() {
            match digest {
                Ok(digest) => {
                    hex::encode_to_slice(digest, &mut text).map_err(S::Error::custom)?;
                    seq.serialize_element(str::from_utf8(&text).map_err(S::Error::custom)?)?;
                }
                Err(error) => {
                    self.broken.set(Some(error));
                    return Err(S::Error::custom("the source of digests failed"));
                }
            }
        }
        seq.end()
    }
}

// --- reading ---

/// What a pass over the file is for.
enum Wanted<'a> {
    /// The block size alone: the pass ends where it is found.
    BlockSize(&'a Cell<Option<u64>>),
    Digests {
        on_digest: &'a mut dyn FnMut(Digest) -> Result<(), FormatError>,
        stopped: &'a mut Option<FormatError>,
    },
}

fn parse(input: impl Read, wanted: Wanted<'_>, to_end: bool) -> Result<u64, serde_json::Error> {
    let budget = Budget::default();
    let lines = DigestLines::new(budget.count(input));
    let mut json = serde_json::Deserializer::from_reader(lines.clone());
    let block_size = json.deserialize_map(FileVisitor {
        budget: &budget,
        lines: &lines,
        wanted,
    })?;
    if to_end {
        json.end()?;
    }
    Ok(block_size)
}

struct FileVisitor<'a, 'b, R> {
    budget: &'b Budget,
    lines: &'b DigestLines<R>,
    wanted: Wanted<'a>,
}

impl<'de, R: Read> Visitor<'de> for FileVisitor<'_, '_, R> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sha256 file")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<u64, A::Error> {
        let mut block_size = None;
        let mut digests = false;
        while let Some(key) = self.budget.key(&mut map)? {
            match (key.as_str(), &mut self.wanted) {
                ("chunk_size", wanted) => {
                    let size: u64 = self.budget.value(&mut map)?;
                    if size == 0 {
                        return Err(de::Error::custom("its `chunk_size` is 0"));
                    }
                    block_size = Some(size);
                    if let Wanted::BlockSize(found) = wanted {
                        found.set(block_size);
                        return Err(de::Error::custom("enough was read"));
                    }
                }
                ("sha256s", Wanted::Digests { on_digest, stopped }) => {
                    if digests {
                        return Err(de::Error::duplicate_field("sha256s"));
                    }
                    digests = true;
                    map.next_value_seed(DigestList {
                        lines: self.lines,
                        on_digest: &mut **on_digest,
                        stopped,
                    })?;
                }
                // Cinder does not look at it; if it is there, it must be one we know.
                ("version", Wanted::Digests { .. }) => {
                    check_version(self.budget.text(&mut map)?.as_deref())?;
                }
                _ => Budget::skip(&mut map)?,
            }
        }
        if !digests && matches!(self.wanted, Wanted::Digests { .. }) {
            return Err(de::Error::missing_field("sha256s"));
        }
        block_size.ok_or_else(|| de::Error::missing_field("chunk_size"))
    }
}

struct DigestList<'a, R> {
    lines: &'a DigestLines<R>,
    on_digest: &'a mut dyn FnMut(Digest) -> Result<(), FormatError>,
    stopped: &'a mut Option<FormatError>,
}

impl<R> DigestList<'_, R> {
    /// Leaves the error where [`read`] finds it, and gives the parser one to end with.
    fn stop<E: de::Error>(&mut self, error: FormatError) -> E {
        *self.stopped = Some(error);
        E::custom("stopped by the reader")
    }
}

impl<'de, R: Read> DeserializeSeed<'de> for DigestList<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, R: Read> Visitor<'de> for DigestList<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of SHA-256 digests")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut passed = 0;
        let mut digests = Vec::new();
        loop {
            let read = self.lines.next_lines(&mut digests);
            read.map_err(|source| self.stop(FormatError::Io { file: FILE, source }))?;
            if digests.is_empty() {
                break;
            }
            passed += digests.len();
            for digest in digests.drain(..) {
                (self.on_digest)(digest).map_err(|error| self.stop(error))?;
            }
        }
        let mut comma = passed > 0; // each of those lines ends with one
        while let Some(digest) = seq.next_element_seed(HexDigest { number: passed + 1 })? {
            (self.on_digest)(digest).map_err(|error| self.stop(error))?;
            passed += 1;
            comma = false;
        }
        match comma {
            true => Err(de::Error::custom("its list of digests ends with a comma")),
            false => Ok(()),
        }
    }
}

/// One digest of a list. Its number is told where it is bad: the parser counts only the lines that it sees.
struct HexDigest {
    number: usize,
}

impl<'de> DeserializeSeed<'de> for HexDigest {
    type Value = Digest;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Digest, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for HexDigest {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest {}, 64 hexadecimal digits", self.number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map(|()| digest)
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
