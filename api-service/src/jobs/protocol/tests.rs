//! The laws of the protocol, each a story on real rows.

use common::domain::{BackupStatus, ClaimId, Incarnation, JobKind, JobState, VolumeStatus};
use common::messages::rpc::{
    Claim, Claimed, Commit, Committed, Fail, FailCause, Failed, Fence, Finish, Finished,
    FrozenAnswer, FrozenReport, Outcome, Release, ReleaseReason, Released, Renew, Renewed, Reply,
    Restart, Restarted,
};
use common::messages::sheet::{BackupSheet, CleanScope, Frozen, Sheet, WorkTotals};
use jiff::SignedDuration;

use crate::jobs::reaper;
use crate::store::Scope;
use crate::testing::World;

fn backup_sheet(sheet: Sheet) -> BackupSheet {
    match sheet {
        Sheet::Backup(sheet) => *sheet,
        other => panic!("not a backup's sheet: {other:?}"),
    }
}

fn stale(fence: Fence) -> Fence {
    Fence {
        generation: fence.generation - 1,
        ..fence
    }
}

fn frozen(identity: &str) -> Frozen {
    Frozen {
        identity: identity.to_owned(),
        taken_at: "2026-03-01T10:00:05Z".parse().unwrap(),
        codec_fingerprint: "lz4".to_owned(),
    }
}

fn release(fence: Fence, why: ReleaseReason) -> Release {
    Release {
        fence,
        why,
        message: "no space left".to_owned(),
        mark: 0,
        retry_after_ms: 0,
    }
}

fn fail(fence: Fence, cause: FailCause) -> Fail {
    Fail {
        fence,
        cause,
        reason: "the volume is gone".to_owned(),
    }
}

#[tokio::test]
async fn a_repeated_claim_gets_the_same_grant() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let claim = world.claim_for(job.id);
    let first: Claimed = world.ask(claim.clone()).await;
    let second: Claimed = world.ask(claim.clone()).await;
    assert!(matches!(first, Claimed::Granted(_)));
    assert_eq!(first, second);
    let other: Claimed = world.ask(world.claim_for(job.id)).await;
    assert_eq!(other, Claimed::Busy);
    // A claim whose lease is over is not granted anew: the job has its own doorbell again.
    world.end_lease(job.id).await;
    assert_eq!(world.ask::<Claimed>(claim).await, Claimed::Busy);
    assert_eq!(world.job(job.id).await.generation, 1);
}

#[tokio::test]
async fn a_claim_of_nothing_or_of_the_past_is_a_duplicate() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    let late: Claimed = world.ask(world.claim_for(job.id)).await;
    assert_eq!(late, Claimed::Duplicate);
    let unknown: Claimed = world
        .ask(world.claim_for(common::domain::JobId::new()))
        .await;
    assert_eq!(unknown, Claimed::Duplicate);
}

