//! The demo's story, on a share.

use common::domain::{BackupStatus, GIB, VolumeStatus};
use harness::NewBackup;
use harness::volume::{self, MIB, noise};

use crate::server::{Manner, Share, stop, until_it_is_up};

async fn a_lost_volume_comes_back(manner: Manner) {
    let share = Share::new(manner);
    // As deployed: with the small objects of other tests, a volume of a GiB is two thousand files.
    let stack = share
        .stack()
        .set("backup.object_size", "8MiB")
        .start()
        .await;
    let version = match manner {
        Manner::V3Hard | Manner::V3Soft => "vers=3,",
        Manner::V42Hard => "vers=4.2,",
    };
    until_it_is_up().await;
    let mounts = share.mounts();
    let is_right = mounts.len() == 1 && mounts[0].contains(version);
    assert!(is_right, "{mounts:?}");

    let api = stack.api();
    let id = stack.volume_with(&[]).await;
    volume::write_dense(&stack.file_of(id), 40 * MIB, 7);
    api.attach(id).await;
    api.ask_for_backup(&NewBackup::of(id))
        .await
        .refused(400, "badRequest", "in-use");
    let by_force = |wanted: NewBackup| NewBackup {
        force: true,
        ..wanted
    };
    let full = api.create_backup(&by_force(NewBackup::of(id))).await;
    let full = api.until_backup(full, BackupStatus::Available).await;
    assert_eq!(api.volume(id).await.status, VolumeStatus::InUse);
    share.saw(&format!(
        "a full backup in use: {} objects",
        full.object_count
    ));

    volume::write_at(&stack.file_of(id), 9_999_999, &noise(2, 300_000));
    let changes = api
        .create_backup(&by_force(NewBackup::incremental(id)))
        .await;
    let changes = api.until_backup(changes, BackupStatus::Available).await;
    let (all, some) = (
        stack.target().stored_bytes(full.id),
        stack.target().stored_bytes(changes.id),
    );
    assert!(some < all / 10, "{some} of {all}");
    share.saw(&format!(
        "an incremental one: {some} bytes stored, the full one has {all}"
    ));

    let before = volume::sha256(&stack.file_of(id), GIB);
    api.detach(id).await;
    api.delete_volume(id).await;
    let restored = api.bring_back(changes.id).await;
    assert_eq!(volume::sha256(&stack.file_of(restored), GIB), before);
    share.saw("the lost volume is back, byte for byte");

    api.delete_backup(changes.id).await;
    api.until_gone(changes.id).await;
    stack.assert_nothing_left_behind().await;
    stop(stack.worker(1)).await;
    share.assert_unmounted();
    share.saw("the worker has stopped, and the share is unmounted");
}

#[tokio::test]
async fn a_lost_volume_comes_back_from_a_share_of_nfs_3() {
    a_lost_volume_comes_back(Manner::V3Hard).await;
}

#[tokio::test]
async fn a_lost_volume_comes_back_from_a_share_of_nfs_4_2() {
    a_lost_volume_comes_back(Manner::V42Hard).await;
}
