//! Owners who change their mind.

use std::time::Duration;

use common::domain::{BackupStatus, VolumeStatus};
use harness::{NewBackup, TestStack, until, until_within};
use serde_json::json;

use crate::strike;

#[tokio::test]
async fn a_cancelled_backup_says_so_and_leaves_nothing() {
    let stack = TestStack::build().slow().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.api().cancel(backup).await;
    let cancelled = stack.api().until_backup(backup, BackupStatus::Error).await;
    assert_eq!(
        cancelled.fail_reason.as_deref(),
        Some("Cancelled by its owner.")
    );
    stack.api().until_volume(id, VolumeStatus::Available).await;
    stack.assert_nothing_left_behind().await;
    stack.api().delete_backup(backup).await;
    stack.api().until_gone(backup).await;
}

#[tokio::test]
async fn a_backup_cancelled_before_anyone_took_it_settles_without_a_worker() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", b"some").await;
    stack.worker(1).kill();
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    stack.api().cancel(backup).await;
    let cancelled = stack.api().until_backup(backup, BackupStatus::Error).await;
    assert_eq!(
        cancelled.fail_reason.as_deref(),
        Some("Cancelled by its owner.")
    );
    stack.api().until_volume(id, VolumeStatus::Available).await;
    stack.worker(1).start();
    stack.until_ready().await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_backup_at_a_crawl_keeps_its_lease_and_is_cancelled_at_once() {
    // So many threads that each chunk of the volume waits for its turn, the last one for most of a minute.
    let build = TestStack::build()
        .set("worker.job_read_rate", "1MiB")
        .set("worker.engine_threads", "12")
        .set("backup.object_size", "4MiB");
    let stack = build.start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    // That takes longer than a lease lives without renewals.
    until("the backup to seal a chunk", async || {
        (stack.target().sealed_bytes_of(backup) > 0).then_some(())
    })
    .await;
    let jobs = stack.api().get("/admin/jobs").await.expect(200);
    assert_eq!(jobs["jobs"][0]["generation"], 1, "{jobs}");
    stack.api().cancel(backup).await;
    let well_before = Duration::from_secs(30);
    until_within(well_before, "the cancel to be heard", async || {
        let status = stack.api().backup(backup).await.status;
        (status == BackupStatus::Error).then_some(())
    })
    .await;
    stack.api().until_volume(id, VolumeStatus::Available).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_cancelled_restore_keeps_the_backup_and_marks_the_volume() {
    let stack = TestStack::build().slow().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().back_up(id).await;
    let target = stack.api().restore(backup.id, None).await.volume_id;
    strike::restore_is_in_its_middle(&stack, backup.id, target).await;
    stack.api().cancel(backup.id).await;
    stack
        .api()
        .until_backup(backup.id, BackupStatus::Available)
        .await;
    stack.api().until_volume(target, VolumeStatus::Error).await;
    stack.assert_nothing_left_behind().await;
    stack.api().delete_volume(target).await;
}

#[tokio::test]
async fn what_rests_cannot_be_cancelled() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", b"some").await;
    let backup = stack.api().back_up(id).await;
    let path = format!("/v3/backups/{}/action", backup.id);
    let answer = stack.api().post(&path, json!({"emberkeep:cancel": null}));
    let answer = answer.await;
    assert!([400, 409].contains(&answer.status), "{answer:?}");
    assert_eq!(
        stack.api().backup(backup.id).await.status,
        BackupStatus::Available
    );
    stack.assert_nothing_left_behind().await;
}
