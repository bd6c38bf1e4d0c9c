//! Workers that are asked to stop.

use common::domain::BackupStatus;
use harness::{NewBackup, TestStack, volume};

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
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(2).start();
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    let restored = stack.api().bring_back(backup).await;
    let source = stack.volumes().join("large.raw");
    volume::assert_same_bytes(&stack.file_of(restored), &source);
}

#[tokio::test]
async fn an_idle_stack_stops_at_once_and_well() {
    let stack = TestStack::start().await;
    stack.worker(1).ask_to_stop();
    assert!(stack.worker(1).ended().await.success());
    stack.api_service().ask_to_stop();
    assert!(stack.api_service().ended().await.success());
}