#[tokio::test]
async fn the_sheet_has_all_that_step_one_decided() {
    let world = World::new().await;
    let volume = world.volume().await;
    let parent = world.available(volume.id, false).await;
    let new = crate::store::NewBackup {
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let row = world.store.create_backup(&world.caller, new).await.unwrap();
    let (_, grant) = world.grant(world.job_of(row.id).await.id).await;
    let sheet = backup_sheet(grant.sheet);
    assert_eq!(sheet.backup_id, row.id);
    assert_eq!(sheet.volume.source, volume.source);
    assert!(!sheet.in_use && !sheet.committed && sheet.frozen.is_none());
    assert_eq!(Some(&sheet.names.container), row.container.as_ref());
    assert_eq!(Some(&sheet.names.prefix), row.prefix.as_ref());
    assert_eq!(sheet.names.snapshot.unwrap(), format!("bk-{}-a1", row.id));
    let stored = sheet.parent.unwrap();
    assert_eq!(stored.backup_id, parent.id);
    assert_eq!(Some(stored.prefix), parent.prefix);
    assert_eq!(grant.lease_ms, 60_000);
    assert!(sheet.record.volume_meta.unwrap().contains("\"version\":2"));
}

#[tokio::test]
async fn a_stale_generation_is_fenced_and_changes_nothing() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (old, _) = world.grant(job.id).await;
    world.end_lease(job.id).await;
    let (new, _) = world.grant(job.id).await;
    assert_eq!(new.generation, old.generation + 1);
    let before = world.job(job.id).await;
    let forged = stale(new);
    for fence in [old, forged] {
        let renewed: Renewed = world.ask(Renew { fence, mark: 99 }).await;
        assert_eq!(renewed, Renewed::Fenced);
        let committed: Committed = world.ask(Commit { fence, attempt: 1 }).await;
        assert_eq!(committed, Committed::Fenced);
        let failed: Failed = world.ask(fail(fence, FailCause::Lasting)).await;
        assert_eq!(failed, Failed::Fenced);
        let released: Released = world.ask(release(fence, ReleaseReason::Passing)).await;
        assert_eq!(released, Released::Fenced);
        let report = FrozenReport {
            fence,
            attempt: 1,
            frozen: frozen("x"),
        };
        assert_eq!(
            world.ask::<FrozenAnswer>(report).await,
            FrozenAnswer::Fenced
        );
        let restart = Restart {
            fence,
            attempt: 1,
            reason: String::new(),
        };
        assert_eq!(world.ask::<Restarted>(restart).await, Restarted::Fenced);
        let finished = world.finish(fence, world.backed_up()).await;
        assert_eq!(finished, Finished::Fenced);
    }
    assert_eq!(world.job(job.id).await, before);
    world.backup_is(backup.id, BackupStatus::Creating).await;
}

#[tokio::test]
async fn a_stale_execution_of_a_finished_backup_gets_a_clean_behind_it() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (old, _) = world.grant(job.id).await;
    world.end_lease(job.id).await;
    let (new, _) = world.grant(job.id).await;
    world.complete(new).await;
    // Two generations had the attempt: a clean now and one after two leases.
    assert_eq!(world.cleans().await.len(), 2);
    world.turn(SignedDuration::from_mins(5));
    for job in world.cleans().await {
        let (fence, grant) = world.grant(job.id).await;
        let Sheet::Clean(sheet) = grant.sheet else {
            panic!("a clean has a clean's sheet");
        };
        assert_eq!(sheet.scope, CleanScope::Strays);
        assert_eq!(sheet.backup_id, backup.id);
        world.finish(fence, Outcome::Cleaned).await;
    }
    assert!(world.cleans().await.is_empty());
    let late: Renewed = world
        .ask(Renew {
            fence: old,
            mark: 1,
        })
        .await;
    assert_eq!(late, Renewed::Fenced);
    assert_eq!(world.cleans().await.len(), 1);
}

#[tokio::test]
async fn a_higher_mark_forgives_all_failures() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    for _ in 0..3 {
        world.grant(job.id).await;
        world.end_lease(job.id).await;
    }
    let (fence, _) = world.grant(job.id).await;
    assert_eq!(world.job(job.id).await.failures, 4);
    let held: Renewed = world.ask(Renew { fence, mark: 10 }).await;
    assert_eq!(held, Renewed::Held { cancel: false });
    let now = world.job(job.id).await;
    assert_eq!((now.failures, now.mark, now.renewals), (0, 10, 1));
    // A lower one is no news.
    world.ask::<Renewed>(Renew { fence, mark: 5 }).await;
    assert_eq!(world.job(job.id).await.mark, 10);
}

#[tokio::test]
async fn the_fifth_failure_is_queued_once_more_to_be_given_up() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    for _ in 0..5 {
        let (_, grant) = world.grant(job.id).await;
        assert_eq!(grant.give_up, None);
        world.end_lease(job.id).await;
    }
    let (fence, grant) = world.grant(job.id).await;
    let reason = grant.give_up.unwrap();
    assert!(reason.contains("5 executions"), "{reason}");
    let give_up = Fail {
        reason: reason.clone(),
        ..fail(fence, FailCause::GiveUp)
    };
    assert_eq!(world.ask::<Failed>(give_up).await, Failed::Recorded);
    // It cannot commit after all.
    let commit: Committed = world.ask(Commit { fence, attempt: 1 }).await;
    assert_eq!(commit, Committed::Cancelled);
    let failed = Outcome::Failed { reason };
    assert_eq!(world.finish(fence, failed).await, Finished::Settled);
    let row = world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert!(row.fail_reason.unwrap().contains("5 executions"));
    world.volume_is(volume.id, VolumeStatus::Available).await;
}

