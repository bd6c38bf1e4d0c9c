//! The object plan of a backup: which bytes of the volume go into which object.
//!
//! It is a pure function of the snapshot, the parent's digests and the sheet, so two executions of
//! one attempt give every object the same number and content.

use common::domain::BackupId;
use common::messages::sheet::StoreOptions;

use crate::engine::EngineError;
use crate::engine::digest::BlockDigest;
use crate::engine::line::Units;
use crate::format::sha256file::DigestStream;
use crate::volume::Extent;

/// How a volume is cut into chunks and blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes of the volume.
    pub(super) volume_bytes: u64,
    /// Bytes of a chunk: what becomes one object at most.
    pub(super) chunk_size: usize,
    /// Bytes of a block: what one digest covers.
    pub(super) block_size: usize,
}

impl Layout {
    /// The layout the sheet asks for.
    pub(super) fn new(volume_bytes: u64, options: StoreOptions) -> Result<Self, EngineError> {
        let (object, block) = (options.object_size_bytes, options.block_size_bytes);
        if object == 0 || block == 0 || object % block != 0 {
            return Err(EngineError::Sheet {
                why: format!(
                    "an object size of {object} is no multiple of a block size of {block}"
                ),
            });
        }
        Ok(Self {
            volume_bytes,
            chunk_size: object as usize,
            block_size: block as usize,
        })
    }

    /// How many chunks there are.
    pub(super) fn chunk_count(&self) -> u64 {
        self.chunks_before(self.volume_bytes)
    }

    /// Whether a chunk begins at this byte, or the volume ends there.
    pub(super) fn is_border(&self, offset: u64) -> bool {
        offset == self.volume_bytes
            || (offset < self.volume_bytes && offset.is_multiple_of(self.chunk_size as u64))
    }

    /// How many chunks lie before a border.
    pub(super) fn chunks_before(&self, border: u64) -> u64 {
        border.div_ceil(self.chunk_size as u64)
    }

    /// The bytes of chunk `number`, counted from 0.
    fn chunk(&self, number: u64) -> Extent {
        let offset = number * self.chunk_size as u64;
        Extent {
            offset,
            length: (self.volume_bytes - offset).min(self.chunk_size as u64),
        }
    }
}

/// One chunk to work on, with the parent's digests of its blocks.
#[derive(Debug)]
pub(super) struct Stripe {
    /// Its bytes in the volume.
    pub(super) extent: Extent,
    /// What the parent has there; shorter than the chunk where the parent's volume ended, `None` for a full backup.
    pub(super) parent: Option<Vec<BlockDigest>>,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            extent: Extent {
                offset: 0,
                length: 0,
            },
            parent: None,
        }
    }
}

/// Hands out a volume's chunks in order, from chunk `first` on, and the parent's digests in step.
pub(super) struct Stripes {
    layout: Layout,
    next: u64,
    parent: Option<(BackupId, String, DigestStream)>,
}

impl Stripes {
    pub(super) fn full(layout: Layout, first: u64) -> Self {
        Self {
            layout,
            next: first,
            parent: None,
        }
    }

    /// Passes over the digests before chunk `first`.
    pub(super) fn incremental(
        layout: Layout,
        first: u64,
        parent_id: BackupId,
        file: String,
        digests: DigestStream,
    ) -> Result<Self, EngineError> {
        let mut stripes = Self {
            layout,
            next: 0,
            parent: Some((parent_id, file, digests)),
        };
        let mut passed = Stripe::default();
        while stripes.next < first && stripes.next(&mut passed)? {}
        Ok(stripes)
    }
}

impl Units for Stripes {
    type Unit = Stripe;

