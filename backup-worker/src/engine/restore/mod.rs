//! Steps 4 to 6 of *Restore*: a chain of backups becomes a volume again, and what is written is proven.
//!
//! ```text
//!  chain: all metadata files, the wanted sha256 file, every object's name     read and checked, nothing written
//!    │
//!    ▼  merge: which object gives which byte        windows: where threads may part
//! ┌─────────────────┐    ┌─────────────────────────────────────────────────────────┐    ┌──────────────────┐
//! │ window n:       │───►│ batch by batch: objects (streamed, MD5 at their end)    │───►│ collect: order,  │
//! │ pieces, digests │    │   ─► check (block digests) ─► may_write ─► write_at      │    │ sync ●, sealed   │
//! └─────────────────┘    └─────────────────────────────────────────────────────────┘    └──────────────────┘
//!    locked, in order        each of `threads` threads, a window to its end             the calling thread
//! ```
//!
//! What proves a byte:
//!
//! * **The wanted backup's digest of its block**, checked before the byte is written. Of an object that newer ones lie over
//!   nothing else is asked: it is read no further than needed, and its MD5 is not computed. One that is wanted as a whole
//!   must match its recorded length and MD5 too.
//! * **Its object's MD5**, where no digest covers it: a backup without sha256 file (a warning says so), and what a
//!   parent has behind the end of a volume that became smaller (written as Cinder does, as far as the target reaches).
//!   Such objects are always read to their end.
//! * An object of zeros is compared with the bytes that a backup stores for such a one, in place of decoding and MD5.
//! * A block that no object has must be zeros by its digest. Without digests a gap keeps what the target has, as in Cinder.
//!
//! Objects that fit into a buffer wait in it, written, until the MD5 of several is computed side by side; the mark stays
//! before them meanwhile. See [`shelf`](super::shelf). A restore that has to stop digests what waits before it leaves, so
//! that its mark is as far as it has written.
//!
//! Damage does not end a restore at once: whatever is good is written, every bad extent is named, and the restore fails.

mod chain;
mod check;
mod collect;
mod digests;
mod measure;
mod merge;
mod objects;
mod present;
mod run;
mod windows;

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use common::messages::sheet::{StoredBackup, WorkTotals};
use sha2::{Digest as _, Sha256};

use self::chain::{Chain, ChainObject};
use self::collect::Collecting;
use self::digests::{CountedDigests, WantedFile};
pub use self::measure::{Measured, measure};
use self::merge::{Merge, by_offset};
use self::run::{Report, Shared, Sink, WindowRunner};
use self::windows::{Window, Windows};
use super::line::Line;
use super::shelf::Shelf;
use super::zeros::ZeroObject;
use super::{BadExtent, Damage, EngineError, EngineLimits, Monitor, Throttle, crew};
use crate::store::BackupStore;
use crate::volume::TargetVolume;

/// The unit of work where there are no digests: as large as blocks usually are.
const NO_DIGEST_BLOCK: u64 = 32 << 10;
/// Bytes of the volume that are checked and written at once, if a block is no longer.
const BATCH_MAX: usize = 1 << 20;
/// Nor are more blocks than that: as many as [`BATCH_MAX`] has of the usual size.
const BATCH_BLOCKS_MAX: usize = 32;

/// Longer objects are streamed, and their MD5 is computed as they pass.
const WHOLE_MAX: u64 = 16 << 20;

/// A backup to restore.
#[derive(Debug)]
pub struct RestoreTask<'a> {
    /// The wanted backup first, then its parents down to the full one.
    pub chain: &'a [StoredBackup],
    /// The volume's size when the wanted backup was made.
    pub backup_size_gib: u32,
    /// What to write, locked.
    pub target: Arc<dyn TargetVolume>,
    /// What the target holds.
    pub target_holds: TargetHolds,
    /// Bytes of the target, from its start, that are written and durable already.
    pub mark: u64,
    /// Where the objects are.
    pub store: Arc<dyn BackupStore>,
    /// Threads and seals.
    pub limits: EngineLimits,
    /// How fast objects are read, and bytes of the volume written.
    pub throttle: Throttle,
    /// The job.
    pub monitor: Arc<dyn Monitor>,
}

/// What a restore's target holds before the restore writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetHolds {
    /// Anything: every byte is written.
    Anything,
    /// Anything, and much of it may be what the backup has: every byte is read, and what differs is written.
    Similar,
    /// It was made for this restore and reads as zeros: zeros are skipped.
    Zeros,
    /// It was made for this restore, and an earlier execution may have written to it: zeros are skipped where they
    /// are found.
    Leftovers,
}

/// The volume holds the backup's bytes, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Sums.
    pub totals: WorkTotals,
    /// The wanted backup's `volume_meta`.
    pub volume_meta: Option<String>,
    /// What could not be checked as well as it should be.
    pub warnings: Vec<String>,
}

