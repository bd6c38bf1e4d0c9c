//! Seals: objects get their names and become durable, then a segment says so.
//!
//! What no segment of the chain names does not exist, so the order here is the whole of it:
//! the volume is checked, the parts are published, the segment is written, and only then the job hears the mark.

use common::domain::ObjectPrefix;
use common::step;
use tracing::Span;

use super::object::Scratch;
use super::stripe::StripeDone;
use crate::engine::{EngineError, Monitor, Stop};
use crate::format::segment::{Segment, SegmentChain, SegmentObject};
use crate::store::Part;
use crate::volume::FrozenVolume;

/// What is done and not yet sealed, in volume order.
#[derive(Debug)]
pub(super) struct Batch {
    segment: Segment,
    parts: Vec<(Part, String)>,
    /// Bytes of the volume that were read for it.
    read_bytes: u64,
}

/// So many times the seal size is sealed at once where little of it had to be read: doing that again costs little, and a
/// seal costs the same for holes as for data.
const UNREAD: u64 = 16;

/// Seals batch after batch into a chain of segments.
#[derive(Debug)]
pub(super) struct Sealer<'a> {
    place: Scratch<'a>,
    prefix: &'a ObjectPrefix,
    source: &'a dyn FrozenVolume,
    monitor: &'a dyn Monitor,
    batch: Batch,
    object_count: u64,
    sealing: Span,
}

impl<'a> Sealer<'a> {
    /// A sealer that goes on after `chain`.
    pub(super) fn new(
        place: Scratch<'a>,
        prefix: &'a ObjectPrefix,
        source: &'a dyn FrozenVolume,
        monitor: &'a dyn Monitor,
        chain: &SegmentChain,
    ) -> Self {
        Self {
            place,
            prefix,
            source,
            monitor,
            batch: Batch {
                segment: Segment {
                    generation: place.generation,
                    sequence: chain.segments.len() as u64,
                    start: chain.end,
                    end: chain.end,
                    previous: chain.last,
                    objects: Vec::new(),
                    digests: Vec::new(),
                },
                parts: Vec::new(),
                read_bytes: 0,
            },
            object_count: chain.objects,
            sealing: step!("seal"),
        }
    }

    /// Takes in the next stripe, and gives its objects their numbers.
    pub(super) fn add(&mut self, done: StripeDone) {
        let Batch {
            segment,
            parts,
            read_bytes,
        } = &mut self.batch;
        debug_assert_eq!(segment.end, done.extent.offset, "stripes come in order");
        *read_bytes += done.read_bytes;
        segment.end = done.extent.end();
        segment.digests.extend(done.digests);
        for object in done.objects {
            self.object_count += 1;
            segment.objects.push(SegmentObject {
                number: self.object_count,
                offset: object.extent.offset,
                length: narrow(object.extent.length),
                compression: object.compression,
                stored_bytes: narrow(object.part.bytes),
                md5: object.md5.expect("what comes from the shelf has its MD5"),
            });
            parts.push((object.part, self.prefix.object(self.object_count)));
        }
    }

    /// Whether as much waits to be sealed as a crash may cost.
    pub(super) fn is_due(&self, seal_size_bytes: u64) -> bool {
        self.batch.read_bytes >= seal_size_bytes
            || self.unsealed_bytes() >= seal_size_bytes.saturating_mul(UNREAD)
    }

    /// Bytes of the volume that wait to be sealed.
    fn unsealed_bytes(&self) -> u64 {
        self.batch.segment.end - self.batch.segment.start
    }

    /// Objects so far, sealed or not.
    pub(super) fn object_count(&self) -> u64 {
        self.object_count
    }

    /// Seals what waits, if anything does. A worker that is stopping seals all the same: what is done then
    /// need not be done again.
    pub(super) fn seal(&mut self) -> Result<(), EngineError> {
        if self.unsealed_bytes() == 0 {
            return Ok(());
        }
        let _span = self.sealing.enter();
        match self.monitor.keep_going() {
            Ok(()) | Err(Stop::Draining) => {}
            Err(stop) => return Err(stop.into()),
        }
        self.source.check_unchanged()?;
        let Scratch {
            store,
            container,
            scratch,
            ..
        } = self.place;
        let Batch {
            segment,
            parts,
            read_bytes,
        } = &mut self.batch;
        common::durable!(
            "backup.parts",
            store.publish_parts(container, scratch, parts)
        )?;
        segment.previous =
            common::durable!("backup.segment", segment.seal(store, container, scratch))?;
        let mark = segment.end;
        segment.sequence += 1;
        segment.start = mark;
        segment.objects.clear();
        segment.digests.clear();
        parts.clear();
        *read_bytes = 0;
        self.monitor.sealed(mark);
        Ok(())
    }
}

/// An object's bytes: at most a chunk's, and a chunk's are a `u32` in the sheet.
fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("an object is no longer than a chunk")
}
