//! A job that is given up ends, whoever else dies.

use super::*;

/// Fails an execution for good, so that only the clean-up is left.
async fn given_up(world: &World) -> (common::domain::BackupId, common::domain::JobId) {
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let failed: Failed = world.ask(fail(fence, FailCause::Lasting)).await;
    assert_eq!(failed, Failed::Recorded);
    (backup.id, job.id)
}

async fn has_failed(world: &World, backup: common::domain::BackupId) {
    let row = world.reload(backup).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert_eq!(row.fail_reason.unwrap(), "the volume is gone");
    assert_eq!(world.cleans().await.len(), 2, "its names are left to clean");
}

#[tokio::test]
async fn a_give_up_that_kills_every_worker_is_settled_without_one() {
    let world = World::new().await;
    let (backup, job) = given_up(&world).await;
    let mut executions = 1;
    loop {
        world.end_lease(job).await;
        if world.job(job).await.state == JobState::Settled {
            break;
        }
        let (_, grant) = world.grant(job).await;
        assert!(grant.give_up.is_some());
        executions += 1;
    }
    assert_eq!(executions, 10);
    has_failed(&world, backup).await;
}

#[tokio::test]
async fn a_give_up_whose_time_is_over_is_settled_when_its_lease_ends() {
    let world = World::new().await;
    let (backup, job) = given_up(&world).await;
    world.turn(SignedDuration::from_mins(9));
    world.end_lease(job).await;
    let (fence, _) = world.grant(job).await;
    world.turn(SignedDuration::from_mins(2));
    let released: Released = world.ask(release(fence, ReleaseReason::Passing)).await;
    assert_eq!(released, Released::Queued);
    has_failed(&world, backup).await;
}

#[tokio::test]
async fn a_give_up_does_not_wait_longer_than_its_deadline() {
    let world = World::new().await;
    let (_, job) = given_up(&world).await;
    let held = world.job(job).await;
    let fence = Fence {
        job_id: job,
        generation: held.generation,
        claim_id: held.claim_id.unwrap(),
    };
    let later = Release {
        retry_after_ms: 3_600_000,
        ..release(fence, ReleaseReason::Passing)
    };
    world.ask::<Released>(later).await;
    let waits = world.job(job).await;
    let deadline = waits.give_up_at.unwrap() + SignedDuration::from_mins(10);
    assert_eq!(waits.next_at, Some(deadline));
}

#[tokio::test]
async fn the_reason_of_a_give_up_names_what_was_last_seen() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    for _ in 0..5 {
        world.grant(job.id).await;
        world.end_lease(job.id).await;
    }
    assert_eq!(
        world.job(job.id).await.give_up.unwrap(),
        "Given up after 5 tries without progress: the backup worker stopped answering"
    );
}

#[tokio::test]
async fn a_job_that_is_given_up_gets_no_new_attempt() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    for _ in 0..5 {
        world.grant(job.id).await;
        world.end_lease(job.id).await;
    }
    let (fence, _) = world.grant(job.id).await;
    let restart = Restart {
        fence,
        attempt: 1,
        reason: String::new(),
    };
    let answer: Restarted = world.ask(restart).await;
    assert!(matches!(answer, Restarted::Exhausted { .. }), "{answer:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_is_no_time_without_progress() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    world.turn(SignedDuration::from_hours(-48));
    world.end_lease(job.id).await;
    let row = world.job(job.id).await;
    assert_eq!((row.state, row.give_up), (JobState::Queued, None));
}
