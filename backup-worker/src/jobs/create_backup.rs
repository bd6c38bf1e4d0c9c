//! A backup is made: the steps 3 to 10 and E of *Create*.
//!
//! ```text
//!  3 closed on the target? ──► 7, unless it is known ─────────────────► 9 ──► 10
//!    committed? ──────────────────────────────────────────────► 8 ──► 9 ──► 10
//!  4 freeze, or open it again ● frozen ──► 5, 6 engine ● segments ──► 7 commit ● ──► 8 close ● ──► 9 ──► 10 finish ●
//!    │ snapshot or segments gone, volume changed, other codecs   │ cancel, lasting error, give up
//!    ▼                                                           ▼
//!  restart ● a new attempt, from 3                            E fail ● ──► everything of the attempt removed ──► finish ●
//! ```
//!
//! An execution that comes after another goes on with what that sealed. What it cannot go on with it
//! abandons for a new attempt; a committed one is only finished.

use std::sync::Arc;

use common::messages::rpc::{Committed, FailCause, Failed, Outcome, Restarted};
use common::messages::sheet::{BackupSheet, Frozen, Sheet, StoredBackup, WorkTotals};
use common::step;
use jiff::Timestamp;

use super::halt::{Halt, Suspended, Trouble};
use super::{Done, Job, erase};
use crate::engine::{self, BackupTask, CloseTask, EngineError, Monitor, Sealed};
use crate::format::{codec, segment};
use crate::lease::LeaseError;
use crate::store::StoreError;
use crate::volume::{BackedUp, FrozenVolume, VolumeError};

const CANCELLED: &str = "Cancelled by its owner.";

/// Where the straight way through the story is left.
enum Detour {
    /// Left for a later execution.
    Suspended(Suspended),
    /// This attempt's data is given up; a new attempt begins.
    Restart(String),
    /// The backup ends without data: step E.
    End(FailCause, String),
    /// The attempt turned out to be committed: only finishing is left.
    Finish,
}

impl<E: Into<Halt>> From<E> for Detour {
    fn from(error: E) -> Self {
        match error.into() {
            Halt::Suspended(suspended) => Self::Suspended(suspended),
            Halt::Cancelled => Self::End(FailCause::Cancelled, CANCELLED.to_owned()),
            Halt::Lasting(trouble) => {
                trouble.log("the backup fails");
                Self::End(FailCause::Lasting, trouble.sentence)
            }
        }
    }
}

/// Makes the backup, attempt after attempt, until it is settled or has to be left.
pub(super) fn run(job: &Job, mut sheet: BackupSheet) -> Result<Done, Suspended> {
    let mut way = match &job.give_up {
        Some(reason) if !sheet.committed => Err(Detour::End(FailCause::GiveUp, reason.clone())),
        _ => make(job, &sheet),
    };
    loop {
        way = match way {
            Ok(done) => return Ok(done),
            Err(Detour::Suspended(suspended)) => {
                if common::faults::planted("fenced_cleans_up") {
                    erase_although_fenced(job, &sheet);
                }
                return Err(suspended);
            }
            Err(Detour::Finish) => {
                sheet.committed = true;
                make(job, &sheet)
            }
            Err(Detour::End(cause, reason)) => end(job, &sheet, cause, reason),
            Err(Detour::Restart(why)) => {
                tracing::info!(attempt = sheet.names.number, why, "a new attempt begins");
                match job.lease.restart(sheet.names.number, why)? {
                    Restarted::Attempt(next) => match *next {
                        Sheet::Backup(next) => {
                            sheet = *next;
                            make(job, &sheet)
                        }
                        other => Err(Detour::End(
                            FailCause::Lasting,
                            format!(
                                "A new attempt came with the sheet of a {} job.",
                                other.kind()
                            ),
                        )),
                    },
                    Restarted::Exhausted { reason } => Err(Detour::End(FailCause::Lasting, reason)),
                    Restarted::Committed => Err(Detour::Finish),
                    Restarted::Fenced => return Err(Suspended::Fenced),
                }
            }
        };
    }
}

