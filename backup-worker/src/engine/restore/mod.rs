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
//! * **The wanted backup's digest of its block**, checked before the byte is written. An object of which only
//!   a beginning is needed is then read no further. One that is read to its end must match its recorded length and MD5 too.
//! * **Its object's MD5**, where no digest covers it: a backup without sha256 file (a warning says so), and what a
//!   parent has behind the end of a volume that became smaller (written as Cinder does, as far as the target reaches).
//!   Such objects are always read to their end.
//! * A block that no object has must be zeros by its digest. Without digests a gap keeps what the target has, as in Cinder.
//!
//! Damage does not end a restore at once: whatever is good is written, every bad extent is named, and the restore fails.

mod chain;
mod check;
mod collect;
mod merge;
mod objects;
mod run;
mod windows;

use std::io::BufReader;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use common::domain::ByteCount;
use common::messages::sheet::{StoredBackup, WorkTotals};

use self::chain::{Chain, ChainObject};
use self::collect::Collecting;
use self::merge::{Merge, by_offset};
use self::run::{Report, Shared, Sink, WindowRunner};
use self::windows::{WINDOW_MIN, WantedDigests, Window, Windows};
use super::line::Line;
use super::{BadExtent, Damage, EngineError, EngineLimits, Monitor, crew};
use crate::format::FormatError;
use crate::format::sha256file::{self, DigestStream};
use crate::store::{BackupStore, StoreError};
use crate::volume::TargetVolume;

/// The unit of work where there are no digests: as large as blocks usually are.
const NO_DIGEST_BLOCK: u64 = 32 << 10;
/// Larger blocks than any object has are refused: a block has to fit into memory.
const BLOCK_MAX: u64 = 64 << 20;

/// A backup to restore.
#[derive(Debug)]
pub struct RestoreTask<'a> {
    /// The wanted backup first, then its parents down to the full one.
    pub chain: &'a [StoredBackup],
    /// The volume's size when the wanted backup was made.
    pub backup_size_gib: u32,
    /// What to write, locked.
    pub target: Arc<dyn TargetVolume>,
    /// The target was made for this restore and reads as zeros.
    pub target_is_new: bool,
    /// Bytes of the target, from its start, that are written and durable already.
    pub mark: u64,
    /// Where the objects are.
    pub store: Arc<dyn BackupStore>,
    /// Threads and seals.
    pub limits: EngineLimits,
    /// The job.
    pub monitor: Arc<dyn Monitor>,
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
    /// Who asks.
    pub monitor: Arc<dyn Monitor>,
}

