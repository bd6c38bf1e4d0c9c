//! Steps 5 and 6 of *Create*: the frozen volume becomes objects and a chain of segments.
//!
//! ```text
//!        plan            each of `threads` threads, a stripe to its end            the calling thread
//! ┌────────────────┐    ┌──────────────────────────────────────────────┐    ┌─────────────────────────┐
//! │ chunk n,       │───►│ read ─► digest ─► changed runs ─► objects     │───►│ collect: order, numbers │
//! │ parent digests │    │ (no holes)      (against parent)  encode,    │    │ seal: publish, segment ●│
//! └────────────────┘    │   shelf: MD5 of several chunks' ◄─ part      │    │ monitor: sealed(mark)   │
//!    locked, in order   └──────────────────────────────────────────────┘    └─────────────────────────┘
//! ```
//!
//! What the driver knows to be as the parent has it is neither read nor digested ([`trust`]).

mod collect;
mod object;
mod plan;
mod read;
mod resume;
mod seal;
mod stripe;
mod trust;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use common::messages::sheet::{BackupSheet, StoredBackup, WorkTotals};

use self::object::{ObjectMaker, Scratch};
use self::plan::{Layout, Stripe, Stripes};
use self::read::ChunkReader;
use self::seal::Sealer;
use self::stripe::{StripeDone, StripeRunner};
use self::trust::Trust;
use super::line::Line;
use super::shelf::Shelf;
use super::zeros::ZeroObject;
use super::{EngineError, EngineLimits, Monitor, Stop, Throttle, crew};
use crate::format::sha256file::DigestStream;
use crate::store::BackupStore;
use crate::volume::FrozenVolume;

/// A backup to make.
#[derive(Debug)]
pub struct BackupTask<'a> {
    /// What to make, under which names.
    pub sheet: &'a BackupSheet,
    /// This execution's number.
    pub generation: u64,
    /// The volume, frozen.
    pub source: Arc<dyn FrozenVolume>,
    /// Where the objects go.
    pub store: Arc<dyn BackupStore>,
    /// Threads and seals.
    pub limits: EngineLimits,
    /// How fast bytes of the volume are read, and objects stored.
    pub throttle: Throttle,
    /// The job.
    pub monitor: Arc<dyn Monitor>,
}

/// All of the volume is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Data objects of the backup.
    pub object_count: u64,
    /// Sums.
    pub totals: WorkTotals,
    /// Bytes that were known to be as the parent has them, and were not read; `None` when the driver knows nothing.
    pub unread_bytes: Option<u64>,
}

/// Reads the volume, stores its objects and seals them in segments, from where the attempt's segments end to the
/// volume's end. A worker that is stopping finishes and seals what it has in hand.
///
/// # Errors
/// Whatever fails first. What is sealed by then stays; what is not is left in the scratch place. [`EngineError::Gap`]
/// when the attempt was begun and cannot be gone on with.
pub fn backup(task: &BackupTask<'_>) -> Result<Sealed, EngineError> {
    seal_all(task).map_err(|error| {
        if !matches!(error, EngineError::Stopped(Stop::Fenced)) {
            discard_parts(task);
        }
        super::unless_away(&*task.store, error)
    })
}

/// What this execution wrote and did not seal is of no use to any other; a full target has no room for it.
fn discard_parts(task: &BackupTask<'_>) {
    let names = &task.sheet.names;
    let Some(scratch) = &names.scratch else {
        return;
    };
    let parts = object::parts_of(task.generation);
    if let Err(error) = task.store.discard_parts(&names.container, scratch, &parts) {
        let error = common::telemetry::error_chain(&error);
        tracing::debug!(error, "unsealed parts stay in the scratch place");
    }
}

fn seal_all(task: &BackupTask<'_>) -> Result<Sealed, EngineError> {
    let sheet = task.sheet;
    let store = &*task.store;
    let source = &*task.source;
    let names = &sheet.names;
    let scratch = super::scratch_of(sheet)?;
    let layout = Layout::new(source.size_bytes(), sheet.options)?;
    store.check_marker()?;
    store.prepare(&names.container, scratch)?;
    let chain = resume::checkpoint(store, sheet, scratch, layout)?;
    if chain.end > 0 {
        task.monitor.sealed(chain.end);
    }
    let first = layout.chunks_before(chain.end);
    let stripes = match &sheet.parent {
        None => Stripes::full(layout, first),
        Some(parent) => {
            let (file, digests) = parent_digests(store, parent, layout.block_size)?;
            Stripes::incremental(layout, first, parent.backup_id, file, digests)?
        }
    };

    let trust = Trust::of(sheet, source, layout.block_size);
    let place = Scratch {
        store,
        container: &names.container,
        scratch,
        generation: task.generation,
    };
    let (threads, room) = task.limits.room(layout.chunk_size);
    let shelf = Shelf::new(room);
    let zeros = ZeroObject::new(layout.chunk_size);
    let pace = task.throttle.pace(&*task.monitor);
    let line = Line::new(stripes, room.buffers + 2 * threads);
    let mut sealer = Sealer::new(place, &names.prefix, source, &*task.monitor, &chain);
    let work = |results: &SyncSender<StripeDone>| {
        let mut runner = StripeRunner::new(
            ChunkReader::new(source, layout.chunk_size, layout.block_size, threads, pace),
            ObjectMaker::new(place, sheet.options.compression, &zeros, pace),
            layout.block_size,
            trust.as_ref(),
        );
        // A collector that is gone has halted the line.
        let finish = |done| drop(results.send(done));
        let mut stripe = Stripe::default();
        loop {
            match task.monitor.keep_going() {
                Ok(()) => {}
                // What the others have in hand is finished and sealed; nothing new is begun.
                Err(Stop::Draining) => {
                    line.halt();
                    break;
                }
                Err(stop) => return Err(stop.into()),
            }
            let Some(number) = line.take(&mut stripe, || shelf.clear(finish))? else {
                break;
            };
            let mut buffer = shelf.lend(finish);
            let (done, wanted) = runner.run(number, &stripe, buffer.get())?;
            if wanted.is_empty() {
                drop(buffer);
                finish(done);
            } else {
                shelf.put(done, buffer, wanted, finish);
            }
        }
        shelf.clear(finish);
        Ok(())
    };
    let collected = crew::run(threads, &line, work, |results| {
        collect::collect(
            results,
            &line,
            layout,
            chain.end,
            &task.limits,
            &mut sealer,
            &*task.monitor,
        )
    })?;
    Ok(Sealed {
        object_count: sealer.object_count(),
        totals: collected.totals,
        unread_bytes: trust.map(|_| collected.unread_bytes),
    })
}

/// The parent's digests, for blocks of the wanted size.
fn parent_digests(
    store: &dyn BackupStore,
    parent: &StoredBackup,
    block_size: usize,
) -> Result<(String, DigestStream), EngineError> {
    let refused = |why| EngineError::Parent {
        parent_id: parent.backup_id,
        why,
    };
    let file = parent.prefix.sha256file();
    let digests = DigestStream::open(store, &parent.container, &parent.prefix)
        .map_err(|source| EngineError::File {
            backup_id: parent.backup_id,
            object: file.clone(),
            source,
        })?
        .ok_or_else(|| refused("it has no sha256 file".to_owned()))?;
    if digests.block_size() != block_size as u64 {
        return Err(refused(format!(
            "its digests are of blocks of {} bytes, and ours would be of {block_size}",
            digests.block_size()
        )));
    }
    Ok((file, digests))
}