/// One attempt, straight on.
fn make(job: &Job, sheet: &BackupSheet) -> Result<Done, Detour> {
    // 3. The target knows best: who closed the backup may not have lived to tell.
    if let Some(closed) = engine::find_closed(&*job.env.store, &stored(sheet))? {
        // A state owner whose rows were set back has forgotten the commit: only it can make a backup of this.
        pass_the_gate(job, sheet)?;
        let totals = WorkTotals::default();
        return settle(
            job,
            sheet,
            closed.object_count,
            sheet.frozen.as_ref(),
            totals,
        );
    }
    if sheet.committed {
        return close_committed(job, sheet);
    }

    // 4. The volume stands still, once for all executions of the attempt.
    job.lease.keep_going()?;
    job.lease.phase("snapshot");
    let (source, frozen) = step!("snapshot").in_scope(|| freeze(job, sheet))?;

    // 5, 6. Batch after batch: objects, then their segment ●.
    job.lease.phase("transfer");
    let sealed = step!("transfer").in_scope(|| transfer(job, sheet, &source))?;

    // 7.
    job.lease.phase("finishing");
    pass_the_gate(job, sheet)?;

    // 8.
    let object_count = close(job, sheet, source.size_bytes(), frozen.taken_at)?;
    settle(job, sheet, object_count, Some(&frozen), sealed.totals)
}

/// Step 4: the volume stands still, and the state owner knows which view of it this is.
fn freeze(job: &Job, sheet: &BackupSheet) -> Result<(Arc<dyn FrozenVolume>, Frozen), Detour> {
    let driver = job.driver(&sheet.volume.backend)?;
    let source: Arc<dyn FrozenVolume> =
        match (&sheet.source_snapshot, &sheet.names.snapshot, &sheet.frozen) {
            // The owner's: it stands still already, and stays.
            (Some(kept), ..) => driver.open_snapshot(kept)?,
            (None, None, _) => {
                let sentence = "The attempt has no name for its snapshot.";
                return Err(Detour::End(FailCause::Lasting, sentence.to_owned()));
            }
            (None, Some(temporary), None) => common::durable!(
                "backup.snapshot",
                driver.freeze(&sheet.volume, temporary, job.generation, sheet.in_use)
            )?,
            (None, Some(temporary), Some(_)) if common::faults::planted("snapshot_recreated") => {
                driver.freeze(&sheet.volume, temporary, job.generation, sheet.in_use)?
            }
            (None, Some(temporary), Some(first)) => driver
                .reopen(&sheet.volume, temporary, &first.identity)?
                .ok_or_else(|| {
                    Detour::Restart("what was frozen first is not there any more".to_owned())
                })?,
        }
        .into();
    let now = job.env.clock.now();
    let seen = Frozen {
        identity: source.identity().to_owned(),
        // An adopted snapshot is older than this execution.
        taken_at: source
            .frozen_at()
            .map_or(now, |frozen_at| frozen_at.min(now)),
        codec_fingerprint: codec::fingerprint(),
    };
    let first = job.lease.frozen(sheet.names.number, seen.clone())?;
    if first.identity != seen.identity && !common::faults::planted("snapshot_recreated") {
        return Err(Detour::Restart(
            "another view of the volume was frozen first".to_owned(),
        ));
    }
    if first.codec_fingerprint != seen.codec_fingerprint {
        return Err(Detour::Restart("it was begun with other codecs".to_owned()));
    }
    Ok((source, first))
}

/// Steps 5 and 6: all of the volume is in objects and sealed, and it stood still for as long as that took.
fn transfer(
    job: &Job,
    sheet: &BackupSheet,
    source: &Arc<dyn FrozenVolume>,
) -> Result<Sealed, Detour> {
    let sealed = engine::backup(&BackupTask {
        sheet,
        generation: job.generation,
        source: Arc::clone(source),
        store: Arc::clone(&job.env.store),
        limits: job.env.limits,
        throttle: job.env.throttles.for_job(),
        monitor: Arc::new(job.lease.clone()),
    })
    .map_err(unless_beyond_use)?;
    if let Some(unread_bytes) = sealed.unread_bytes {
        tracing::info!(
            unread_bytes,
            read_bytes = sealed.totals.read.0,
            "what the kept snapshot shares with the volume was not read"
        );
    }
    source
        .check_unchanged()
        .map_err(|error| unless_beyond_use(error.into()))?;
    Ok(sealed)
}

