//! A worker lost while it reads a snapshot.

use common::domain::{BackupStatus, SnapshotStatus};
use harness::volume::{self, noise};
use harness::{NewBackup, TestStack};

use crate::strike;

#[tokio::test]
async fn a_backup_of_a_snapshot_survives_the_death_of_its_worker() {
    let stack = TestStack::build().slow().spare_worker().start().await;
    let api = stack.api();
    let id = stack.large_volume("large.raw").await;
    let file = stack.volumes().join("large.raw");
    let snapshot = api.take_snapshot(id).await;
    let kept = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::copy(&file, kept.path()).expect("a file can be copied");
    volume::write_at(&file, 0, &noise(1, 1_000_000));
    let backup = api
        .create_backup(&NewBackup {
            snapshot_id: Some(snapshot.to_string()),
            ..NewBackup::of(id)
        })
        .await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.worker(1).kill();
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.worker(2).start();
    api.until_backup(backup, BackupStatus::Available).await;
    api.until_snapshot(snapshot, SnapshotStatus::Available)
        .await;
    let restored = api.bring_back(backup).await;
    volume::assert_same_bytes(&stack.file_of(restored), kept.path());
    stack.assert_nothing_left_behind().await;
    api.delete_snapshot(snapshot).await;
    stack.assert_nothing_left_behind().await;
}
