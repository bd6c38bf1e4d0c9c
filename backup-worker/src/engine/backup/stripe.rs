//! One stripe, which is a chunk, run to its end by one thread: read, digest, compare, encode, store.
//!
//! Only the MD5 of its objects is left then. Its bytes stay in their buffer for that; see [`shelf`](crate::engine::shelf).

use std::ops::Range;

use common::step;
use tracing::Span;

use super::object::{MadeObject, ObjectMaker};
use super::plan::{Stripe, changed_runs};
use super::read::ChunkReader;
use super::trust::{Choice, Trust};
use crate::engine::EngineError;
use crate::engine::digest::{BlockDigest, ZeroDigests, digest_blocks, is_zero};
use crate::engine::shelf::{Buffer, Done, Wanted};
use crate::volume::Extent;

/// What comes out of a stripe.
#[derive(Debug)]
pub(super) struct StripeDone {
    /// Its place in the order.
    pub(super) number: u64,
    /// Its bytes of the volume.
    pub(super) extent: Extent,
    /// A digest for each of its blocks.
    pub(super) digests: Vec<BlockDigest>,
    /// Its objects, in volume order, without numbers yet.
    pub(super) objects: Vec<MadeObject>,
    /// Bytes that were read.
    pub(super) read_bytes: u64,
    /// Bytes that were zeros, or as the parent has them.
    pub(super) skipped_bytes: u64,
    /// Bytes that were not read, because they are as the parent has them.
    pub(super) unread_bytes: u64,
}

impl Done for StripeDone {
    fn set_md5(&mut self, object: usize, md5: [u8; 16]) {
        self.objects[object].md5 = Some(md5);
    }
}

/// One thread's tools. They are to be made on that thread: their spans are parts of its own.
#[derive(Debug)]
pub(super) struct StripeRunner<'a> {
    reader: ChunkReader<'a>,
    maker: ObjectMaker<'a>,
    block_size: usize,
    trust: Option<&'a Trust>,
    choice: Choice,
    zeros: ZeroDigests,
    nonzero: Vec<usize>,
    runs: Vec<Range<usize>>,
    reading: Span,
    digesting: Span,
}

impl<'a> StripeRunner<'a> {
    pub(super) fn new(
        reader: ChunkReader<'a>,
        maker: ObjectMaker<'a>,
        block_size: usize,
        trust: Option<&'a Trust>,
    ) -> Self {
        Self {
            reader,
            maker,
            block_size,
            trust,
            choice: Choice::default(),
            zeros: ZeroDigests::new(block_size),
            nonzero: Vec::new(),
            runs: Vec::new(),
            reading: step!("read"),
            digesting: step!("digest"),
        }
    }

    /// Runs one stripe, and tells of which objects the MD5 is still wanted.
    pub(super) fn run(
        &mut self,
        number: u64,
        stripe: &Stripe,
        buffer: &mut Buffer,
    ) -> Result<(StripeDone, Vec<Wanted>), EngineError> {
        let extent = stripe.extent;
        let parent = stripe.parent.as_deref();
        let trusted = self.trust.zip(parent);
        if let Some((trust, parent)) = trusted {
            self.choice.part(trust, extent, parent.len());
            if self.choice.read.is_empty() {
                return Ok((self.unread(number, extent, parent), Vec::new()));
            }
        } else {
            let length = usize::try_from(extent.length).expect("a chunk fits into memory");
            self.choice.all(length.div_ceil(self.block_size));
        }
        let wanted = &self.choice.read;
        let chunk = self
            .reading
            .in_scope(|| self.reader.read(extent, wanted, buffer))?;

        let digesting = self.digesting.enter();
        let mut digests = Vec::with_capacity(chunk.holes.len());
        self.nonzero.clear();
        for (index, block) in chunk.data.chunks(self.block_size).enumerate() {
            digests.push(self.zeros.of(block.len()));
            if !chunk.holes[index] && !is_zero(block) {
                self.nonzero.push(index);
            }
        }
        digest_blocks(chunk.data, self.block_size, &self.nonzero, &mut digests);
        drop(digesting);
        if let Some((trust, parent)) = trusted {
            self.choice.settle(trust, extent, parent, &mut digests)?;
        }

        changed_runs(&digests, parent, &mut self.runs);
        let mut objects = Vec::with_capacity(self.runs.len());
        let mut wanted = Vec::with_capacity(self.runs.len());
        let mut worked = 0;
        for run in &self.runs {
            let bytes =
                run.start * self.block_size..chunk.data.len().min(run.end * self.block_size);
            let from = self.nonzero.partition_point(|index| *index < run.start);
            let to = self.nonzero.partition_point(|index| *index < run.end);
            worked += ((to - from) * self.block_size) as u64; // a short last block counts as whole
            let offset = extent.offset + bytes.start as u64;
            let plain = &chunk.data[bytes.clone()];
            let object = self.maker.make(offset, plain, from == to)?;
            if object.md5.is_none() {
                wanted.push((objects.len(), bytes));
            }
            objects.push(object);
        }
        let done = StripeDone {
            number,
            extent,
            digests,
            objects,
            read_bytes: chunk.read_bytes,
            skipped_bytes: extent.length.saturating_sub(worked),
            unread_bytes: self.choice.unread_bytes,
        };
        Ok((done, wanted))
    }

    /// A stripe of which nothing has to be looked at.
    fn unread(&self, number: u64, extent: Extent, parent: &[BlockDigest]) -> StripeDone {
        StripeDone {
            number,
            extent,
            digests: parent.to_vec(),
            objects: Vec::new(),
            read_bytes: 0,
            skipped_bytes: extent.length,
            unread_bytes: self.choice.unread_bytes,
        }
    }
}