/// Step 7: from here there is no cancel and no restart.
fn pass_the_gate(job: &Job, sheet: &BackupSheet) -> Result<(), Detour> {
    let _span = step!("commit").entered();
    if !sheet.committed {
        match job.lease.commit(sheet.names.number)? {
            Committed::Passed => {}
            Committed::Cancelled => {
                return Err(Detour::End(FailCause::Cancelled, CANCELLED.to_owned()));
            }
            Committed::Fenced => return Err(Detour::Suspended(Suspended::Fenced)),
        }
    }
    job.lease.passed_the_gate();
    Ok(())
}

/// A volume that changed under the reader, sealed data that is gone, or blocks that are not what they counted as: the volume is read again as a new attempt.
fn unless_beyond_use(error: EngineError) -> Detour {
    match error {
        EngineError::Volume(VolumeError::SourceChanged { doing: "read" }) => {
            Detour::Restart("the volume changed while it was read".to_owned())
        }
        EngineError::Gap { .. }
        | EngineError::Untrue { .. }
        | EngineError::Store(
            StoreError::NoSuchContainer { .. } | StoreError::NoSuchObject { .. },
        ) => Detour::Restart(error.sentence()),
        other => other.into(),
    }
}

/// Step 8 for an execution that found the backup committed. The last mark before the commit says how
/// long the chain has to be; the volume may have gone on since.
fn close_committed(job: &Job, sheet: &BackupSheet) -> Result<Done, Detour> {
    job.lease.passed_the_gate();
    job.lease.phase("finishing");
    let scratch = sheet.names.scratch.as_deref().unwrap_or_default();
    let chain = segment::longest_chain(&*job.env.store, &sheet.names.container, scratch)
        .map_err(|source| EngineError::File {
            backup_id: sheet.backup_id,
            object: "segment".to_owned(),
            source,
        })
        .map_err(unless_lost)?;
    let volume_bytes = chain.end.max(sheet.mark);
    let object_count = close(
        job,
        sheet,
        volume_bytes,
        taken_at(sheet, sheet.frozen.as_ref()),
    )?;
    let totals = WorkTotals::default();
    settle(job, sheet, object_count, sheet.frozen.as_ref(), totals)
}

/// Step 8: the chain of segments becomes the sha256 file ● and the metadata file ●.
fn close(
    job: &Job,
    sheet: &BackupSheet,
    volume_bytes: u64,
    frozen_at: Timestamp,
) -> Result<u64, Detour> {
    let closed = engine::close_backup(&CloseTask {
        sheet,
        volume_bytes,
        frozen_at,
        store: Arc::clone(&job.env.store),
        monitor: Arc::new(job.lease.clone()) as Arc<dyn Monitor>,
    });
    match closed.map_err(unless_lost) {
        Ok(closed) => Ok(closed.object_count),
        // Who closed it meanwhile has removed what closing needs.
        Err(Detour::End(FailCause::Lost, sentence)) => {
            let store = &*job.env.store;
            let closed = engine::find_closed(store, &stored(sheet))?;
            store.check_marker()?;
            closed
                .map(|closed| closed.object_count)
                .ok_or(Detour::End(FailCause::Lost, sentence))
        }
        Err(other) => Err(other),
    }
}

fn stored(sheet: &BackupSheet) -> StoredBackup {
    StoredBackup {
        backup_id: sheet.backup_id,
        container: sheet.names.container.clone(),
        prefix: sheet.names.prefix.clone(),
    }
}

