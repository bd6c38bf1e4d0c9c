//! The commit gate, and the end of a job.

use super::*;

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
