//! The check of blocks against the wanted backup's digests, before any byte of them is written.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::engine::digest::{BlockDigest, ZeroDigests, digest_blocks, is_zero};

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// So many of its bytes, from its start, are what the digest says. The rest of it has no digest.
    Good(usize),
    /// It has no digest: what objects gave is taken as it is.
    NoDigest,
    /// Some of its bytes could not be had.
    Missing,
    /// Its bytes are not what the digest says.
    Bad,
}

/// Checks blocks, with reused buffers.
#[derive(Debug)]
pub(super) struct BlockChecker {
    block_size: usize,
    zeros: ZeroDigests,
    nonzero: Vec<usize>,
    computed: Vec<BlockDigest>,
}

impl BlockChecker {
    pub(super) fn new(block_size: usize) -> Self {
        Self {
            block_size,
            zeros: ZeroDigests::new(block_size),
            nonzero: Vec::new(),
            computed: Vec::new(),
        }
    }

    /// Whether all these digests are those of whole blocks of zeros.
    pub(super) fn are_of_zeros(&mut self, digests: &[BlockDigest]) -> bool {
        let zeros = self.zeros.of(self.block_size);
        digests.iter().all(|digest| *digest == zeros)
    }

    /// Judges the blocks of `data`. Those that are `Missing` in `verdicts` stay so; the others come as
    /// `NoDigest`, and get a judgement if there is a digest for them.
    pub(super) fn check(&mut self, data: &[u8], digests: &[BlockDigest], verdicts: &mut [Verdict]) {
        self.nonzero.clear();
        self.computed.clear();
        for (index, block) in data.chunks(self.block_size).take(digests.len()).enumerate() {
            self.computed.push(self.zeros.of(block.len()));
            if verdicts[index] != Verdict::Missing && !is_zero(block) {
                self.nonzero.push(index);
            }
        }
        digest_blocks(data, self.block_size, &self.nonzero, &mut self.computed);
        for (index, computed) in self.computed.iter().enumerate() {
            if verdicts[index] != Verdict::Missing {
                let length = self.block_size.min(data.len() - index * self.block_size);
                verdicts[index] = if *computed == digests[index]
                    || common::faults::planted("block_not_compared")
                {
                    Verdict::Good(length)
                } else {
                    Verdict::Bad
                };
            }
        }
    }

    /// How many bytes of the volume's last block its digest covers. Nothing records that: the volume ended where
    /// an object ends, or where what there is to restore ends; `ends` are these places, rising.
    pub(super) fn last_block_length(
        block: &[u8],
        digest: &BlockDigest,
        ends: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let mut hasher = Sha256::new();
        let mut hashed = 0;
        for end in ends {
            hasher.update(&block[hashed..end]);
            hashed = end;
            if hasher.clone().finalize().as_slice() == digest {
                return Some(end);
            }
        }
        None
    }
}

/// Adds a range to a rising list; one that begins where the last ended makes that longer.
pub(super) fn push_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    if range.is_empty() {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