/// Behind the commit gate nothing fails but a backup whose data is gone.
fn unless_lost(error: EngineError) -> Detour {
    let gone = match &error {
        EngineError::Gap { .. }
        | EngineError::Store(
            StoreError::NoSuchContainer { .. } | StoreError::NoSuchObject { .. },
        ) => true,
        EngineError::File { source, .. } => !source.is_transient(),
        _ => false,
    };
    match Halt::from(error) {
        Halt::Suspended(suspended) => Detour::Suspended(suspended),
        Halt::Lasting(trouble) if gone => {
            trouble.log("the backup's data is lost");
            let sentence =
                "The backup's data was lost from the backup target before it was finished.";
            Detour::End(FailCause::Lost, sentence.to_owned())
        }
        Halt::Lasting(trouble) => Detour::Suspended(Suspended::Passing(trouble)),
        Halt::Cancelled => Detour::Finish,
    }
}

/// Steps 9 and 10: the backup is whole; what helped to make it goes.
fn settle(
    job: &Job,
    sheet: &BackupSheet,
    object_count: u64,
    frozen: Option<&Frozen>,
    totals: WorkTotals,
) -> Result<Done, Detour> {
    job.lease.phase("cleaning");
    // Whoever comes after finds the metadata and is here again: nothing of this can end the job badly.
    let cleared = step!("clean up").in_scope(|| {
        let backup = BackedUp {
            backup_id: sheet.backup_id,
            identity: frozen.map(|frozen| frozen.identity.as_str()),
        };
        erase::retire_snapshot(job, &sheet.volume, &sheet.names, &backup)?;
        erase::scratch(job, &sheet.names)
    });
    match cleared {
        Ok(()) => {}
        Err(Halt::Lasting(trouble)) => return Err(Detour::Suspended(Suspended::Passing(trouble))),
        Err(other) => return Err(other.into()),
    }
    let taken_at = taken_at(sheet, frozen);
    let data_timestamp = sheet.record.data_timestamp.unwrap_or(taken_at);
    Ok(Done {
        outcome: Outcome::BackedUp {
            object_count,
            data_timestamp,
        },
        totals,
    })
}

/// Step E: the state owner first, and only what it has recorded as failed is removed.
fn end(job: &Job, sheet: &BackupSheet, cause: FailCause, reason: String) -> Result<Done, Detour> {
    if common::faults::planted("delete_before_fail") {
        erase::objects(job, &sheet.names)?;
    }
    match job.lease.fail(cause, reason.clone())? {
        Failed::Recorded => {}
        Failed::Committed if cause == FailCause::Lost => {
            let trouble = Trouble::plain("The backup's data cannot be found now.");
            return Err(Detour::Suspended(Suspended::Passing(trouble)));
        }
        Failed::Committed => return Err(Detour::Finish),
        Failed::Fenced => return Err(LeaseError::Fenced.into()),
    }
    job.lease.phase("cleaning");
    let _span = step!("clean up").entered();
    let removed = erase::objects(job, &sheet.names).and_then(|()| {
        if common::faults::planted("snapshot_forgotten") {
            return Ok(());
        }
        erase::snapshot(job, Some(&sheet.volume), &sheet.names)
    });
    match removed {
        Ok(()) => {}
        // The state owner has a `clean` job do what cannot be done now.
        Err(Halt::Lasting(trouble)) => trouble.log("what is left of the backup was not removed"),
        Err(Halt::Suspended(suspended)) => return Err(Detour::Suspended(suspended)),
        Err(Halt::Cancelled) => {}
    }
    Ok(match cause {
        FailCause::Cancelled => Done::new(Outcome::Cancelled),
        FailCause::Lasting | FailCause::GiveUp | FailCause::Lost => Done::failed(reason),
    })
}

/// A bug that can be planted.
fn erase_although_fenced(job: &Job, sheet: &BackupSheet) {
    let whatever = || Ok::<(), StoreError>(());
    drop(erase::remove_stored(
        &*job.env.store,
        &sheet.names,
        &whatever,
    ));
}

/// When the data was frozen.
fn taken_at(sheet: &BackupSheet, frozen: Option<&Frozen>) -> Timestamp {
    frozen.map_or(sheet.record.created_at, |frozen| frozen.taken_at)
}
