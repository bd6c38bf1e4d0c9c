//! Processes lost in the middle: each job ends well without a human.

use common::domain::{BackupId, BackupStatus, VolumeId, VolumeStatus};
use harness::volume::{self, MIB};
use harness::{NewBackup, TestStack};

use crate::strike;

/// A backup of a large volume that is in its middle.
async fn backup_in_its_middle(stack: &TestStack) -> (VolumeId, BackupId) {
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(stack, backup).await;
    (id, backup)
}

/// A restore of a large volume that is in its middle.
async fn restore_in_its_middle(stack: &TestStack) -> (BackupId, VolumeId) {
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().back_up(id).await;
    let target = stack.api().restore(backup.id, None).await.volume_id;
    strike::restore_is_in_its_middle(stack, backup.id, target).await;
    (backup.id, target)
}

/// Checks that a restore comes to a good end.
async fn ends_well(stack: &TestStack, backup: BackupId, target: VolumeId) {
    stack
        .api()
        .until_volume(target, VolumeStatus::Available)
        .await;
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    volume::assert_same_bytes(&stack.file_of(target), &stack.volumes().join("large.raw"));
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_backup_survives_the_death_of_its_worker() {
    let stack = TestStack::build().slow().spare_worker().start().await;
    let (id, backup) = backup_in_its_middle(&stack).await;
    stack.worker(1).kill();
    let sealed = stack.target().sealed_bytes_of(backup);
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(2).start();
    strike::comes_back(&stack, backup, "large.raw").await;
    strike::went_on_after(&stack, backup, sealed, 48 * MIB).await;
    assert_eq!(stack.api().volume(id).await.status, VolumeStatus::Available);
}

#[tokio::test]
async fn a_backup_goes_on_when_its_worker_comes_back() {
    // With a lease far longer than the test's patience only the new start can end it.
    let stack = TestStack::build()
        .slow()
        .set("jobs.lease", "1h")
        .start()
        .await;
    let (_, backup) = backup_in_its_middle(&stack).await;
    stack.worker(1).kill();
    let sealed = stack.target().sealed_bytes_of(backup);
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(1).start();
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    strike::went_on_after(&stack, backup, sealed, 48 * MIB).await;
    let restored = stack.api().bring_back(backup).await;
    let source = stack.volumes().join("large.raw");
    volume::assert_same_bytes(&stack.file_of(restored), &source);
}

#[tokio::test]
async fn a_restore_whose_worker_dies_goes_on_from_its_mark() {
    let stack = TestStack::build().slow().spare_worker().start().await;
    let mut progress = stack.listen("progress.restore.#").await;
    let (backup, target) = restore_in_its_middle(&stack).await;
    strike::restore_is_marked(&stack, backup).await;
    stack.worker(1).kill();
    strike::is_still(&stack, backup, BackupStatus::Restoring).await;
    stack.worker(2).start();
    strike::second_execution_goes_on_behind_the_start(&mut progress).await;
    ends_well(&stack, backup, target).await;
}

#[tokio::test]
async fn a_backup_survives_the_death_of_the_api_service() {
    let stack = TestStack::build().slow().start().await;
    let (_, backup) = backup_in_its_middle(&stack).await;
    stack.api_service().kill();
    stack.api_service().start();
    stack.until_ready().await;
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    strike::comes_back(&stack, backup, "large.raw").await;
}

#[tokio::test]
async fn a_worker_frozen_past_its_lease_changes_nothing_when_it_goes_on() {
    let stack = TestStack::build().slow().spare_worker().start().await;
    let mut workers = stack.listen("worker.#").await;
    let (_, backup) = backup_in_its_middle(&stack).await;
    stack.worker(1).freeze();
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(2).start();
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    let before = stack.target().tree_of(backup);
    let told = stack.api().backup(backup).await;

    workers.forget().await;
    stack.worker(1).thaw();
    workers
        .hear("the frozen worker to give its job up", |event| {
            event.subject == "worker-1" && event.data["running"] == serde_json::json!([])
        })
        .await;
    assert_eq!(stack.target().tree_of(backup), before);
    assert_eq!(stack.api().backup(backup).await, told);
    strike::comes_back(&stack, backup, "large.raw").await;
}

#[tokio::test]
async fn of_two_workers_of_one_name_the_older_one_ends() {
    let stack = TestStack::build()
        .slow()
        // Only the newer one's start can end the older one's lease.
        .set("jobs.lease", "1h")
        .spare_worker()
        .start()
        .await;
    let (_, backup) = backup_in_its_middle(&stack).await;
    stack.worker(2).set("worker.name", "worker-1");
    stack.worker(2).start();
    assert!(!stack.worker(1).ended().await.success());
    strike::comes_back(&stack, backup, "large.raw").await;
}

#[tokio::test]
async fn a_restore_frozen_past_its_lease_and_thawed_ends_well() {
    let stack = TestStack::build().slow().spare_worker().start().await;
    let mut workers = stack.listen("worker.#").await;
    let (backup, target) = restore_in_its_middle(&stack).await;
    stack.worker(1).freeze();
    strike::is_still(&stack, backup, BackupStatus::Restoring).await;
    stack.worker(2).start();
    // The frozen one still has the lock of the target, so the second can only wait for it.
    workers
        .hear("the second worker to take the restore", |event| {
            event.subject == "worker-2" && event.data["running"] != serde_json::json!([])
        })
        .await;
    stack.worker(1).thaw();
    ends_well(&stack, backup, target).await;
}