/// A backup to check, with all it builds on.
#[derive(Debug)]
pub struct VerifyTask<'a> {
    /// The wanted backup first, then its parents down to the full one.
    pub chain: &'a [StoredBackup],
    /// The volume's size when the wanted backup was made.
    pub backup_size_gib: u32,
    /// Where the objects are.
    pub store: Arc<dyn BackupStore>,
    /// Threads.
    pub limits: EngineLimits,
    /// How fast objects are read.
    pub throttle: Throttle,
    /// Who asks.
    pub monitor: Arc<dyn Monitor>,
    /// A share to read instead of all.
    pub sample: Option<Sample>,
}

/// A random share of a backup's windows; the same one for the same seed and the same stored files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// How much: from 0 to 1.
    pub share: f64,
    /// Which.
    pub seed: u64,
}

impl Sample {
    /// Whether a window is in it.
    fn takes(self, window: u64) -> bool {
        let sum = Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(window.to_le_bytes())
            .finalize();
        let bytes: [u8; 4] = sum[..4].try_into().expect("a SHA-256 has four bytes");
        f64::from(u32::from_le_bytes(bytes)) < self.share * 4_294_967_296.0
    }
}

/// Writes the wanted backup's bytes to the target, from `mark` on.
///
/// # Errors
/// [`EngineError::Damaged`] names all that cannot be had. What is unfit to be restored at all is found before the first write.
pub fn restore(task: &RestoreTask<'_>) -> Result<Restored, EngineError> {
    let sink = Sink::Volume {
        target: &*task.target,
        holds: task.target_holds,
    };
    if task.target_holds == TargetHolds::Similar {
        // What is compared has to be what the disk has. Where a sync failed, the host's memory may have more.
        task.target.sync()?;
    }
    Walk {
        chain: task.chain,
        backup_size_gib: task.backup_size_gib,
        sink,
        mark: task.mark,
        sample: None,
        store: &*task.store,
        limits: &task.limits,
        throttle: &task.throttle,
        monitor: &*task.monitor,
    }
    .run()
    .map_err(|error| unless_unmounted(task, error))
}

/// An error about what is not on a target that is not there. A target that lost its marker and nothing else can be
/// read all the same, and its damage is named: there the wanted backup's metadata file is found.
fn unless_unmounted(task: &RestoreTask<'_>, error: EngineError) -> EngineError {
    let store = &*task.store;
    let is_gone = task.chain.first().is_some_and(|wanted| {
        let metadata = store.open(&wanted.container, &wanted.prefix.metadata());
        metadata.is_err_and(|error| error.tells_of_absence())
    });
    if is_gone {
        super::unless_away(store, error)
    } else {
        error
    }
}

/// Reads all that a restore of the wanted backup would read, every object to its end, and checks it.
///
/// # Errors
/// Those of [`restore`].
pub fn verify(task: &VerifyTask<'_>) -> Result<Restored, EngineError> {
    Walk {
        chain: task.chain,
        backup_size_gib: task.backup_size_gib,
        sink: Sink::Nowhere,
        mark: 0,
        sample: task.sample,
        store: &*task.store,
        limits: &task.limits,
        throttle: &task.throttle,
        monitor: &*task.monitor,
    }
    .run()
}

/// A walk over all bytes of a backup.
#[derive(Debug)]
struct Walk<'a> {
    chain: &'a [StoredBackup],
    backup_size_gib: u32,
    sink: Sink<'a>,
    mark: u64,
    sample: Option<Sample>,
    store: &'a dyn BackupStore,
    limits: &'a EngineLimits,
    throttle: &'a Throttle,
    monitor: &'a dyn Monitor,
}

