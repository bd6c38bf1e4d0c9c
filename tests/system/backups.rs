//! Making backups.

use common::domain::{BackupStatus, Compression, GIB, VolumeStatus};
use harness::volume::{self, MIB, noise, text};
use harness::{NewBackup, Progress, TestStack, until};

use crate::strike;

#[tokio::test]
async fn a_backup_and_its_restore_are_equal_for_each_algorithm() {
    for algorithm in Compression::ALL {
        let stack = TestStack::build()
            .set("backup.compression", algorithm.as_str())
            .start()
            .await;
        // Neither a multiple of the object size nor of the block size, with both kinds of content.
        let mut bytes = text(1, 1_500_000);
        bytes.extend(vec![0; 700_000]);
        bytes.extend(noise(2, 900_001));
        let source = stack.managed_volume("odd.raw", &bytes).await;
        let backup = stack.api().back_up(source).await;
        assert_eq!(backup.size, 1, "{algorithm}");
        assert!(!backup.is_incremental);
        let restored = stack.api().bring_back(backup.id).await;
        volume::assert_holds(&stack.file_of(restored), &bytes);
        let changed = text(3, 40_000);
        volume::write_at(&stack.volumes().join("odd.raw"), 1_499_999, &changed);
        bytes[1_499_999..][..changed.len()].copy_from_slice(&changed);
        let backup = stack.api().back_up_changes(source).await;
        let restored = stack.api().bring_back(backup.id).await;
        volume::assert_holds(&stack.file_of(restored), &bytes);
        stack.assert_nothing_left_behind().await;
    }
}

#[tokio::test]
async fn an_incremental_stores_only_what_changed() {
    let stack = TestStack::build()
        .set("backup.compression", "none")
        .start()
        .await;
    let id = stack.volume_with(&noise(1, 8_000_000)).await;
    let full = stack.api().back_up(id).await;
    assert!(stack.target().stored_bytes(full.id) >= 8_000_000);

    volume::write_at(&stack.file_of(id), 3_000_000, b"one byte range");
    volume::write_at(&stack.file_of(id), 900 * MIB, &noise(2, 100_000));
    let incremental = stack.api().back_up_changes(id).await;
    assert!(incremental.is_incremental);
    // One block for the first change, at most five for the second.
    let stored = stack.target().stored_bytes(incremental.id);
    assert!((100_014..=6 * 32768).contains(&stored), "stored {stored}");

    let unchanged = stack.api().back_up_changes(id).await;
    assert_eq!(stack.target().stored_bytes(unchanged.id), 0);
    assert_eq!(unchanged.object_count, 0);
    assert!(stack.api().backup(full.id).await.has_dependent_backups);
    assert!(!stack.api().backup(unchanged.id).await.has_dependent_backups);

    let restored = stack.api().bring_back(unchanged.id).await;
    volume::assert_same_bytes(&stack.file_of(restored), &stack.file_of(id));
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn data_turned_to_zeros_comes_back_as_zeros() {
    let stack = TestStack::start().await;
    let id = stack.volume_with(&noise(1, 3_000_000)).await;
    stack.api().back_up(id).await;
    volume::write_at(&stack.file_of(id), 500_000, &vec![0; 1_200_000]);
    let incremental = stack.api().back_up_changes(id).await;
    let restored = stack.api().bring_back(incremental.id).await;
    volume::assert_same_bytes(&stack.file_of(restored), &stack.file_of(id));
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn sizes_at_the_edges_come_back_whole() {
    let stack = TestStack::start().await;
    let block = 32 * 1024;
    let object = 512 * 1024;
    for (name, length) in [
        ("empty.raw", 0),
        ("one-byte.raw", 1),
        ("one-block.raw", block),
        ("one-more-than-a-block.raw", block + 1),
        ("one-object.raw", object),
        ("one-less-than-an-object.raw", object - 1),
    ] {
        let bytes = noise(length as u64, length);
        let id = stack.managed_volume(name, &bytes).await;
        let backup = stack.api().back_up(id).await;
        let restored = stack.api().bring_back(backup.id).await;
        volume::assert_holds(&stack.file_of(restored), &bytes);
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_lost_volume_comes_back_from_an_incremental() {
    let stack = TestStack::start().await;
    let id = stack.volume_with(&text(1, 2_000_000)).await;
    stack.api().back_up(id).await;
    volume::write_at(&stack.file_of(id), 1_000_000, &noise(2, 300_000));
    let incremental = stack.api().back_up_changes(id).await;
    let before = volume::sha256(&stack.file_of(id), GIB);
    stack.api().delete_volume(id).await;

    let restored = stack.api().bring_back(incremental.id).await;
    assert_eq!(volume::sha256(&stack.file_of(restored), GIB), before);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn an_attached_volume_needs_force_and_stays_attached() {
    let stack = TestStack::start().await;
    let bytes = noise(1, 1_000_000);
    let id = stack.managed_volume("attached.raw", &bytes).await;
    stack.api().attach(id).await;
    let mut wanted = NewBackup::of(id);
    stack.api().ask_for_backup(&wanted).await.refused(
        400,
        "badRequest",
        "Invalid volume: Backing up an in-use volume must use the force flag.",
    );
    assert_eq!(stack.api().backups().await, []);

    wanted.force = true;
    let backup = stack.api().create_backup(&wanted).await;
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    stack.api().until_volume(id, VolumeStatus::InUse).await;
    let restored = stack.api().bring_back(backup).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    stack.api().detach(id).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn two_workers_back_up_two_volumes_at_once() {
    let stack = TestStack::build()
        .slow()
        .workers(2)
        .set("worker.slots", "1")
        .start()
        .await;
    let mut progress = stack.listen("progress.#").await;
    let first = stack.large_volume("first.raw").await;
    let second = stack.large_volume("second.raw").await;
    let first = stack.api().create_backup(&NewBackup::of(first)).await;
    let second = stack.api().create_backup(&NewBackup::of(second)).await;
    let mut worker_of = async |id: common::domain::BackupId| {
        let id = id.to_string();
        let told = progress
            .hear("progress of both backups", |event| {
                event.data["backup_id"] == id
            })
            .await;
        told.1.source
    };
    assert_ne!(worker_of(first).await, worker_of(second).await);
    strike::is_still(&stack, first, BackupStatus::Creating).await;
    strike::is_still(&stack, second, BackupStatus::Creating).await;
    for id in [first, second] {
        stack.api().until_backup(id, BackupStatus::Available).await;
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn progress_is_told_and_only_grows() {
    let stack = TestStack::build().slow().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    let mut told = Vec::new();
    until("the backup to end", async || {
        if let Some(progress) = stack.api().progress(backup).await
            && told.last() != Some(&progress)
        {
            told.push(progress);
        }
        (stack.api().backup(backup).await.status == BackupStatus::Available).then_some(())
    })
    .await;
    assert!(told.len() >= 2, "told {told:#?}");
    for pair in told.windows(2) {
        let order = |told: &Progress| (told.generation, told.sequence);
        assert!(order(&pair[0]) < order(&pair[1]), "{pair:#?}");
        // Another execution starts again; one alone never goes back.
        if pair[0].generation == pair[1].generation {
            assert!(pair[0].done_bytes <= pair[1].done_bytes, "{pair:#?}");
        }
    }
    assert!(told.iter().any(|told| told.done_bytes > 0));
    assert!(told.iter().all(|told| told.done_bytes <= 48 * MIB));
    assert_eq!(stack.api().progress(backup).await, None);
    stack.assert_nothing_left_behind().await;
}
