//! The wanted backup's sha256 file: read once to know it, and a second time in step with the windows.

use common::domain::ByteCount;
use common::messages::sheet::StoredBackup;

use super::chain::ChainObject;
use super::merge::Merge;
use super::too_small;
use crate::engine::EngineError;
use crate::engine::digest::BlockDigest;
use crate::format::FormatError;
use crate::format::sha256file::{self, DigestStream};
use crate::store::{BackupStore, StoreError};

/// Larger blocks than any object has are refused: a block has to fit into memory.
const BLOCK_MAX: u64 = 64 << 20;

/// Where the file is, and how large the backup may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedFile<'a> {
    pub(super) store: &'a dyn BackupStore,
    pub(super) backup: &'a StoredBackup,
    pub(super) size_gib: u32,
}

impl<'a> WantedFile<'a> {
    /// Reads the wanted sha256 file once, to know that it is whole and how long it is.
    pub(super) fn count(&self) -> Result<Option<CountedDigests>, EngineError> {
        let file = self.backup.prefix.sha256file();
        let input = match self.store.open(&self.backup.container, &file) {
            Ok((input, _)) => input,
            Err(StoreError::NoSuchObject { .. }) => return Ok(None),
            Err(source) => return Err(source.into()),
        };
        let mut count: u64 = 0;
        let block_size = sha256file::read(input, &mut |_digest| {
            count += 1;
            Ok(())
        })
        .map_err(|source| self.failed(source))?;
        let blocks_max = ByteCount::from_gib(self.size_gib)
            .0
            .div_ceil(block_size.max(1));
        if block_size > BLOCK_MAX || count > blocks_max {
            return Err(self.failed(FormatError::Refused {
                file: "sha256 file",
                why: format!(
                    "{count} digests of {block_size} bytes each do not fit a backup of {} GiB",
                    self.size_gib
                ),
            }));
        }
        Ok(Some(CountedDigests { block_size, count }))
    }

    /// Opens it again, to walk it.
    pub(super) fn open(&self) -> Result<WantedDigests<'a>, EngineError> {
        let stream = DigestStream::open(self.store, &self.backup.container, &self.backup.prefix)
            .and_then(|stream| {
                stream.ok_or_else(|| FormatError::Refused {
                    file: "sha256 file",
                    why: "it went away while it was read".to_owned(),
                })
            })
            .map_err(|source| self.failed(source))?;
        Ok(WantedDigests {
            file: *self,
            stream,
        })
    }

    fn failed(&self, source: FormatError) -> EngineError {
        EngineError::File {
            backup_id: self.backup.backup_id,
            object: self.backup.prefix.sha256file(),
            source,
        }
    }
}

/// The wanted backup's digests, walked in step.
#[derive(Debug)]
pub(super) struct WantedDigests<'a> {
    file: WantedFile<'a>,
    stream: DigestStream,
}

impl WantedDigests<'_> {
    /// Appends the next digests.
    pub(super) fn next(
        &mut self,
        digests: &mut Vec<BlockDigest>,
        count: usize,
    ) -> Result<(), EngineError> {
        let before = digests.len();
        let outcome = self.stream.next_digests(digests, count).and_then(|()| {
            if digests.len() - before == count {
                return Ok(());
            }
            Err(FormatError::Refused {
                file: "sha256 file",
                why: "it became shorter while it was read".to_owned(),
            })
        });
        outcome.map_err(|source| self.file.failed(source))
    }

    /// Passes over digests.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), EngineError> {
        let mut passed = Vec::new();
        while count > 0 {
            let step = count.min(4096);
            passed.clear();
            self.next(&mut passed, usize::try_from(step).unwrap_or(0))?;
            count -= step;
        }
        Ok(())
    }
}

/// What a first look at the wanted sha256 file told.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountedDigests {
    /// Bytes one digest covers.
    pub(super) block_size: u64,
    /// How many there are.
    pub(super) count: u64,
}

impl CountedDigests {
    /// Where the volume ended. Nothing records it: the object that has the beginning of the last block ends there, or
    /// goes on behind the block.
    pub(super) fn volume_end(self, objects: &[ChainObject], order: &[u32]) -> u64 {
        self.last_block().map_or(0, |last| {
            let piece = Merge::new(objects, order, last, last + 1).next();
            piece.map_or(last + 1, |piece| {
                let digests_end = self.block_size * self.count;
                objects[piece.object as usize].end().min(digests_end)
            })
        })
    }

    /// The end of what is to be restored to a target of `limit` bytes. Where objects reach further than the volume did,
    /// it was larger once, and that part is restored only as far as the target goes.
    pub(super) fn end(
        self,
        objects: &[ChainObject],
        order: &[u32],
        objects_end: u64,
        limit: u64,
    ) -> Result<u64, EngineError> {
        let digests_end = self.block_size * self.count;
        let least = self.volume_end(objects, order);
        if least > limit {
            return Err(too_small(least, limit));
        }
        Ok(objects_end.max(digests_end).min(limit))
    }

    /// Where the last block begins.
    pub(super) fn last_block(self) -> Option<u64> {
        self.count.checked_sub(1).map(|last| last * self.block_size)
    }
}
