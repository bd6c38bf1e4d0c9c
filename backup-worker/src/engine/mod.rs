//! The engine: moves a volume's bytes into a backup and back, on plain threads.
//!
//! ```text
//! backup:   plan ─► read ─► digest ─► encode ─► part ─► MD5     ─► collect, number, seal ●     ─► close ●
//! restore:  plan ─► decode ─► check digests ─► write            ─► collect, sync ●, mark
//!           line    ╰─── each thread, run to its end ──╯ shelf     the calling thread
//! ```
//!
//! `threads` threads take units of work (a stripe of the volume; a window of it) from one locked
//! [`line`], run each to its end, and send what came out through one bounded channel to one collector,
//! which is the calling thread. There are no stages with queues between them: no core idles while
//! another stage is slow, data stays near the core that read it, and memory is fixed at the start.
//! Only MD5 waits, on a shelf (`shelf.rs`), until there are several objects to digest side by side.
//!
//! **Memory ceiling** of a backup. Buffers have a budget, [`EngineLimits::buffer_bytes`], which `EngineLimits::room` shares
//! out. With C = object size, T = threads, B = buffers, and one 32-byte digest for each 32 KiB block:
//!
//! ```text
//!   (B + T) × C volume bytes and encoded ones          (16 + 2) × 8 MiB  = 144 MiB   within the budget
//! + T × codec context                                           2 × 8    =  16 MiB   within the budget
//! + B + 2T stripes taken and not collected × digests         20 × 8 KiB  <   1 MiB
//! + one batch: at most 16 × seal size / block size × digests, entries        1 MiB
//! + parent digests ahead: parser's batches                4 × 4096 × 32 B  < 1 MiB
//! ```
//!
//! B × C is no more than 128 MiB: a crash costs what is in hand.
//!
//! and of a restore, which has a thread more, with E objects in all backups of the chain:
//!
//! ```text
//!   B × the longest object up to 16 MiB                        16 × 8 MiB             = 128 MiB   within the budget
//! + T × open decoders: as many as fit, 2 to 16                  3 × 6 × 4 MiB         =  72 MiB   within the budget
//! + T × (a window: 65536 digests, 16384 pieces of 24 bytes)     3 × (2 + 0.4) MiB     =   7 MiB
//! + the plan: E × 57 bytes, once                               E = 131072 for 1 TiB   =   7 MiB
//! ```
//!
//! (4 MiB is what bzip2 takes to decode; the others take less. A chain needs as many open decoders as backups of it
//! lie over each other at one place, and one is the rule; what was closed to make room is decoded from its start again.)
//!
//! Names on the target are compared as they are told, and not held. Nothing else grows with the volume, the length of a
//! chain or the size of an object.
//!
//! **Invariants.** What no segment of the chain names does not exist. Object numbers and contents are a
//! pure function of snapshot, parent digests and sheet. A byte that a digest covers is written to a
//! target only after the digest matched. The engine deletes nothing but strays while it closes a backup.

mod backup;
mod close;
mod crew;
mod digest;
mod error;
mod limits;
mod line;
mod monitor;
mod pages;
mod restore;
mod shelf;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod throttle;
mod zeros;

use common::domain::ObjectPrefix;
use common::messages::sheet::BackupSheet;

use crate::store::BackupStore;

pub use backup::{BackupTask, Sealed, backup};
pub use close::{CloseTask, Closed, close_backup, find_closed};
pub use digest::is_zero;
pub use error::{BadExtent, Damage, EngineError};
pub use limits::{CODEC_BYTES, EngineLimits, buffers_of};
pub use monitor::{Monitor, Progress, Stop};
pub use restore::{
    Measured, RestoreTask, Restored, Sample, TargetHolds, VerifyTask, measure, restore, verify,
};
pub use throttle::{Throttle, Throttles};

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

/// The number of a data object under this prefix, told from its name.
fn number_of(prefix: &ObjectPrefix, name: &str) -> Option<u64> {
    let number = name.strip_prefix(prefix.as_str())?.strip_prefix('-')?;
    let number = number.parse().ok()?;
    (prefix.object(number) == name).then_some(number)
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
