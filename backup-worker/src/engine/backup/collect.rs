//! The collector: puts stripes back in order, seals, and reports.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use common::domain::ByteCount;
use common::messages::sheet::WorkTotals;

use super::plan::{Layout, Stripes};
use super::seal::Sealer;
use super::stripe::StripeDone;
use crate::engine::line::Line;
use crate::engine::{EngineError, EngineLimits, Monitor, Progress, Stop};

/// What the collector has counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Collected {
    /// Sums.
    pub(super) totals: WorkTotals,
    /// Bytes that were not read, because they are as the parent has them.
    pub(super) unread_bytes: u64,
}

/// Collects all stripes of a backup from byte `start` on and seals them. Returns the totals when the channel ends.
pub(super) fn collect(
    receiver: &Receiver<StripeDone>,
    line: &Line<Stripes>,
    layout: Layout,
    start: u64,
    limits: &EngineLimits,
    sealer: &mut Sealer<'_>,
    monitor: &dyn Monitor,
) -> Result<Collected, EngineError> {
    let mut waiting: BTreeMap<u64, StripeDone> = BTreeMap::new();
    let mut next = 0;
    let mut unread_bytes = 0;
    let mut progress = Progress {
        done_bytes: start,
        totals: WorkTotals {
            volume: ByteCount(layout.volume_bytes),
            ..WorkTotals::default()
        },
    };
    monitor.advanced(progress); // what earlier executions did is done
    let mut seal_by = Instant::now() + limits.seal_after;
    loop {
        match receiver.recv_timeout(seal_by.saturating_duration_since(Instant::now())) {
            Ok(done) => {
                count(&mut progress, &done);
                unread_bytes += done.unread_bytes;
                monitor.advanced(progress);
                waiting.insert(done.number, done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(done) = waiting.remove(&next) {
            next += 1;
            sealer.add(done);
            line.collected(next); // what is in the batch holds nobody up while it is made durable
            if sealer.is_due(limits.seal_size_bytes) {
                sealer.seal()?;
                seal_by = Instant::now() + limits.seal_after;
            }
        }
        if seal_by <= Instant::now() {
            sealer.seal()?;
            seal_by = Instant::now() + limits.seal_after;
        }
    }
    let collected = Collected {
        totals: progress.totals,
        unread_bytes,
    };
    if next == layout.chunk_count() - layout.chunks_before(start) {
        sealer.seal()?;
        return Ok(collected);
    }
    // Fewer stripes than planned. The worker is stopping, and what it had in hand is done and sealed; or a thread
    // failed, and its error tells why. What that left unsealed is nobody's.
    match monitor.keep_going() {
        Ok(()) => Ok(collected),
        Err(stop) => {
            if stop == Stop::Draining {
                sealer.seal()?;
            }
            Err(stop.into())
        }
    }
}

fn count(progress: &mut Progress, done: &StripeDone) {
    progress.done_bytes += done.extent.length;
    progress.totals.read.0 += done.read_bytes;
    progress.totals.skipped.0 += done.skipped_bytes;
    progress.totals.written.0 += done.objects.iter().map(|o| o.part.bytes).sum::<u64>();
}
