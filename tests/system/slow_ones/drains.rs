//! Workers that are asked to stop.

use common::domain::{BackupStatus, VolumeStatus};
use harness::volume::{self, MIB};
use harness::{NewBackup, TestStack, until};

use crate::strike;

#[tokio::test]
async fn a_worker_asked_to_stop_finishes_what_it_has() {
    let stack = TestStack::build().slow().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.worker(1).ask_to_stop();
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    assert!(stack.worker(1).ended().await.success());
    assert_eq!(
        stack.api().backup(backup).await.status,
        BackupStatus::Available
    );
    stack.worker(1).start();
    let restored = stack.api().bring_back(backup).await;
    let source = stack.volumes().join("large.raw");
    volume::assert_same_bytes(&stack.file_of(restored), &source);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_worker_that_may_not_finish_hands_its_job_over() {
    let stack = TestStack::build()
        .slow()
        .set("worker.drain_timeout", "100ms")
        // Only a job that was handed over ends in time; a lost lease would not.
        .set("jobs.lease", "1h")
        .spare_worker()
        .start()
        .await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.worker(1).ask_to_stop();
    assert!(stack.worker(1).ended().await.success());
    let sealed = stack.target().sealed_bytes_of(backup);
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(2).start();
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
async fn a_job_that_is_handed_over_more_often_than_it_may_fail_still_ends_well() {
    let stack = TestStack::build()
        .slow()
        .set("worker.drain_timeout", "0s")
        .set("jobs.lease", "1h")
        .spare_worker()
        .start()
        .await;
    let length = 96 * MIB;
    volume::write_dense(&stack.file_to_manage("large.raw"), length, 7);
    let id = stack.api().manage_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    let mut sealed = 0;
    for round in 0..6 {
        let (old, new) = (1 + round % 2, 2 - round % 2);
        until("the worker to seal more", async || {
            (stack.target().sealed_bytes_of(backup) > sealed).then_some(())
        })
        .await;
        stack.worker(old).ask_to_stop();
        assert!(stack.worker(old).ended().await.success());
        sealed = stack.target().sealed_bytes_of(backup);
        strike::is_still(&stack, backup, BackupStatus::Creating).await;
        stack.worker(new).start();
    }
    strike::comes_back(&stack, backup, "large.raw").await;
    strike::went_on_after(&stack, backup, sealed, length).await;
}

#[tokio::test]
async fn a_restore_that_is_handed_over_goes_on_from_its_mark() {
    let stack = TestStack::build()
        .slow()
        .set("worker.drain_timeout", "100ms")
        .set("jobs.lease", "1h")
        .spare_worker()
        .start()
        .await;
    let mut progress = stack.listen("progress.restore.#").await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().back_up(id).await.id;
    let target = stack.api().restore(backup, None).await.volume_id;
    strike::restore_is_in_its_middle(&stack, backup, target).await;
    stack.worker(1).ask_to_stop();
    assert!(stack.worker(1).ended().await.success());
    strike::is_still(&stack, backup, BackupStatus::Restoring).await;
    stack.worker(2).start();
    strike::second_execution_goes_on_behind_the_start(&mut progress).await;
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
async fn an_idle_stack_stops_at_once_and_well() {
    let stack = TestStack::start().await;
    stack.worker(1).ask_to_stop();
    assert!(stack.worker(1).ended().await.success());
    stack.api_service().ask_to_stop();
    assert!(stack.api_service().ended().await.success());
}
