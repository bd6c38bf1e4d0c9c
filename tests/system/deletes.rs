//! Removing backups.

use common::domain::BackupStatus;
use harness::volume::{self, noise};
use harness::{NewBackup, TestStack};
use reqwest::Method;

use crate::strike;

#[tokio::test]
async fn a_deleted_backup_leaves_no_file() {
    let stack = TestStack::start().await;
    let bytes = noise(1, 3_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let kept = stack.api().back_up(id).await;
    let before = stack.target().tree_of(kept.id);
    let gone = stack.api().back_up(id).await;
    assert_ne!(
        stack.target().files_of(gone.id),
        Vec::<std::path::PathBuf>::new()
    );
    stack.api().delete_backup(gone.id).await;
    stack.api().until_gone(gone.id).await;
    assert_eq!(
        stack.target().files_of(gone.id),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(stack.target().tree_of(kept.id), before);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn backups_that_share_a_container_do_not_harm_each_other() {
    let stack = TestStack::start().await;
    let bytes = noise(1, 1_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let wanted = NewBackup {
        container: Some("weekly/box".to_owned()),
        ..NewBackup::of(id)
    };
    let mut made = Vec::new();
    for _ in 0..2 {
        let backup = stack.api().create_backup(&wanted).await;
        let backup = stack
            .api()
            .until_backup(backup, BackupStatus::Available)
            .await;
        assert_eq!(backup.container.as_deref(), Some("weekly/box"));
        made.push(backup.id);
    }
    stack.api().delete_backup(made[0]).await;
    stack.api().until_gone(made[0]).await;
    let restored = stack.api().bring_back(made[1]).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_parent_stays_while_something_builds_on_it() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 500_000)).await;
    let parent = stack.api().back_up(id).await;
    let child = stack.api().back_up_changes(id).await;
    let path = format!("/v3/backups/{}", parent.id);
    let message = "Invalid backup: Incremental backups exist for this backup.";
    let answer = stack.api().send(Method::DELETE, &path, None).await;
    answer.refused(400, "badRequest", message);
    assert_eq!(
        stack.api().backup(parent.id).await.status,
        BackupStatus::Available
    );
    stack.api().delete_backup(child.id).await;
    stack.api().until_gone(child.id).await;
    stack.api().delete_backup(parent.id).await;
    stack.api().until_gone(parent.id).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_creating_backup_goes_only_by_force() {
    let stack = TestStack::build().slow().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    let path = format!("/v3/backups/{backup}");
    let answer = stack.api().send(Method::DELETE, &path, None).await;
    answer.refused(
        400,
        "badRequest",
        "Invalid backup: Backup status must be available or error",
    );
    stack.api().force_delete(backup).await;
    stack.api().until_gone(backup).await;
    let files = stack.target().files_of(backup);
    assert_eq!(files, Vec::<std::path::PathBuf>::new());
    stack.assert_nothing_left_behind().await;
}