#[tokio::test]
async fn a_job_without_progress_for_a_day_is_given_up() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    // Waiting in the queue is nobody's failure.
    world.turn(SignedDuration::from_hours(30));
    let (fence, _) = world.grant(job.id).await;
    world.turn(SignedDuration::from_hours(23));
    let released: Released = world.ask(release(fence, ReleaseReason::Passing)).await;
    assert_eq!(released, Released::Queued);
    assert_eq!(world.job(job.id).await.give_up, None);
    let (fence, grant) = world.grant(job.id).await;
    assert_eq!(grant.give_up, None);
    world.turn(SignedDuration::from_hours(2));
    world
        .ask::<Released>(release(fence, ReleaseReason::Passing))
        .await;
    let (_, grant) = world.grant(job.id).await;
    let why = grant.give_up.unwrap();
    assert!(why.ends_with("no space left"), "{why}");
}

#[tokio::test]
async fn a_release_takes_its_failure_back_unless_the_job_is_to_blame() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let drain = Release {
        mark: 7,
        ..release(fence, ReleaseReason::Drain)
    };
    assert_eq!(world.ask::<Released>(drain.clone()).await, Released::Queued);
    // Repeated: the same answer, and nothing more is taken back.
    assert_eq!(world.ask::<Released>(drain).await, Released::Queued);
    let now = world.job(job.id).await;
    assert_eq!(
        (now.state, now.failures, now.mark),
        (JobState::Queued, 0, 7)
    );
    let (fence, grant) = world.grant(job.id).await;
    let sheet = backup_sheet(grant.sheet);
    assert!(sheet.predecessor_released);
    assert_eq!(sheet.mark, 7);
    world
        .ask::<Released>(release(fence, ReleaseReason::Crashed))
        .await;
    assert_eq!(world.job(job.id).await.failures, 1);
}

#[tokio::test]
async fn a_released_job_waits_for_its_time() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let later = Release {
        retry_after_ms: 30_000,
        ..release(fence, ReleaseReason::Passing)
    };
    world.ask::<Released>(later).await;
    let early: Claimed = world.ask(world.claim_for(job.id)).await;
    assert_eq!(early, Claimed::Busy);
    let due = |world: &World| {
        let store = world.store.clone();
        async move {
            let rows = store.due_messages(100).await.unwrap();
            rows.iter().filter(|row| row.job_id == Some(job.id)).count()
        }
    };
    let before = due(&world).await;
    world.turn(SignedDuration::from_secs(31));
    assert_eq!(due(&world).await, before + 1);
    world.grant(job.id).await;
}

#[tokio::test]
async fn the_first_frozen_report_stays() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let report = |identity: &str| FrozenReport {
        fence,
        attempt: 1,
        frozen: frozen(identity),
    };
    let first: FrozenAnswer = world.ask(report("inode 7")).await;
    assert_eq!(first, FrozenAnswer::Recorded(frozen("inode 7")));
    let second: FrozenAnswer = world.ask(report("inode 8")).await;
    assert_eq!(second, FrozenAnswer::Recorded(frozen("inode 7")));
}

