//! Who has the lease, and what its end comes to.

use super::*;

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
    assert!(reason.contains("5 tries"), "{reason}");
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
    assert!(row.fail_reason.unwrap().contains("5 tries"));
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
