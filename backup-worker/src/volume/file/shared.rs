//! Which ranges two clones of one volume have in the very same blocks: what is there was not written between them.
//!
//! ```text
//! kept     │  A  │  B  │ hole │  D  │      (snapshot of the parent)
//! frozen   │  A  │  X  │ hole │  D  │      (snapshot of now)
//!           same          same   same
//! ```
//!
//! Both files stand still and are open, so no block of theirs is given to other data meanwhile. Two holes are the
//! same, and so are two pieces that begin at the same place and of which the file system says nothing unusual.
//! Whatever else it says of a piece, its bytes count as changed. Only XFS and Btrfs are asked: elsewhere a place may be one on any
//! of several devices.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::super::{Extent, Unchanged};
use super::blocks::{Piece, Told};
use super::stamp::Stamp;

/// The last piece of its file; joined for telling; in other files too: none of that is about the bytes.
const HARMLESS: u32 = 0x0001 | 0x1000 | 0x2000;

/// Two clones of one volume.
#[derive(Debug)]
pub(super) struct SharedRanges {
    kept: File,
    frozen: File,
    has_failed: AtomicBool,
}

/// Whether a place that the file system tells is one place.
pub(super) fn are_places_told(file: &File) -> Result<bool, Errno> {
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    let magic = rustix::fs::fstatfs(file)?.f_type;
    Ok(u64::try_from(magic).is_ok_and(|magic| [XFS, BTRFS].contains(&magic)))
}

impl SharedRanges {
    /// `None` when they cannot be compared: other sizes, another file system, or one that is not asked.
    pub(super) fn of(kept: File, frozen: File) -> Result<Option<Self>, Errno> {
        let (one, other) = (Stamp::of(&kept)?, Stamp::of(&frozen)?);
        if one.size_bytes != other.size_bytes
            || one.device != other.device
            || !are_places_told(&kept)?
        {
            return Ok(None);
        }
        let mut told = Told::new();
        for file in [&kept, &frozen] {
            told.ask_synced(file, 0, one.size_bytes.max(1))?;
        }
        Ok(Some(Self {
            kept,
            frozen,
            has_failed: AtomicBool::new(false),
        }))
    }

    fn compare(&self, extent: Extent, same: &mut Vec<Extent>) -> Result<(), Errno> {
        let (mut kept, mut frozen) = (Runs::of(&self.kept, extent), Runs::of(&self.frozen, extent));
        let mut at = extent.offset;
        while at < extent.end() {
            let (one, other) = (kept.run_at(at)?, frozen.run_at(at)?);
            let end = one.end.min(other.end).min(extent.end());
            if one.place.is_same_as(other.place) {
                match same.last_mut() {
                    Some(last) if last.end() == at => last.length += end - at,
                    _ => same.push(Extent {
                        offset: at,
                        length: end - at,
                    }),
                }
            }
            at = end;
        }
        Ok(())
    }
}

impl Unchanged for SharedRanges {
    fn unchanged_in(&self, extent: Extent, ranges: &mut Vec<Extent>) {
        ranges.clear();
        if let Err(errno) = self.compare(extent, ranges) {
            ranges.clear();
            if !self.has_failed.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    error = %errno,
                    offset = extent.offset,
                    "the file system does not tell where a snapshot's blocks are; they are read"
                );
            }
        }
    }
}

/// Where a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Hole,
    /// So many bytes from where the file system keeps data.
    At(u64),
    /// There may be anything.
    Unknown,
}

impl Place {
    fn is_same_as(self, other: Self) -> bool {
        self == other && self != Self::Unknown
    }

    fn plus(self, bytes: u64) -> Self {
        match self {
            Self::At(place) => place.checked_add(bytes).map_or(Self::Unknown, Self::At),
            other => other,
        }
    }
}

/// A run of a file from the byte that was asked for up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    place: Place,
    end: u64,
}

/// One file's runs in a range, in order: an answer of the file system at a time is held.
struct Runs<'a> {
    file: &'a File,
    end: u64,
    told: Told,
    /// Up to here the pieces in hand tell.
    told_until: u64,
    next: usize,
}

impl<'a> Runs<'a> {
    fn of(file: &'a File, extent: Extent) -> Self {
        Self {
            file,
            end: extent.end(),
            told: Told::new(),
            told_until: extent.offset,
            next: 0,
        }
    }

    /// The run that `at` is in. Places are asked for in ascending order.
    fn run_at(&mut self, at: u64) -> Result<Run, Errno> {
        if at >= self.told_until {
            self.ask(at)?;
        }
        let pieces = self.told.pieces();
        while pieces
            .get(self.next)
            .is_some_and(|piece| end_of(piece) <= at)
        {
            self.next += 1;
        }
        Ok(match pieces.get(self.next) {
            Some(piece) if piece.logical <= at => Run {
                place: place_of(piece).plus(at - piece.logical),
                end: end_of(piece),
            },
            next => Run {
                place: Place::Hole,
                end: next.map_or(self.told_until, |next| next.logical.min(self.told_until)),
            },
        })
    }

    /// Asks for the pieces from `at` on. An answer that makes no sense or does not lead on is none.
    fn ask(&mut self, at: u64) -> Result<(), Errno> {
        self.told.ask(self.file, at, self.end - at)?;
        self.next = 0;
        let pieces = self.told.pieces();
        self.told_until = match pieces.last() {
            // More may follow it.
            Some(last) if self.told.is_full() => end_of(last).min(self.end),
            _ => self.end,
        };
        let in_order = pieces
            .windows(2)
            .all(|pair| end_of(&pair[0]) <= pair[1].logical);
        if in_order && pieces.iter().all(|piece| piece.length > 0) && self.told_until > at {
            Ok(())
        } else {
            Err(Errno::PROTO)
        }
    }
}

fn end_of(piece: &Piece) -> u64 {
    piece.logical.saturating_add(piece.length)
}

fn place_of(piece: &Piece) -> Place {
    if piece.flags & !HARMLESS == 0 {
        Place::At(piece.physical)
    } else {
        Place::Unknown
    }
}
