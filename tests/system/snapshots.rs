//! Snapshots, and what is made from them.

use common::domain::{BackupStatus, SnapshotId, SnapshotStatus, VolumeId, VolumeStatus};
use harness::volume::{self, MIB, noise, text};
use harness::{Backup, NewBackup, TestStack};
use reqwest::Method;

/// Backs a snapshot up and waits for its end.
async fn back_up(
    stack: &TestStack,
    volume: VolumeId,
    snapshot: SnapshotId,
    incremental: bool,
) -> Backup {
    let wanted = NewBackup {
        snapshot_id: Some(snapshot.to_string()),
        incremental,
        ..NewBackup::of(volume)
    };
    let id = stack.api().create_backup(&wanted).await;
    stack.api().until_backup(id, BackupStatus::Available).await
}

#[tokio::test]
async fn a_backup_of_a_snapshot_holds_what_the_volume_was() {
    let stack = TestStack::build()
        .set("backup.compression", "none")
        .start()
        .await;
    let api = stack.api();
    let mut bytes = noise(1, 3_000_000);
    let id = stack.managed_volume("vol.raw", &bytes).await;
    let file = stack.volumes().join("vol.raw");
    let monday = api.take_snapshot(id).await;
    let on_monday = bytes.clone();
    let changed = text(2, 100_000);
    bytes[1_000_000..1_100_000].copy_from_slice(&changed);
    volume::write_at(&file, 1_000_000, &changed);
    let tuesday = api.take_snapshot(id).await;
    volume::write_at(&file, 0, &noise(3, 3_000_000));

    // Neither force nor a volume at rest is needed.
    api.attach(id).await;
    let full = back_up(&stack, id, monday, false).await;
    api.until_volume(id, VolumeStatus::InUse).await;
    let taken = api.until_snapshot(monday, SnapshotStatus::Available).await;
    assert_eq!(full.data_timestamp, Some(taken.created_at));
    assert_eq!(full.snapshot_id, Some(monday.to_string()));
    let incremental = back_up(&stack, id, tuesday, true).await;
    assert!(incremental.is_incremental);
    let stored = stack.target().stored_bytes(incremental.id);
    assert!((100_000..=5 * 32768).contains(&stored), "stored {stored}");

    for (backup, wanted) in [(&full, &on_monday), (&incremental, &bytes)] {
        let restored = api.bring_back(backup.id).await;
        volume::assert_holds(&stack.file_of(restored), wanted);
    }
    api.detach(id).await;
    stack.assert_nothing_left_behind().await;
    for snapshot in [monday, tuesday] {
        api.delete_snapshot(snapshot).await;
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn an_incremental_of_a_snapshot_builds_on_what_is_older_than_it() {
    let stack = TestStack::start().await;
    let api = stack.api();
    let before = text(1, 2_000_000);
    let id = stack.managed_volume("vol.raw", &before).await;
    let snapshot = api.take_snapshot(id).await;
    let wanted = NewBackup {
        snapshot_id: Some(snapshot.to_string()),
        ..NewBackup::incremental(id)
    };
    let nothing = "Invalid backup: No backups available to do an incremental backup.";
    let file = stack.volumes().join("vol.raw");
    volume::write_at(&file, 500_000, &noise(2, 50_000));
    let later = api.back_up(id).await;
    let asked = api.ask_for_backup(&wanted).await;
    asked.refused(400, "badRequest", nothing);

    let second = api.take_snapshot(id).await;
    let held = std::fs::read(&file).expect("the volume can be read");
    volume::write_at(&file, 0, &noise(3, 2_000_000));
    let backup = back_up(&stack, id, second, true).await;
    assert!(api.backup(later.id).await.has_dependent_backups);
    assert_eq!(backup.object_count, 0, "nothing changed between the two");
    let restored = api.bring_back(backup.id).await;
    volume::assert_holds(&stack.file_of(restored), &held);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_volume_goes_only_with_its_snapshots() {
    let stack = TestStack::start().await;
    let api = stack.api();
    let id = stack.volume_with(&noise(1, 100_000)).await;
    let snapshots = [api.take_snapshot(id).await, api.take_snapshot(id).await];
    let path = format!("/v3/volumes/{id}");
    let refused = api.send(Method::DELETE, &path, None).await;
    refused.refused(400, "badRequest", "have snapshots");
    stack.assert_nothing_left_behind().await;
    let cascade = format!("{path}?cascade=True");
    api.send(Method::DELETE, &cascade, None).await.expect(202);
    for snapshot in snapshots {
        api.until_snapshot_is_gone(snapshot).await;
    }
    assert_eq!(api.find_volume(id).await, None, "they go together");
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_volume_made_from_a_snapshot_is_independent_of_it() {
    let stack = TestStack::start().await;
    let api = stack.api();
    let bytes = noise(1, 3_000_001);
    let id = stack.managed_volume("odd.raw", &bytes).await;
    let snapshot = api.take_snapshot(id).await;
    volume::write_at(&stack.volumes().join("odd.raw"), 0, &[0xEE; 4096]);
    let copy = api.volume_from(snapshot).await;
    api.delete_snapshot(snapshot).await;
    let file = stack.file_of(copy);
    assert_eq!(volume::length(&file), 1024 * MIB);
    volume::assert_holds(&file, &bytes);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_snapshot_is_taken_although_the_worker_that_had_its_message_died() {
    let stack = TestStack::build().spare_worker().start().await;
    let api = stack.api();
    let mut told = stack.listen("status.volume.#").await;
    let bytes = noise(1, 200_000);
    let id = stack.managed_volume("vol.raw", &bytes).await;
    stack.worker(1).freeze();
    let asked = api.ask_for_snapshot(id).await.expect(202);
    let snapshot: SnapshotId = asked["snapshot"]["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("the answer has an id");
    stack.worker(1).kill();
    stack.worker(2).start();
    api.until_snapshot(snapshot, SnapshotStatus::Available)
        .await;
    let wanted = snapshot.to_string();
    told.hear("that the snapshot is available", |event| {
        event.event_type == "snapshot.available.v1" && event.data["snapshot_id"] == wanted
    })
    .await;
    let copy = api.volume_from(snapshot).await;
    volume::assert_holds(&stack.file_of(copy), &bytes);
    stack.assert_nothing_left_behind().await;
}
