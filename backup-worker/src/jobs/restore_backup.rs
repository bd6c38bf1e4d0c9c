//! A backup is read into a volume: the steps 3 to 6 of *Restore*.
//!
//! The target is locked from before the first write until it is closed. A stopped predecessor that
//! still holds the lock could wake up and write; it is waited for, two leases long.

use std::sync::Arc;
use std::time::Duration;

use common::messages::rpc::Outcome;
use common::messages::sheet::RestoreSheet;
use common::step;
use tokio::time::Instant;

use super::halt::Halt;
use super::{Done, Job};
use crate::engine::{self, Monitor, RestoreTask, TargetHolds};
use crate::volume::{TargetVolume, VolumeError};

/// How often the lock is tried in the time of one lease.
const TRIES_PER_LEASE: u32 = 20;

pub(super) fn run(job: &Job, sheet: &RestoreSheet) -> Result<Done, Halt> {
    // 3. The volume's file, and its lock.
    job.lease.may_write()?;
    job.lease.phase("snapshot");
    if sheet.volume_is_new {
        job.driver(&sheet.volume.backend)?.create(&sheet.volume)?;
    }
    let target = common::durable!("restore.lock", step!("lock").in_scope(|| lock(job, sheet)))?;

    // 4, 5. Plan, check, write; every write asks the lease first.
    job.lease.phase("transfer");
    let transferring = step!("transfer").entered();
    let restored = engine::restore(&RestoreTask {
        chain: &sheet.chain,
        backup_size_gib: sheet.backup_size_gib,
        target: Arc::clone(&target),
        target_holds: match (sheet.volume_is_new, job.generation) {
            (true, 1) => TargetHolds::Zeros,
            (true, _) => TargetHolds::Leftovers,
            (false, _) if job.driver(&sheet.volume.backend)?.restores_differing() => {
                TargetHolds::Similar
            }
            (false, _) => TargetHolds::Anything,
        },
        mark: sheet.mark,
        store: Arc::clone(&job.env.store),
        limits: job.env.limits,
        throttle: job.env.throttles.for_job(),
        monitor: Arc::new(job.lease.clone()),
    })?;

    // 6. Durable and closed before anyone is told.
    drop(transferring);
    job.lease.phase("finishing");
    common::durable!("restore.sync", step!("sync").in_scope(|| target.sync()))?;
    drop(target);
    for warning in &restored.warnings {
        tracing::warn!(warning, "the restore could not check everything");
    }
    Ok(Done {
        outcome: Outcome::Restored {
            volume_meta: restored.volume_meta,
        },
        totals: restored.totals,
    })
}

fn lock(job: &Job, sheet: &RestoreSheet) -> Result<Arc<dyn TargetVolume>, Halt> {
    let driver = job.driver(&sheet.volume.backend)?;
    let give_up_at = Instant::now() + 2 * job.lease_time;
    let pause = (job.lease_time / TRIES_PER_LEASE).max(Duration::from_millis(10));
    loop {
        match driver.open_target(&sheet.volume) {
            Ok(target) => return Ok(target.into()),
            Err(VolumeError::Held { .. }) if Instant::now() < give_up_at => {
                job.lease.keep_going()?;
                std::thread::sleep(pause);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