    fn next(&mut self, stripe: &mut Stripe) -> Result<bool, EngineError> {
        if self.next >= self.layout.chunk_count() {
            return Ok(false);
        }
        let extent = self.layout.chunk(self.next);
        if let Some((parent_id, file, digests)) = &mut self.parent {
            let length = usize::try_from(extent.length).expect("a chunk fits into memory");
            let blocks = length.div_ceil(self.layout.block_size);
            let known = stripe.parent.get_or_insert_default();
            known.clear();
            digests
                .next_digests(known, blocks)
                .map_err(|source| EngineError::File {
                    backup_id: *parent_id,
                    object: file.clone(),
                    source,
                })?;
        }
        stripe.extent = extent;
        self.next += 1;
        Ok(true)
    }
}

/// Runs of neighbouring blocks that differ from the parent's, as ranges of block indexes. Blocks the parent
/// does not have count as changed; with no parent at all the whole chunk is one run.
pub(super) fn changed_runs(
    digests: &[BlockDigest],
    parent: Option<&[BlockDigest]>,
    runs: &mut Vec<std::ops::Range<usize>>,
) {
    runs.clear();
    let Some(parent) = parent else {
        if !digests.is_empty() {
            runs.push(0..digests.len());
        }
        return;
    };
    for (index, digest) in digests.iter().enumerate() {
        if parent.get(index) == Some(digest) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::domain::Compression;

    fn options(object: u32, block: u32) -> StoreOptions {
        StoreOptions {
            compression: Compression::None,
            object_size_bytes: object,
            block_size_bytes: block,
        }
    }

    #[test]
    fn chunks_cover_the_volume_and_the_last_is_short() {
        let layout = Layout::new(2500, options(1024, 512)).unwrap();
        let mut stripes = Stripes::full(layout, 0);
        let mut stripe = Stripe::default();
        let mut covered = Vec::new();
        while stripes.next(&mut stripe).unwrap() {
            covered.push(stripe.extent);
        }
        let lengths: Vec<_> = covered.iter().map(|e| (e.offset, e.length)).collect();
        assert_eq!(lengths, [(0, 1024), (1024, 1024), (2048, 452)]);
        assert_eq!(Layout::new(0, options(1024, 512)).unwrap().chunk_count(), 0);
    }

    #[test]
    fn only_where_a_chunk_begins_or_the_volume_ends_can_be_gone_on() {
        let layout = Layout::new(2500, options(1024, 512)).unwrap();
        let borders: Vec<_> = (0..4000)
            .filter(|offset| layout.is_border(*offset))
            .collect();
        assert_eq!(borders, [0, 1024, 2048, 2500]);
        let before: Vec<_> = borders.iter().map(|at| layout.chunks_before(*at)).collect();
        assert_eq!(before, [0, 1, 2, 3]);
        let mut stripes = Stripes::full(layout, 2);
        let mut stripe = Stripe::default();
        assert!(stripes.next(&mut stripe).unwrap());
        assert_eq!(stripe.extent.offset, 2048);
        assert!(!stripes.next(&mut stripe).unwrap());
    }

    #[test]
    fn an_object_is_a_whole_number_of_blocks() {
        for (object, block) in [(1000, 512), (0, 512), (512, 0), (512, 1024)] {
            assert!(Layout::new(1, options(object, block)).is_err());
        }
    }

    #[test]
    fn neighbouring_changed_blocks_make_one_run() {
        let old: Vec<BlockDigest> = (0..6).map(|n| [n; 32]).collect();
        let mut new = old.clone();
        new.push([9; 32]); // the volume grew
        new[1] = [7; 32];
        new[2] = [7; 32];
        new[4] = [7; 32];
        let mut runs = Vec::new();
        changed_runs(&new, Some(&old), &mut runs);
        assert_eq!(runs, [1..3, 4..5, 6..7]);
        changed_runs(&old, Some(&old), &mut runs);
        assert!(runs.is_empty());
        for no_block_is_known in [None, Some(&[][..])] {
            changed_runs(&new, no_block_is_known, &mut runs);
            assert_eq!(runs, vec![0..7; 1]);
        }
    }
}
