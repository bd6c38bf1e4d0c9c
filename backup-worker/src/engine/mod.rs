//! The engine: moves a volume's bytes into a backup and back, on plain threads.
//!
//! ```text
//! backup:   plan ─► read ─► digest ─► encode ─► part     ─► collect, number, seal ●     ─► close ●
//! restore:  plan ─► decode ─► check digests ─► write     ─► collect, sync ●, mark
//!           line    ╰─── each thread, run to its end ───╯   the calling thread
//! ```
//!
//! `threads` threads take units of work (a stripe of the volume; a window of it) from one locked
//! [`line`], run each to its end, and send what came out through one bounded channel to one collector,
//! which is the calling thread. There are no stages with queues between them: no core idles while
//! another stage is slow, data stays near the core that read it, and memory is fixed at the start.
//!
//! **Memory ceiling** of a backup, with C = object size, T = threads, and one 32-byte digest for each 32 KiB block:
//!
//! ```text
//!   T × (C volume bytes + C encoded + codec context)      2 × (16 + 16 + 8) MiB =  80 MiB
//! + 2T stripes taken and not collected × digests              4 × 16 KiB        <   1 MiB
//! + one batch: seal size / block size × digests, entries        64 KiB          <   1 MiB
//! + parent digests ahead: parser's batches                  4 × 4096 × 32 B     <   1 MiB
//! + names under its prefix, listed when it is gone on with
//!   and when it is closed: objects of it × 150 bytes        65536 for 1 TiB     =   9 MiB
//! ```
//!
//! and of a restore, with E objects in all backups of the chain:
//!
//! ```text
//!   T × (1 MiB of volume bytes + up to 16 open decoders)        2 × (1 + 16 × 4) MiB  = 130 MiB
//! + T × (a window: 65536 digests, 16384 pieces of 24 bytes)     2 × (2 + 0.4) MiB     =   5 MiB
//! + the plan: E × 56 bytes, once                                E = 65536 for 1 TiB   =   4 MiB
//! ```
//!
//! (4 MiB is what bzip2 takes to decode; the others take less. A chain needs as many open decoders as backups of it
//! lie over each other at one place, and one is the rule.)
//!
//! Nothing else grows with the volume, the length of a chain or the size of an object.
//!
//! **Invariants.** What no segment of the chain names does not exist. Object numbers and contents are a
//! pure function of snapshot, parent digests and sheet. A byte that a digest covers is written to a
//! target only after the digest matched. The engine deletes nothing but strays while it closes a backup.

mod backup;
mod close;
mod crew;
mod digest;
mod error;
mod line;
mod monitor;
mod restore;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use common::messages::sheet::BackupSheet;

use crate::store::BackupStore;

pub use backup::{BackupTask, Sealed, backup};
pub use close::{CloseTask, Closed, close_backup, find_closed};
pub use digest::is_zero;
pub use error::{BadExtent, Damage, EngineError};
pub use monitor::{Monitor, Progress, Stop};
pub use restore::{
    Measured, RestoreTask, Restored, Sample, TargetHolds, VerifyTask, measure, restore, verify,
};

/// How an engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Threads; at least one is used.
    pub threads: usize,
    /// Bytes of the volume in a batch before it is sealed.
    pub seal_size_bytes: u64,
    /// Longest time before what is done is sealed.
    pub seal_after: Duration,
}

/// What is missing on a target that is not there at all is not missing: the target is away.
fn unless_away(store: &dyn BackupStore, error: EngineError) -> EngineError {
    if !error.tells_of_absence() {
        return error;
    }
    match store.check_marker() {
        Ok(()) => error,
        Err(away) => away.into(),
    }
}

/// The scratch place of an attempt that has data to make.
fn scratch_of(sheet: &BackupSheet) -> Result<&str, EngineError> {
    sheet
        .names
        .scratch
        .as_deref()
        .ok_or_else(|| EngineError::Sheet {
            why: "the attempt has no scratch place".to_owned(),
        })
}
