//! Segments: the checkpoint of a backup in the making.
//!
//! Each sealed batch of objects leaves one segment in the attempt's scratch place, written after
//! the objects are durable. It holds their table entries and the block digests of the batch, its
//! own SHA-256 at the end, and that of the segment before it, so a chain of segments cannot be
//! mixed from two lineages. Its name carries the generation that wrote it: executions that run at
//! the same time never write over each other's. Only whole segments in an unbroken chain count.
//!
//! ```text
//! "EMBERSEG" 1u32 │ generation u64 │ sequence u64 │ start u64 │ end u64 │ previous [32]
//! objects u32 │ digests u32 │ objects × (number u64, offset u64, length u32, stored u32, algorithm u8, md5 [16])
//! digests × [32] │ SHA-256 of all that precedes [32]            (numbers little-endian)
//! ```

use std::io::{self, Read, Write};

use common::domain::{Compression, ContainerName};
use sha2::{Digest as _, Sha256};

use super::FormatError;
use super::sha256file::Digest;
use crate::store::{BackupStore, StoreError};

const FILE: &str = "segment";
const MAGIC: &[u8; 8] = b"EMBERSEG";
const LAYOUT: u32 = 1;
/// More than any batch has; a damaged count asks for no more memory than this many entries.
const COUNT_MAX: u32 = 1 << 22;

/// What the first segment of an attempt names as its predecessor.
pub const NO_PREDECESSOR: Digest = [0; 32];

/// The checkpoint of one sealed batch: the volume's bytes from `start` to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The execution that wrote it.
    pub generation: u64,
    /// Its place in the chain, from 0.
    pub sequence: u64,
    /// The first byte of the volume it covers.
    pub start: u64,
    /// The first byte after.
    pub end: u64,
    /// SHA-256 of the segment before, or [`NO_PREDECESSOR`].
    pub previous: Digest,
    /// The objects of the batch, in order.
    pub objects: Vec<SegmentObject>,
    /// The digests of the batch's blocks, in order.
    pub digests: Vec<Digest>,
}

/// One data object, as its segment knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentObject {
    /// Its number, from 1.
    pub number: u64,
    /// Where its extent begins.
    pub offset: u64,
    /// Bytes of its extent.
    pub length: u32,
    /// How it is compressed.
    pub compression: Compression,
    /// Bytes it takes on the target.
    pub stored_bytes: u32,
    /// MD5 of its extent.
    pub md5: [u8; 16],
}

/// What tells a segment from all others of its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Its place in the chain, from 0.
    pub sequence: u64,
    /// The execution that wrote it.
    pub generation: u64,
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment-{:08}-g{}", self.sequence, self.generation)
    }
}