impl Walk<'_> {
    fn run(&self) -> Result<Restored, EngineError> {
        let Some(wanted) = self.chain.first() else {
            return Err(EngineError::Sheet {
                why: "the chain is empty".to_owned(),
            });
        };
        let limit = match self.sink {
            Sink::Volume { target, .. } => target.size_bytes(),
            Sink::Nowhere => u64::MAX,
        };
        let chain = Chain::read(self.store, self.chain, self.backup_size_gib, limit)?;
        let file = WantedFile {
            store: self.store,
            backup: wanted,
            size_gib: self.backup_size_gib,
        };
        let digests = file.count()?;
        let order = by_offset(chain.objects());
        let objects_end = chain.objects().iter().map(|o| o.end()).max().unwrap_or(0);
        let end = match digests {
            Some(digests) => digests.end(chain.objects(), &order, objects_end, limit)?,
            None if objects_end > limit => return Err(too_small(objects_end, limit)),
            None => objects_end,
        };
        let block_size = digests.map_or(NO_DIGEST_BLOCK, |digests| digests.block_size);
        let block = usize::try_from(block_size).expect("a block fits into memory");
        let batch = block * (BATCH_MAX / block).clamp(1, BATCH_BLOCKS_MAX);
        let start = self.mark.min(end) / block_size * block_size;
        let pieces = Merge::new(chain.objects(), &order, start, end);
        let unchecked = present::look_for(self.store, &chain, pieces)?;

        let mut wanted_digests = None;
        if let Some(counted) = digests {
            let mut stream = file.open()?;
            let passed = (start / block_size).min(counted.count);
            stream.skip(passed)?;
            wanted_digests = Some((stream, counted.count - passed));
        }
        let windows = Windows {
            objects: chain.objects(),
            merge: Merge::new(chain.objects(), &order, start, end).peekable(),
            crossing: None,
            position: start,
            end,
            block_size,
            window_min: batch as u64,
            digests: wanted_digests,
        };
        let damage = Mutex::new(Damage::default());
        let gap = BadExtent {
            backup_id: wanted.backup_id,
            object: wanted.prefix.sha256file(),
            offset: 0,
            length: 0,
            why: "no object has these bytes, and their digest is not that of zeros".to_owned(),
        };
        let last_block = digests.and_then(CountedDigests::last_block);
        let longest = longest(chain.objects());
        let zeros = ZeroObject::new(longest);
        let shared = Shared {
            store: self.store,
            chain: &chain,
            sink: self.sink,
            monitor: self.monitor,
            pace: self.throttle.pace(self.monitor),
            block_size: block,
            batch,
            buffer: self.buffer(longest, block, batch),
            whole_blocks_end: last_block.unwrap_or(0),
            last_block,
            damage: &damage,
            gap: &gap,
            zeros: &zeros,
        };
        let totals = self.walk(shared, windows, start, end)?;

        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        if damage.total > 0 {
            return Err(EngineError::Damaged(damage));
        }
        Ok(Restored {
            totals,
            volume_meta: chain.volume_meta,
            warnings: warnings(wanted, digests.is_some(), unchecked),
        })
    }

    /// Bytes of a buffer: an object's, so that all of it can be digested at once, if the threads' buffers have room for that.
    fn buffer(&self, longest: usize, block: usize, batch: usize) -> usize {
        let buffer = batch.max(longest.next_multiple_of(block));
        let threads = self.limits.restore_threads.max(1) as u64;
        if buffer as u64 * threads <= self.limits.buffer_bytes {
            buffer
        } else {
            batch
        }
    }

    fn walk(
        &self,
        shared: Shared<'_>,
        windows: Windows<'_>,
        start: u64,
        end: u64,
    ) -> Result<WorkTotals, EngineError> {
        let threads = self.limits.restore_threads.max(1);
        let (room, open_max) = self.limits.restore_room(shared.buffer);
        let shelf = Shelf::new(room);
        let line = Line::new(windows, room.buffers + 2 * threads);
        let work = |reports: &SyncSender<Report>| {
            let mut runner = WindowRunner::new(shared, open_max);
            let mut window = Window::default();
            let report = |report| reports.send(report).is_ok();
            let finish = |done| shared.finish(done, report);
            let mut walk = || {
                while let Some(number) = line.take(&mut window, || shelf.clear(finish))? {
                    let takes = |number| self.sample.is_none_or(|sample| sample.takes(number));
                    if !takes(number + 1) {
                        window.then = None; // it would be fetched for nobody
                    }
                    if !takes(number) {
                        if !report(Report::passed_over(number, &window)) {
                            break;
                        }
                        continue;
                    }
                    runner.run(number, &window, &shelf, report)?;
                }
                Ok(())
            };
            let left = walk();
            if left.is_err() {
                line.halt(); // nobody begins anything new meanwhile
            }
            // However this thread leaves, what waits is written, and who goes on need not write it again.
            shelf.clear(finish);
            left
        };
        let collecting = Collecting {
            sink: self.sink,
            monitor: self.monitor,
            limits: self.limits,
            start,
            end,
            damage: shared.damage,
        };
        crew::run(threads, &line, work, |reports| {
            collecting.run(reports, &line)
        })
    }
}

/// Bytes of the longest object that is not streamed.
fn longest(objects: &[ChainObject]) -> usize {
    let lengths = objects.iter().map(|object| object.length);
    let longest = lengths.filter(|length| *length <= WHOLE_MAX).max();
    longest.map_or(0, |length| usize::try_from(length).unwrap_or(0))
}

fn too_small(needed_bytes: u64, target_bytes: u64) -> EngineError {
    EngineError::TargetTooSmall {
        needed_bytes,
        target_bytes,
    }
}

fn warnings(wanted: &StoredBackup, has_digests: bool, unchecked: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if !has_digests {
        warnings.push(format!(
            "backup {} has no sha256 file; its objects were checked by their MD5 only",
            wanted.backup_id
        ));
        if unchecked > 0 {
            warnings.push(format!(
                "{unchecked} objects have no MD5 either and could not be checked"
            ));
        }
    }
    warnings
}
