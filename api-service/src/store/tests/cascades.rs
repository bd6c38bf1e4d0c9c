//! Volumes and their snapshots that go together.

use common::domain::SnapshotStatus;
use common::messages::sheet::VolumeAction;

use super::snapshots::{available, delete_snapshot, done, status, volume_sheet};
use super::*;

const CASCADE: Deleting = Deleting {
    cascade: true,
    force: false,
};

#[tokio::test]
async fn snapshots_go_with_their_volume_or_stay_with_it() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let cascade = Deleting {
        cascade: true,
        force: false,
    };
    let force = Deleting {
        force: true,
        ..cascade
    };
    let store = &world.store;
    let delete = |how| store.delete_volume(&world.caller, &Scope::All, volume.id, how);
    delete(cascade).await.unwrap();
    let job = world.job_of_volume(volume.id).await;
    let (fence, grant) = world.grant(job.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.action, VolumeAction::Delete);
    let names: Vec<_> = sheet.snapshots.iter().map(|gone| &gone.name).collect();
    assert_eq!(names, [&snapshot.source]);
    let reason = "the disk is gone".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world
        .volume_is(volume.id, VolumeStatus::ErrorDeleting)
        .await;
    let left = status(&world, snapshot.id).await;
    assert_eq!(left, SnapshotStatus::ErrorDeleting);

    delete(force).await.unwrap();
    let job = world.job_of_volume(volume.id).await;
    let (fence, grant) = world.grant(job.id).await;
    world.finish(fence, done(&volume_sheet(grant.sheet))).await;
    let gone = store.snapshot(&Scope::All, snapshot.id).await;
    assert!(is_missing(gone, Resource::Snapshot));
    let gone = store.volume(&Scope::All, volume.id).await;
    assert!(is_missing(gone, Resource::Volume));
}

#[tokio::test]
async fn the_owner_repeats_a_delete_of_volume_and_snapshots_that_failed() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let store = &world.store;
    let delete = || store.delete_volume(&world.caller, &Scope::All, volume.id, CASCADE);
    delete().await.unwrap();
    let (fence, _) = world.grant(world.job_of_volume(volume.id).await.id).await;
    let reason = "the disk is gone".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    delete().await.unwrap();
    let (fence, grant) = world.grant(world.job_of_volume(volume.id).await.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.snapshots[0].name, snapshot.source);
    world.finish(fence, done(&sheet)).await;
    let gone = store.volume(&Scope::All, volume.id).await;
    assert!(is_missing(gone, Resource::Volume));
}

#[tokio::test]
async fn a_snapshot_that_goes_with_its_volume_is_nobody_elses() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let store = &world.store;
    store
        .delete_volume(&world.caller, &Scope::All, volume.id, CASCADE)
        .await
        .unwrap();
    let forced = store.delete_snapshot(&world.caller, &Scope::All, snapshot.id, true);
    assert_eq!(refusal(forced.await.unwrap_err()), Refusal::Busy);
    // Not even a reset takes it out: the volume would go and leave it.
    let reset = store.reset_snapshot_status(&Scope::All, snapshot.id, SnapshotStatus::Available);
    assert_eq!(refusal(reset.await.unwrap_err()), Refusal::Busy);
    let left = status(&world, snapshot.id).await;
    assert_eq!(left, SnapshotStatus::Deleting);

    // Called available again before the delete began, as older rows may be, it is not read either.
    let mut tx = store.write().await.unwrap();
    tx.set_snapshot(snapshot.id, SnapshotStatus::Available, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let new = NewBackup {
        snapshot_id: Some(snapshot.id),
        ..world.new_backup(volume.id)
    };
    let backup = store.create_backup(&world.caller, new).await;
    assert_eq!(refusal(backup.unwrap_err()), Refusal::Busy);
    let new = NewVolume::default();
    let filled = store.create_volume_from(&world.caller, &Scope::All, snapshot.id, new);
    assert_eq!(refusal(filled.await.unwrap_err()), Refusal::Busy);
    let deleted = delete_snapshot(&world, snapshot.id).await;
    assert_eq!(refusal(deleted.unwrap_err()), Refusal::Busy);
}