impl SegmentName {
    /// Reads a name in the scratch place; `None` for whatever else is there.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (sequence, generation) = name.strip_prefix("segment-")?.split_once("-g")?;
        let parsed = Self {
            sequence: sequence.parse().ok()?,
            generation: generation.parse().ok()?,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl Segment {
    /// Its name in the scratch place.
    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName {
            sequence: self.sequence,
            generation: self.generation,
        }
    }

    /// Writes it and gives its SHA-256, which the next one names.
    ///
    /// # Errors
    /// When `out` fails, or there are more than four million objects or digests.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<Digest> {
        let counted = |count: usize| {
            u32::try_from(count)
                .ok()
                .filter(|count| *count <= COUNT_MAX)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the batch is too long"))
        };
        let mut out = Hashed {
            inner: out,
            hasher: Sha256::new(),
        };
        out.write_all(MAGIC)?;
        out.write_all(&LAYOUT.to_le_bytes())?;
        for number in [self.generation, self.sequence, self.start, self.end] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&self.previous)?;
        out.write_all(&counted(self.objects.len())?.to_le_bytes())?;
        out.write_all(&counted(self.digests.len())?.to_le_bytes())?;
        for object in &self.objects {
            out.write_all(&object.number.to_le_bytes())?;
            out.write_all(&object.offset.to_le_bytes())?;
            out.write_all(&object.length.to_le_bytes())?;
            out.write_all(&object.stored_bytes.to_le_bytes())?;
            out.write_all(&[algorithm_code(object.compression)])?;
            out.write_all(&object.md5)?;
        }
        for digest in &self.digests {
            out.write_all(digest)?;
        }
        let sum: Digest = out.hasher.finalize().into();
        out.inner.write_all(&sum)?;
        Ok(sum)
    }

    /// Makes it durable in the scratch place and gives its SHA-256.
    ///
    /// # Errors
    /// When the target fails.
    pub fn seal(
        &self,
        store: &dyn BackupStore,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Digest, StoreError> {
        let mut sum = NO_PREDECESSOR;
        let name = self.name().to_string();
        store.put_stream(container, scratch, &name, true, &mut |out| {
            sum = self.write(out)?;
            Ok(())
        })?;
        Ok(sum)
    }

    /// Reads a segment and gives its SHA-256.
    ///
    /// # Errors
    /// [`FormatError::Refused`] when it is cut, damaged or none of ours.
    pub fn read(input: impl Read) -> Result<(Self, Digest), FormatError> {
        let mut input = Hashed {
            inner: input,
            hasher: Sha256::new(),
        };
        if &input.bytes::<8>()? != MAGIC || input.u32()? != LAYOUT {
            return Err(refused("it does not begin like one"));
        }
        let (generation, sequence) = (input.u64()?, input.u64()?);
        let (start, end) = (input.u64()?, input.u64()?);
        let previous = input.bytes()?;
        let (objects, digests) = (input.u32()?, input.u32()?);
        if objects > COUNT_MAX || digests > COUNT_MAX || end < start {
            return Err(refused("its numbers make no sense"));
        }
        let objects = (0..objects)
            .map(|_| input.object())
            .collect::<Result<_, _>>()?;
        let digests = (0..digests)
            .map(|_| input.bytes())
            .collect::<Result<_, _>>()?;
        let sum: Digest = input.hasher.clone().finalize().into();
        if input.bytes::<32>()? != sum {
            return Err(refused("its SHA-256 does not match"));
        }
        if input.inner.read(&mut [0]).map_err(failed)? != 0 {
            return Err(refused("bytes follow its end"));
        }
        let segment = Self {
            generation,
            sequence,
            start,
            end,
            previous,
            objects,
            digests,
        };
        Ok((segment, sum))
    }

    /// Reads the segment `name` from the scratch place.
    ///
    /// # Errors
    /// When the target fails, or the segment is not whole.
    pub fn open(
        store: &dyn BackupStore,
        container: &ContainerName,
        scratch: &str,
        name: SegmentName,
    ) -> Result<(Self, Digest), FormatError> {
        let input = store
            .open_in_scratch(container, scratch, &name.to_string())
            .map_err(|source| FormatError::Store { file: FILE, source })?;
        let (segment, sum) = Self::read(io::BufReader::new(input))?;
        if segment.name() != name {
            return Err(refused("it has another's name"));
        }
        Ok((segment, sum))
    }
}

/// The longest whole chain of segments: what of an attempt exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentChain {
    /// Its segments, first to last.
    pub segments: Vec<SegmentName>,
    /// The volume's bytes it covers, from 0.
    pub end: u64,
    /// SHA-256 of its last segment, for the next one to name; [`NO_PREDECESSOR`] when it is empty.
    pub last: Digest,
    /// The highest object number in it, 0 without any.
    pub objects: u64,
}