/// Writes the wanted backup's bytes to the target, from `mark` on.
///
/// # Errors
/// [`EngineError::Damaged`] names all that cannot be had. What is unfit to be restored at all is found before the first write.
pub fn restore(task: &RestoreTask<'_>) -> Result<Restored, EngineError> {
    let sink = Sink::Volume {
        target: &*task.target,
        is_new: task.target_is_new,
    };
    Walk {
        chain: task.chain,
        backup_size_gib: task.backup_size_gib,
        sink,
        mark: task.mark,
        window_min: WINDOW_MIN,
        store: &*task.store,
        limits: &task.limits,
        monitor: &*task.monitor,
    }
    .run()
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
        window_min: WINDOW_MIN,
        store: &*task.store,
        limits: &task.limits,
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
    window_min: u64,
    store: &'a dyn BackupStore,
    limits: &'a EngineLimits,
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
        let digests = self.count_digests(wanted)?;
        let order = by_offset(chain.objects());
        let objects_end = chain.objects().iter().map(|o| o.end()).max().unwrap_or(0);
        let end = match digests {
            Some(digests) => digests.end(chain.objects(), &order, objects_end, limit)?,
            None if objects_end > limit => return Err(too_small(objects_end, limit)),
            None => objects_end,
        };
        let block_size = digests.map_or(NO_DIGEST_BLOCK, |digests| digests.block_size);
        let start = self.mark.min(end) / block_size * block_size;
        let unchecked =
            self.look_for_objects(&chain, Merge::new(chain.objects(), &order, start, end))?;

        let mut wanted_digests = None;
        if let Some(counted) = digests {
            let mut stream = self.open_digests(wanted)?;
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
            window_min: self.window_min,
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
        let shared = Shared {
            store: self.store,
            chain: &chain,
            sink: self.sink,
            monitor: self.monitor,
            block_size: usize::try_from(block_size).expect("a block fits into memory"),
            whole_blocks_end: last_block.unwrap_or(0),
            last_block,
            damage: &damage,
            gap: &gap,
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

    fn walk(
        &self,
        shared: Shared<'_>,
        windows: Windows<'_>,
        start: u64,
        end: u64,
    ) -> Result<WorkTotals, EngineError> {
        let threads = self.limits.threads.max(1);
        let line = Line::new(windows, 2 * threads);
        let work = |reports: &SyncSender<Report>| {
            let mut runner = WindowRunner::new(shared);
            let mut window = Window::default();
            while let Some(number) = line.take(&mut window)? {
                runner.run(number, &window, |report| reports.send(report).is_ok())?;
            }
            Ok(())
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

    /// Reads the wanted sha256 file once, to know that it is whole and how long it is.
    fn count_digests(&self, wanted: &StoredBackup) -> Result<Option<CountedDigests>, EngineError> {
        let file = wanted.prefix.sha256file();
        let in_file = |source| EngineError::File {
            backup_id: wanted.backup_id,
            object: file.clone(),
            source,
        };
        let input = match self.store.open(&wanted.container, &file) {
            Ok((input, _)) => input,
            Err(StoreError::NoSuchObject { .. }) => return Ok(None),
            Err(source) => return Err(source.into()),
        };
        let mut count: u64 = 0;
        let block_size = sha256file::read(BufReader::new(input), &mut |_digest| {
            count += 1;
            Ok(())
        })
        .map_err(in_file)?;
        let blocks_max = ByteCount::from_gib(self.backup_size_gib)
            .0
            .div_ceil(block_size.max(1));
        if block_size > BLOCK_MAX || count > blocks_max {
            return Err(in_file(FormatError::Refused {
                file: "sha256 file",
                why: format!(
                    "{count} digests of {block_size} bytes each do not fit a backup of {} GiB",
                    self.backup_size_gib
                ),
            }));
        }
        Ok(Some(CountedDigests { block_size, count }))
    }

    fn open_digests(&self, wanted: &StoredBackup) -> Result<WantedDigests, EngineError> {
        let file = wanted.prefix.sha256file();
        let stream = DigestStream::open(self.store, &wanted.container, &wanted.prefix)
            .and_then(|stream| {
                stream.ok_or_else(|| FormatError::Refused {
                    file: "sha256 file",
                    why: "it went away while it was read".to_owned(),
                })
            })
            .map_err(|source| EngineError::File {
                backup_id: wanted.backup_id,
                object: file.clone(),
                source,
            })?;
        Ok(WantedDigests {
            backup_id: wanted.backup_id,
            file,
            stream,
        })
    }

    /// Checks that every object that will be read is there; an absent one is found before an existing volume
    /// is written over. Tells how many of them have no MD5.
    fn look_for_objects(&self, chain: &Chain, merge: Merge<'_>) -> Result<u64, EngineError> {
        let objects = chain.objects();
        let mut wanted = vec![false; objects.len()];
        for piece in merge {
            wanted[piece.object as usize] = true;
        }
        let mut damage = Damage::default();
        for (backup, range) in chain.by_backup() {
            if !wanted[range.clone()].contains(&true) {
                continue;
            }
            let there = self.store.list(&backup.container, backup.prefix.as_str())?;
            for index in range.filter(|index| wanted[*index]) {
                if there.binary_search(&chain.object_name(index)).is_err() {
                    let object = &objects[index];
                    let why = "it is not on the backup target".to_owned();
                    damage.add(chain.bad(index, object.offset, object.length, why));
                }
            }
        }
        if damage.total > 0 {
            return Err(EngineError::Damaged(damage));
        }
        let unchecked =
            (0..objects.len()).filter(|index| wanted[*index] && objects[*index].md5.is_none());
        Ok(unchecked.count() as u64)
    }
}

/// What a first look at the wanted sha256 file told.
#[derive(Debug, Clone, Copy)]
struct CountedDigests {
    block_size: u64,
    count: u64,
}

impl CountedDigests {
    /// The end of what is to be restored to a target of `limit` bytes.
    ///
    /// Nothing records where the volume ended. The object that has the beginning of the last block ends there, or
    /// goes on behind the block. Where objects reach further than that, the volume was larger once, and that part is
    /// restored only as far as the target goes.
    fn end(
        self,
        objects: &[ChainObject],
        order: &[u32],
        objects_end: u64,
        limit: u64,
    ) -> Result<u64, EngineError> {
        let digests_end = self.block_size * self.count;
        let least = self.last_block().map_or(0, |last| {
            let piece = Merge::new(objects, order, last, last + 1).next();
            piece.map_or(last + 1, |piece| {
                objects[piece.object as usize].end().min(digests_end)
            })
        });
        if least > limit {
            return Err(too_small(least, limit));
        }
        Ok(objects_end.max(digests_end).min(limit))
    }

    /// Where the last block begins.
    fn last_block(self) -> Option<u64> {
        self.count.checked_sub(1).map(|last| last * self.block_size)
    }
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