#[tokio::test]
async fn a_restart_makes_one_next_attempt_with_a_later_prefix() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, grant) = world.grant(job.id).await;
    world.ask::<Renewed>(Renew { fence, mark: 10 }).await;
    let first = backup_sheet(grant.sheet);
    let restart = Restart {
        fence,
        attempt: 1,
        reason: "another snapshot".to_owned(),
    };
    let next: Restarted = world.ask(restart.clone()).await;
    let again: Restarted = world.ask(restart).await;
    assert_eq!(next, again);
    let Restarted::Attempt(sheet) = next else {
        panic!("no attempt: {next:?}");
    };
    let second = backup_sheet(*sheet);
    assert_eq!((second.names.number, second.mark), (2, 0));
    assert!(second.names.prefix.as_str() > first.names.prefix.as_str());
    assert_eq!(second.names.container, first.names.container);
    assert_ne!(second.names.snapshot, first.names.snapshot);
    assert_eq!(
        world.reload(backup.id).await.prefix,
        Some(second.names.prefix.clone())
    );
    // What the first left goes, now and once more later; the second is not touched.
    let cleans = world.cleans().await;
    assert_eq!(cleans.len(), 2);
    assert!(cleans.iter().all(|clean| clean.attempt == Some(1)));
    let (_, grant) = world.grant(cleans[0].id).await;
    let Sheet::Clean(clean) = grant.sheet else {
        panic!("a clean has a clean's sheet");
    };
    assert_eq!(clean.scope, CleanScope::Everything);
    assert_eq!(clean.names, first.names);
    // Reports about the first are over; the second is committed like any other.
    let late = FrozenReport {
        fence,
        attempt: 1,
        frozen: frozen("old"),
    };
    assert_eq!(world.ask::<FrozenAnswer>(late).await, FrozenAnswer::Fenced);
    world.complete(fence).await;
    world.backup_is(backup.id, BackupStatus::Available).await;
}

#[tokio::test]
async fn a_backup_has_at_most_five_attempts() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    for attempt in 1..=5 {
        let restart = Restart {
            fence,
            attempt,
            reason: "the snapshot vanished".to_owned(),
        };
        let answer: Restarted = world.ask(restart).await;
        if attempt < 5 {
            assert!(matches!(answer, Restarted::Attempt(_)), "{answer:?}");
        } else {
            let Restarted::Exhausted { reason } = answer else {
                panic!("{answer:?}");
            };
            assert!(reason.contains("the snapshot vanished"));
        }
    }
}

#[tokio::test]
async fn behind_the_commit_gate_there_is_only_finishing() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let commit = Commit { fence, attempt: 1 };
    for _ in 0..2 {
        let passed: Committed = world.ask(commit.clone()).await;
        assert_eq!(passed, Committed::Passed);
    }
    assert!(
        world
            .store
            .cancel_backup(&Scope::All, backup.id)
            .await
            .is_err()
    );
    let restart = Restart {
        fence,
        attempt: 1,
        reason: String::new(),
    };
    assert_eq!(world.ask::<Restarted>(restart).await, Restarted::Committed);
    let failed: Failed = world.ask(fail(fence, FailCause::Lasting)).await;
    assert_eq!(failed, Failed::Committed);
    // However often it crashes: it is never given up.
    for _ in 0..7 {
        world.end_lease(job.id).await;
        let (_, grant) = world.grant(job.id).await;
        assert_eq!(grant.give_up, None);
        assert!(backup_sheet(grant.sheet).committed);
        assert_eq!(world.job(job.id).await.state, JobState::Committing);
    }
    let now = world.job(job.id).await;
    let fence = Fence {
        job_id: job.id,
        generation: now.generation,
        claim_id: now.claim_id.unwrap(),
    };
    let finished = world.finish(fence, world.backed_up()).await;
    assert_eq!(finished, Finished::Settled);
    world.backup_is(backup.id, BackupStatus::Available).await;
}

#[tokio::test]
async fn what_is_lost_behind_the_gate_ends_in_error() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let _: Committed = world.ask(Commit { fence, attempt: 1 }).await;
    let lost: Failed = world.ask(fail(fence, FailCause::Lost)).await;
    assert_eq!(lost, Failed::Recorded);
    let reason = "the volume is gone".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world.backup_is(backup.id, BackupStatus::Error).await;
    world.volume_is(volume.id, VolumeStatus::Available).await;
}