/// Finds the longest chain in a scratch place.
///
/// That is: whole segments, each naming the one before, from the volume's start without a gap.
/// Where two executions have both gone on after a common beginning, the one that came further
/// counts.
///
/// One segment is in memory at a time; what is kept per segment is a few dozen bytes.
///
/// # Errors
/// When the target fails. A damaged segment is no error: it does not exist.
pub fn longest_chain(
    store: &dyn BackupStore,
    container: &ContainerName,
    scratch: &str,
) -> Result<SegmentChain, FormatError> {
    let listed = store
        .list_scratch(container, scratch)
        .map_err(|source| FormatError::Store { file: FILE, source })?;
    let mut names: Vec<_> = listed
        .iter()
        .filter_map(|name| SegmentName::parse(name))
        .collect();
    drop(listed);
    names.sort_unstable();

    let mut nodes: Vec<Node> = Vec::new();
    // The ends of chains that a segment of the present sequence can continue, and of the next.
    let mut tips: Vec<Tip> = vec![Tip::START];
    let mut next_tips: Vec<Tip> = Vec::new();
    let mut best = Tip::START;
    let mut sequence = 0;
    for name in names {
        if name.sequence != sequence {
            if name.sequence != sequence + 1 || next_tips.is_empty() {
                break; // a gap: what follows hangs in the air
            }
            sequence = name.sequence;
            tips = std::mem::take(&mut next_tips);
        }
        let (segment, sum) = match Segment::open(store, container, scratch, name) {
            Ok(read) => read,
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => continue,
        };
        let Some(before) = tips.iter().find(|tip| tip.continued_by(&segment)) else {
            continue;
        };
        let tip = Tip {
            node: Some(nodes.len()),
            end: segment.end,
            sum,
            objects: segment
                .objects
                .last()
                .map_or(before.objects, |last| last.number),
        };
        nodes.push(Node {
            name,
            before: before.node,
        });
        next_tips.push(tip);
        if tip.end >= best.end {
            best = tip;
        }
    }

    let mut segments = Vec::new();
    let mut at = best.node;
    while let Some(index) = at {
        segments.push(nodes[index].name);
        at = nodes[index].before;
    }
    segments.reverse();
    Ok(SegmentChain {
        segments,
        end: best.end,
        last: best.sum,
        objects: best.objects,
    })
}

struct Node {
    name: SegmentName,
    before: Option<usize>,
}

#[derive(Clone, Copy)]
struct Tip {
    node: Option<usize>,
    end: u64,
    sum: Digest,
    objects: u64,
}

impl Tip {
    const START: Self = Self {
        node: None,
        end: 0,
        sum: NO_PREDECESSOR,
        objects: 0,
    };

    /// Whether the segment goes on here: same predecessor, same place, object numbers without a hole.
    fn continued_by(&self, segment: &Segment) -> bool {
        segment.previous == self.sum
            && segment.start == self.end
            && (self.objects + 1..)
                .zip(&segment.objects)
                .all(|(number, object)| number == object.number)
    }
}

fn algorithm_code(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        Compression::Zstd => 2,
        Compression::Zlib => 3,
        Compression::Bz2 => 4,
    }
}

fn refused(why: &str) -> FormatError {
    FormatError::Refused {
        file: FILE,
        why: why.to_owned(),
    }
}

fn failed(source: io::Error) -> FormatError {
    FormatError::Io { file: FILE, source }
}

/// Sums up what passes through.
struct Hashed<T> {
    inner: T,
    hasher: Sha256,
}

impl<W: Write> Hashed<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Hashed<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(failed)?;
        self.hasher.update(bytes);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn object(&mut self) -> Result<SegmentObject, FormatError> {
        let (number, offset) = (self.u64()?, self.u64()?);
        let (length, stored_bytes) = (self.u32()?, self.u32()?);
        let [code] = self.bytes()?;
        let compression = Compression::ALL
            .into_iter()
            .find(|known| algorithm_code(*known) == code)
            .ok_or_else(|| refused("it names an unknown algorithm"))?;
        Ok(SegmentObject {
            number,
            offset,
            length,
            compression,
            stored_bytes,
            md5: self.bytes()?,
        })
    }
}
