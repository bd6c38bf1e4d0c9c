//! What is refused before it begins.

use common::domain::{BackupStatus, VolumeId, VolumeStatus};
use harness::volume::noise;
use harness::{NewBackup, TestStack};
use serde_json::json;

#[tokio::test]
async fn an_incremental_needs_a_backup_before_it() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    let message = "Invalid backup: No backups available to do an incremental backup.";
    let incremental = NewBackup::incremental(id);
    let answer = stack.api().ask_for_backup(&incremental).await;
    answer.refused(400, "badRequest", message);

    let full = stack.api().back_up(id).await;
    stack.api().delete_backup(full.id).await;
    stack.api().until_gone(full.id).await;
    let answer = stack.api().ask_for_backup(&incremental).await;
    answer.refused(400, "badRequest", message);
    stack.api().until_volume(id, VolumeStatus::Available).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn quotas_hold() {
    let stack = TestStack::build()
        .set("quota.backups", "2")
        .set("quota.backup_gigabytes", "3")
        .start()
        .await;
    let small = stack.api().create_volume(1).await;
    let other = stack.api().create_volume(1).await;
    let large = stack.api().create_volume(3).await;
    let first = stack.api().back_up(small).await;
    stack
        .api()
        .ask_for_backup(&NewBackup::of(large))
        .await
        .refused(413, "overLimit", "VolumeBackupSizeExceedsAvailableQuota");
    stack.api().back_up(small).await;
    // The quota is looked at before the parent of an incremental.
    stack
        .api()
        .ask_for_backup(&NewBackup::incremental(other))
        .await
        .refused(
            413,
            "overLimit",
            "BackupLimitExceeded: Maximum number of backups allowed (2) exceeded",
        );
    // Only the end of a deletion gives it back.
    stack.api().delete_backup(first.id).await;
    stack.api().until_gone(first.id).await;
    stack.api().back_up(small).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_zone_nobody_knows_is_an_error_at_once() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    let wanted = NewBackup {
        availability_zone: Some("nowhere".to_owned()),
        ..NewBackup::of(id)
    };
    let backup = stack.api().create_backup(&wanted).await;
    let backup = stack.api().until_backup(backup, BackupStatus::Error).await;
    assert_eq!(
        backup.fail_reason.as_deref(),
        Some("Service not found for creating backup.")
    );
    stack.api().until_volume(id, VolumeStatus::Available).await;
    stack.api().back_up(id).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_volume_too_small_is_no_restore_target() {
    let stack = TestStack::start().await;
    let source = stack.api().create_volume(2).await;
    let small = stack.api().create_volume(1).await;
    let backup = stack.api().back_up(source).await;
    let path = format!("/v3/backups/{}/restore", backup.id);
    let body = json!({"restore": {"volume_id": small.to_string()}});
    stack.api().post(&path, body).await.refused(
        400,
        "badRequest",
        "Invalid volume: volume size 1 is too small to restore backup of size 2.",
    );
    assert_eq!(
        stack.api().volume(small).await.status,
        VolumeStatus::Available
    );
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn another_projects_things_are_not_there() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    let backup = stack.api().back_up(id).await;
    stack
        .api()
        .ask_for_backup(&NewBackup::of(VolumeId::new()))
        .await
        .refused(404, "itemNotFound", "could not be found");
    let other = stack.api().as_project("00000000000000000000000000000002");
    let listed = other.get("/v3/backups").await.expect(200);
    assert_eq!(listed, json!({"backups": []}));
    let listed = other.get("/v3/volumes").await.expect(200);
    assert_eq!(listed, json!({"volumes": []}));
    // Without authentication every caller is an administrator and may show what it can name.
    assert_eq!(other.backup(backup.id).await.project_id, backup.project_id);
    stack.assert_nothing_left_behind().await;
}
