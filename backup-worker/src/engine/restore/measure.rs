//! What a chain would restore to, told from its closing files alone: for who has no record of the backup.
//!
//! Where a job has the size of the volume from a sheet, here the stored files are all there is, and
//! they may be hostile. What they claim is held against what is stored, so that a few bytes cannot
//! ask for days of work.

use common::domain::ByteCount;
use common::messages::sheet::StoredBackup;

use super::chain::Chain;
use super::digests::WantedFile;
use super::merge::by_offset;
use crate::engine::{Damage, EngineError};
use crate::store::BackupStore;

/// Objects up to this size are believed: Emberkeep's and most of Cinder's are.
const BELIEVED_LENGTH: u64 = 64 << 20;
/// No algorithm makes more than this of one stored byte; bzip2 comes to half of it.
const EXPANSION_MAX: u64 = 1 << 21;
/// How far an object may begin behind all that is stored. No writer leaves gaps at all.
const GAPS_MAX: u64 = 1 << 40;

/// The volume a chain restores to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Its bytes.
    pub volume_bytes: u64,
    /// A bound for the wanted backup's objects and digests, in whole GiB.
    pub size_gib: u32,
}

/// Reads the closing files of a chain, given newest first.
///
/// # Errors
/// When they cannot be used, or claim what cannot be.
pub fn measure(store: &dyn BackupStore, chain: &[StoredBackup]) -> Result<Measured, EngineError> {
    let Some(wanted) = chain.first() else {
        return Err(EngineError::Sheet {
            why: "the chain is empty".to_owned(),
        });
    };
    let read = Chain::read(store, chain, u32::MAX, u64::MAX)?;
    let digests = WantedFile {
        store,
        backup: wanted,
        size_gib: u32::MAX,
    }
    .count()?;
    let digests_end = digests.map_or(0, |digests| digests.block_size * digests.count);
    check_lengths(store, &read)?;
    let objects_end = check_ends(&read, digests_end)?;
    let (volume_bytes, size) = match digests {
        Some(digests) => {
            let order = by_offset(read.objects());
            (digests.volume_end(read.objects(), &order), digests_end)
        }
        None => (objects_end, objects_end),
    };
    Ok(Measured {
        volume_bytes,
        size_gib: ByteCount(size).gib_rounded_up(),
    })
}

/// Large objects are as large as what is stored of them allows.
fn check_lengths(store: &dyn BackupStore, chain: &Chain) -> Result<(), EngineError> {
    let mut damage = Damage::default();
    for (backup, range) in chain.by_backup() {
        for index in range {
            let object = &chain.objects()[index];
            if object.length <= BELIEVED_LENGTH {
                continue;
            }
            let stored = match store.open(&backup.container, &chain.object_name(index)) {
                Ok((_, stored)) => stored,
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(_) => 0,
            };
            if object.length > stored.saturating_mul(EXPANSION_MAX) {
                let why = format!("its {stored} stored bytes cannot hold what is recorded");
                damage.add(chain.bad(index, object.offset, object.length, why));
            }
        }
    }
    if damage.total > 0 {
        return Err(EngineError::Damaged(damage));
    }
    Ok(())
}

/// Where the objects end, if that is not far behind all that they hold.
fn check_ends(chain: &Chain, digests_end: u64) -> Result<u64, EngineError> {
    let held: u64 = chain
        .objects()
        .iter()
        .fold(0, |sum, object| sum.saturating_add(object.length));
    let bound = held.saturating_add(digests_end).saturating_add(GAPS_MAX);
    let mut damage = Damage::default();
    let mut objects_end = 0;
    for (index, object) in chain.objects().iter().enumerate() {
        objects_end = objects_end.max(object.end());
        if object.end() > bound {
            let why = "it lies far behind all that the backup holds".to_owned();
            damage.add(chain.bad(index, object.offset, object.length, why));
        }
    }
    if damage.total > 0 {
        return Err(EngineError::Damaged(damage));
    }
    Ok(objects_end)
}