#[tokio::test]
async fn cancel_and_commit_cannot_both_win() {
    let world = World::new().await;
    let volume = world.volume().await;
    for round in 0..20 {
        let (backup, job) = world.creating(volume.id).await;
        let (fence, _) = world.grant(job.id).await;
        let commit = world.ask::<Committed>(Commit { fence, attempt: 1 });
        let cancel = world.store.cancel_backup(&Scope::All, backup.id);
        let (committed, cancelled) = if round % 2 == 0 {
            tokio::join!(commit, cancel)
        } else {
            let (cancelled, committed) = tokio::join!(cancel, commit);
            (committed, cancelled)
        };
        match committed {
            Committed::Passed => {
                assert!(cancelled.is_err());
                world.finish(fence, world.backed_up()).await;
                world.backup_is(backup.id, BackupStatus::Available).await;
            }
            Committed::Cancelled => {
                assert!(cancelled.is_ok());
                let renewed: Renewed = world.ask(Renew { fence, mark: 0 }).await;
                assert_eq!(renewed, Renewed::Held { cancel: true });
                let _: Failed = world.ask(fail(fence, FailCause::Cancelled)).await;
                world.finish(fence, Outcome::Cancelled).await;
                let row = world.reload(backup.id).await;
                assert_eq!(row.status, BackupStatus::Error);
                assert_eq!(row.fail_reason.unwrap(), "Cancelled by its owner.");
            }
            Committed::Fenced => panic!("nobody else has the lease"),
        }
        world.volume_is(volume.id, VolumeStatus::Available).await;
    }
}

#[tokio::test]
async fn a_finish_is_settled_once_and_told_twice() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    let done = world.reload(backup.id).await;
    assert_eq!(done.object_count, 3);
    let repeated = world.finish(fence, world.backed_up()).await;
    assert_eq!(repeated, Finished::Settled);
    assert_eq!(world.reload(backup.id).await, done);
    let other = Fence {
        claim_id: ClaimId::new(),
        ..fence
    };
    let forged = world.finish(other, world.backed_up()).await;
    assert_eq!(forged, Finished::Fenced);
}

#[tokio::test]
async fn nothing_is_available_that_did_not_pass_the_gate() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    for outcome in [world.backed_up(), Outcome::Cleaned, Outcome::Deleted] {
        let finish = Finish {
            fence,
            outcome,
            totals: WorkTotals::default(),
        };
        let reply: Reply<Finished> = world.reply(finish).await;
        assert!(matches!(reply, Reply::Malformed(_)), "{reply:?}");
    }
    world.backup_is(backup.id, BackupStatus::Creating).await;
    assert_eq!(world.job(job.id).await.state, JobState::Running);
}

#[tokio::test]
async fn a_workers_start_ends_the_leases_of_its_smaller_incarnations() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let [smaller, held, greater] = [(); 3].map(|()| Incarnation::new());
    let claim = Claim {
        incarnation: held,
        ..world.claim_for(job.id)
    };
    let _: Claimed = world.ask(claim).await;
    let started = |name: &'static str, incarnation| {
        let store = world.store.clone();
        async move {
            reaper::worker_started(&store, &name.into(), incarnation)
                .await
                .unwrap();
        }
    };
    started("w", smaller).await;
    started("w", held).await;
    started("another", greater).await;
    assert_eq!(world.job(job.id).await.state, JobState::Running);
    started("w", greater).await;
    assert_eq!(world.job(job.id).await.state, JobState::Queued);
}

#[tokio::test]
async fn a_clean_waits_while_another_job_works_on_the_same_data() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    world.end_lease(job.id).await;
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    let clean = world.cleans().await.remove(0);
    world
        .store
        .delete_backup(&world.caller, &Scope::All, backup.id, false)
        .await
        .unwrap();
    let early: Claimed = world.ask(world.claim_for(clean.id)).await;
    assert_eq!(early, Claimed::Busy);
    let delete = world.job_of(backup.id).await;
    assert_eq!(delete.kind(), JobKind::Delete);
    let (fence, _) = world.grant(delete.id).await;
    world.finish(fence, Outcome::Deleted).await;
    assert!(world.is_gone(backup.id).await);
    world.turn(SignedDuration::from_mins(5));
    let (_, grant) = world.grant(clean.id).await;
    let Sheet::Clean(sheet) = grant.sheet else {
        panic!("a clean has a clean's sheet");
    };
    assert_eq!(sheet.scope, CleanScope::Everything);
}
