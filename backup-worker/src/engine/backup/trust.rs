//! Blocks that need not be read: the volume's driver says that they are as the parent has them.
//!
//! ```text
//! driver: unchanged ranges ──► blocks wholly inside ──┬─ drawn for the sample: read, digested, compared ─► must be equal
//!                                                     └─ all others: the parent's digest, unread
//! ```
//!
//! What is told is trusted, and some of it looked at all the same: one block in [`SAMPLE`]. One that is not as the
//! parent has it ends the attempt, and the next attempt of the backup trusts nothing ([`Trust::of`]). Which blocks are
//! drawn depends on the backup's id alone, so an execution that goes on where another found such a block, and was lost before it
//! could say so, draws it too: nothing at or behind it was sealed.

use std::ops::Range;

use common::domain::{BackupId, VolumeId};
use common::messages::sheet::BackupSheet;
use common::metrics::UNTRUE_BLOCKS;

use crate::engine::EngineError;
use crate::engine::digest::BlockDigest;
use crate::volume::{Extent, FrozenVolume, Unchanged};

/// One of so many blocks that count as unchanged is read and compared.
const SAMPLE: u64 = 1024;

/// What a backup trusts.
#[derive(Debug)]
pub(super) struct Trust {
    unchanged: Box<dyn Unchanged>,
    volume_id: VolumeId,
    parent_id: BackupId,
    seed: u64,
    block_size: usize,
}

impl Trust {
    /// What is to be trusted, if anything is: the first attempt of an incremental, on a volume whose driver can tell.
    pub(super) fn of(
        sheet: &BackupSheet,
        source: &dyn FrozenVolume,
        block_size: usize,
    ) -> Option<Self> {
        let parent_id = sheet.parent.as_ref()?.backup_id;
        if sheet.names.number > 1 {
            return None;
        }
        let (high, low) = sheet.backup_id.as_uuid().as_u64_pair();
        Some(Self {
            unchanged: source.unchanged_since(parent_id)?,
            volume_id: sheet.volume.volume_id,
            parent_id,
            seed: high ^ low,
            block_size,
        })
    }

    /// Tells operators too: the driver, or what it stands on, cannot be trusted.
    fn betrayed_at(&self, offset: u64) -> EngineError {
        let Self {
            volume_id,
            parent_id,
            ..
        } = *self;
        metrics::counter!(UNTRUE_BLOCKS).increment(1);
        tracing::warn!(
            volume_id = %volume_id,
            parent_id = %parent_id,
            offset,
            "a block that counted as unchanged is not as the parent has it; the volume is read in full"
        );
        EngineError::Untrue { parent_id, offset }
    }

    fn is_drawn(&self, block: u64) -> bool {
        mixed(self.seed ^ mixed(block)).is_multiple_of(SAMPLE)
    }
}

/// All 64 bits of a number over all 64 bits (the finalizer of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What of one chunk is read. Its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Choice {
    ranges: Vec<Extent>,
    /// Runs of blocks to read, in order, none touching another.
    pub(super) read: Vec<Range<usize>>,
    /// Blocks that are read for the sample.
    drawn: Vec<usize>,
    /// Bytes of the blocks that are not read.
    pub(super) unread_bytes: u64,
}

impl Choice {
    /// Everything.
    pub(super) fn all(&mut self, blocks: usize) {
        self.drawn.clear();
        self.unread_bytes = 0;
        self.read.clear();
        self.read.extend((blocks > 0).then_some(0..blocks));
    }

    /// What cannot be trusted, and the sample. Only of the first `known` blocks the parent has a digest.
    pub(super) fn part(&mut self, trust: &Trust, chunk: Extent, known: usize) {
        let size = trust.block_size as u64;
        let blocks = index(chunk.length.div_ceil(size));
        self.all(0);
        trust.unchanged.unchanged_in(chunk, &mut self.ranges);
        let mut from = 0; // everything before it is decided
        for range in &self.ranges {
            let within = |at: u64| at.clamp(chunk.offset, chunk.end()) - chunk.offset;
            let start = index(within(range.offset).div_ceil(size));
            let end = match within(range.end()) {
                end if end == chunk.length => blocks, // the last block may be short
                end => index(end / size),
            };
            let (start, end) = (start.max(from), end.min(known));
            if start >= end {
                continue;
            }
            add(&mut self.read, from..start);
            for block in start..end {
                if trust.is_drawn(chunk.offset / size + block as u64) {
                    add(&mut self.read, block..block + 1);
                    self.drawn.push(block);
                } else {
                    let at = block as u64 * size;
                    self.unread_bytes += size.min(chunk.length - at);
                }
            }
            from = end;
        }
        add(&mut self.read, from..blocks);
    }

    /// Gives every block that was not read the parent's digest, and holds the sample against it.
    pub(super) fn settle(
        &self,
        trust: &Trust,
        chunk: Extent,
        parent: &[BlockDigest],
        digests: &mut [BlockDigest],
    ) -> Result<(), EngineError> {
        for &block in &self.drawn {
            if digests[block] != parent[block] {
                return Err(trust.betrayed_at(chunk.offset + (block * trust.block_size) as u64));
            }
        }
        let mut from = 0;
        for run in self.read.iter().chain([&(digests.len()..digests.len())]) {
            digests[from..run.start].copy_from_slice(&parent[from..run.start]);
            from = run.end;
        }
        Ok(())
    }
}

/// Adds a run that begins at or behind the end of the last one.
fn add(runs: &mut Vec<Range<usize>>, run: Range<usize>) {
    match runs.last_mut() {
        _ if run.is_empty() => {}
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

/// A length within a chunk as an index; chunks are below 4 GiB.
fn index(length: u64) -> usize {
    usize::try_from(length).expect("a chunk fits into memory")
}
