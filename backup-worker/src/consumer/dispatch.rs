//! From a grant to a running job: its lease, its renewer, its progress, its thread.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{BackupId, TraceParent, VolumeId};
use common::messages::rpc::{Claim, Fence, Grant};
use common::messages::sheet::Sheet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::jobs::{Job, run_on_thread};
use crate::lease::{Hold, Lease, LeaseParts, RenewTimes, StateOwner, renew_until};
use crate::progress::{self, ReportedJob};
use crate::running::Slot;

/// Starts the job; the slot is its until it ends. `place` is its place in a trace.
pub(super) fn start(
    env: &Arc<Environment>,
    mut slot: Slot,
    claim: Claim,
    asked_at: Duration,
    grant: Grant,
    place: Option<TraceParent>,
) {
    let lease_time = Duration::from_millis(grant.lease_ms);
    let renew = Duration::from_millis(grant.renew_ms);
    let fence = Fence {
        job_id: claim.job_id,
        generation: grant.generation,
        claim_id: claim.claim_id,
    };
    let hold = Arc::new(Hold::new(
        env.boot_clock.clone(),
        asked_at,
        lease_time,
        env.stop_margin,
        env.stopping.halt.clone(),
    ));
    let mark = mark_of(&grant.sheet);
    hold.begin_at(mark);
    slot.occupy(claim.job_id, grant.generation, Arc::clone(&hold));

    let reported = reported(env, &claim, &grant);
    let (reporter, reports) = progress::channel(reported.kind, mark);
    env.tracker.spawn(progress::publish(
        reports,
        reported.clone(),
        Arc::clone(&env.publisher),
        Arc::clone(&env.clock),
    ));

    let over = CancellationToken::new();
    let wire = Arc::default();
    let renew_soon = Arc::new(Notify::new());
    env.tracker.spawn(renew_until(
        over.clone(),
        env.rpc.clone(),
        fence,
        Arc::clone(&hold),
        Arc::clone(&wire),
        Arc::clone(&renew_soon),
        RenewTimes::new(renew, lease_time),
    ));
    let lease = Lease::new(LeaseParts {
        fence,
        owner: StateOwner::Broker(env.rpc.clone()),
        hold,
        wire,
        renew_soon,
        abandon: env.stopping.abandon.clone(),
        reporter,
        renewing: over.drop_guard(),
    });
    let job = Job {
        env: Arc::clone(env),
        lease,
        generation: grant.generation,
        give_up: grant.give_up,
        lease_time,
    };
    let sheet = grant.sheet;
    env.tracker.spawn(async move {
        run_on_thread(job, sheet, reported, place).await;
        drop(slot);
    });
}

fn mark_of(sheet: &Sheet) -> u64 {
    match sheet {
        Sheet::Backup(sheet) => sheet.mark,
        Sheet::Restore(sheet) => sheet.mark,
        Sheet::Delete(_) | Sheet::Volume(_) | Sheet::Clean(_) => 0,
    }
}

fn reported(env: &Environment, claim: &Claim, grant: &Grant) -> ReportedJob {
    let (backup_id, volume_id) = subjects(&grant.sheet);
    ReportedJob {
        job_id: claim.job_id,
        kind: grant.sheet.kind(),
        backup_id,
        volume_id,
        generation: grant.generation,
        zone: env.zone.clone(),
        worker: env.worker.clone(),
    }
}

fn subjects(sheet: &Sheet) -> (Option<BackupId>, Option<VolumeId>) {
    match sheet {
        Sheet::Backup(sheet) => (Some(sheet.backup_id), Some(sheet.volume.volume_id)),
        Sheet::Restore(sheet) => (
            sheet.chain.first().map(|wanted| wanted.backup_id),
            Some(sheet.volume.volume_id),
        ),
        Sheet::Delete(sheet) => (Some(sheet.backup_id), None),
        Sheet::Volume(sheet) => (None, Some(sheet.volume.volume_id)),
        Sheet::Clean(sheet) => (
            Some(sheet.backup_id),
            sheet.volume.as_ref().map(|volume| volume.volume_id),
        ),
    }
}
