//! How backups end: delete, forced delete, cancel, reset.

use super::*;

#[tokio::test]
async fn a_parent_cannot_be_deleted_while_its_incremental_is_being_created() {
    let world = World::new().await;
    let volume = world.volume().await;
    for round in 0..10 {
        let parent = world.available(volume.id, false).await;
        let new = NewBackup {
            incremental: true,
            ..world.new_backup(volume.id)
        };
        let create = world.store.create_backup(&world.caller, new);
        let remove = delete(&world, parent.id, round % 3 == 0);
        let (created, removed) = if round % 2 == 0 {
            tokio::join!(create, remove)
        } else {
            let (removed, created) = tokio::join!(remove, create);
            (created, removed)
        };
        match (&created, &removed) {
            (Ok(child), Err(_)) => {
                assert_eq!(child.parent_id, Some(parent.id));
                world.backup_is(parent.id, BackupStatus::Available).await;
                let (fence, _) = world.grant(world.job_of(child.id).await.id).await;
                world.complete(fence).await;
                delete(&world, child.id, false).await.unwrap();
                // Also while it is being removed it needs its parent.
                assert!(delete(&world, parent.id, true).await.is_err());
                work_off_delete(&world, child.id).await;
                delete(&world, parent.id, false).await.unwrap();
            }
            (Err(_), Ok(())) => {}
            other => panic!("both or neither: {other:?}"),
        }
        work_off_delete(&world, parent.id).await;
    }
}

#[tokio::test]
async fn force_delete_of_a_creating_backup_ends_in_deleted() {
    let world = World::new().await;
    let volume = world.volume().await;

    // Waiting: nobody to ask, nothing to remove.
    let (backup, _) = world.creating(volume.id).await;
    delete(&world, backup.id, true).await.unwrap();
    assert!(world.is_gone(backup.id).await);
    world.volume_is(volume.id, VolumeStatus::Available).await;

    // Running: cancelled, then deleted.
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    delete(&world, backup.id, true).await.unwrap();
    delete(&world, backup.id, true).await.unwrap();
    world.backup_is(backup.id, BackupStatus::Deleting).await;
    let renewed: Renewed = world.ask(Renew { fence, mark: 0 }).await;
    assert_eq!(renewed, Renewed::Held { cancel: true });
    world.finish(fence, Outcome::Cancelled).await;
    world.backup_is(backup.id, BackupStatus::Deleting).await;
    work_off_delete(&world, backup.id).await;
    world.volume_is(volume.id, VolumeStatus::Available).await;

    // Running, and the worker dies: the same.
    let (backup, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    delete(&world, backup.id, true).await.unwrap();
    world.end_lease(job.id).await;
    work_off_delete(&world, backup.id).await;

    // Committed: finished first.
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let _: Committed = world.ask(Commit { fence, attempt: 1 }).await;
    delete(&world, backup.id, true).await.unwrap();
    let renewed: Renewed = world.ask(Renew { fence, mark: 0 }).await;
    assert_eq!(renewed, Renewed::Held { cancel: false });
    world.finish(fence, world.backed_up()).await;
    world.backup_is(backup.id, BackupStatus::Deleting).await;
    work_off_delete(&world, backup.id).await;
    world.volume_is(volume.id, VolumeStatus::Available).await;
}

#[tokio::test]
async fn a_plain_delete_waits_for_nothing_that_runs() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, _) = world.creating(volume.id).await;
    let refused = delete(&world, backup.id, false).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::BackupNotDeletable);
}

#[tokio::test]
async fn a_cancel_without_a_lease_settles_at_once() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    world.end_lease(job.id).await;
    world
        .store
        .cancel_backup(&Scope::All, backup.id)
        .await
        .unwrap();
    let row = world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert_eq!(row.fail_reason.unwrap(), CANCELLED);
    world.volume_is(volume.id, VolumeStatus::Available).await;
    // The names are left to clean, now and after two leases; its doorbells are gone.
    assert_eq!(world.cleans().await.len(), 2);
    let rows = world.store.due_messages(1000).await.unwrap();
    assert!(rows.iter().all(|row| row.job_id != Some(job.id)));
    let again = world.store.cancel_backup(&Scope::All, backup.id).await;
    assert_eq!(
        refusal(again.unwrap_err()),
        Refusal::NothingToCancel(BackupStatus::Error)
    );
}

#[tokio::test]
async fn a_delete_that_fails_ends_in_error_and_can_be_tried_again() {
    let world = World::new().await;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    delete(&world, backup.id, false).await.unwrap();
    let (fence, _) = world.grant(world.job_of(backup.id).await.id).await;
    let reason = "the target does not answer".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world.backup_is(backup.id, BackupStatus::Error).await;
    delete(&world, backup.id, false).await.unwrap();
    work_off_delete(&world, backup.id).await;
}

#[tokio::test]
async fn reset_to_available_needs_a_committed_attempt() {
    let world = World::new().await;
    let volume = world.volume().await;
    let reset = |id, to| {
        world
            .store
            .reset_backup_status(&world.caller, &Scope::All, id, to)
    };
    let whole = world.available(volume.id, false).await;
    reset(whole.id, BackupStatus::Error).await.unwrap();
    world.backup_is(whole.id, BackupStatus::Error).await;
    reset(whole.id, BackupStatus::Available).await.unwrap();
    world.backup_is(whole.id, BackupStatus::Available).await;

    // Of what is being created it is a cancel.
    let (half, _) = world.creating(volume.id).await;
    reset(half.id, BackupStatus::Available).await.unwrap();
    world.backup_is(half.id, BackupStatus::Error).await;
    let refused = reset(half.id, BackupStatus::Available).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::NothingToReset);

    // Once a delete began, nobody knows what is left.
    delete(&world, whole.id, false).await.unwrap();
    let refused = reset(whole.id, BackupStatus::Error).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::ResetWhileDeleting);
    let (fence, _) = world.grant(world.job_of(whole.id).await.id).await;
    let reason = String::new();
    world.finish(fence, Outcome::Failed { reason }).await;
    let refused = reset(whole.id, BackupStatus::Available).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::NothingToReset);
}

#[tokio::test]
async fn a_tombstone_goes_when_its_time_is_over() {
    let world = World::new().await;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    delete(&world, backup.id, false).await.unwrap();
    work_off_delete(&world, backup.id).await;
    world.turn(SignedDuration::from_mins(5));
    for clean in world.cleans().await {
        let (fence, _) = world.grant(clean.id).await;
        world.finish(fence, Outcome::Cleaned).await;
    }
    let sweep = || async {
        let mut tx = world.store.write().await.unwrap();
        let removed = tx.remove_what_is_over().await.unwrap();
        tx.commit().await.unwrap();
        removed
    };
    assert_eq!(sweep().await, 0);
    world.turn(SignedDuration::from_hours(31 * 24));
    assert!(sweep().await > 0);
    let mut tx = world.store.write().await.unwrap();
    assert_eq!(tx.backup_or_tombstone(backup.id).await.unwrap(), None);
    drop(tx);
    assert_eq!(sweep().await, 0);
}
