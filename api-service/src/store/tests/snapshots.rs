//! Snapshots: what holds them, who may read them, and what is left when an execution died.

use common::domain::SnapshotStatus;
use common::messages::rpc::{Finished, Restart, Restarted};
use common::messages::sheet::{BackupSheet, VolumeAction, VolumeSheet};

use super::*;

pub(super) fn new_snapshot(volume: VolumeId) -> NewSnapshot {
    NewSnapshot {
        volume_id: volume,
        name: Some("s".to_owned()),
        description: None,
        metadata: BTreeMap::new(),
        in_use_too: false,
    }
}

async fn creating(world: &World, volume: VolumeId) -> (SnapshotRow, JobRow) {
    let new = new_snapshot(volume);
    let row = world.store.create_snapshot(&world.caller, new).await;
    let row = row.unwrap();
    (row.clone(), job_of(world, row.id).await)
}

pub(super) async fn available(world: &World, volume: VolumeId) -> SnapshotRow {
    let (row, job) = creating(world, volume).await;
    let (fence, grant) = world.grant(job.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.action, VolumeAction::CreateSnapshot);
    assert_eq!(sheet.snapshots[0].name, row.source);
    assert_eq!(world.finish(fence, done(&sheet)).await, Finished::Settled);
    assert_eq!(status(world, row.id).await, SnapshotStatus::Available);
    row
}

pub(super) fn done(sheet: &VolumeSheet) -> Outcome {
    Outcome::VolumeDone {
        source: sheet.volume.source.clone(),
        size_gib: sheet.volume.size_gib,
    }
}

pub(super) fn volume_sheet(sheet: Sheet) -> VolumeSheet {
    match sheet {
        Sheet::Volume(sheet) => sheet,
        other => panic!("not of a volume job: {other:?}"),
    }
}

fn backup_sheet(sheet: Sheet) -> BackupSheet {
    match sheet {
        Sheet::Backup(sheet) => *sheet,
        other => panic!("not of a backup job: {other:?}"),
    }
}

async fn find_job_of(world: &World, id: SnapshotId) -> Option<JobRow> {
    let mut tx = world.store.write().await.unwrap();
    tx.unsettled_job_of_snapshot(id).await.unwrap()
}

async fn job_of(world: &World, id: SnapshotId) -> JobRow {
    let job = find_job_of(world, id).await;
    job.expect("a job works on the snapshot")
}

pub(super) async fn status(world: &World, id: SnapshotId) -> SnapshotStatus {
    world.store.snapshot(&Scope::All, id).await.unwrap().status
}

pub(super) async fn delete_snapshot(world: &World, id: SnapshotId) -> Result<(), RequestError> {
    let store = &world.store;
    store
        .delete_snapshot(&world.caller, &Scope::All, id, false)
        .await
}

async fn work_off(world: &World, id: SnapshotId) {
    let job = job_of(world, id).await;
    let (fence, grant) = world.grant(job.id).await;
    let outcome = done(&volume_sheet(grant.sheet));
    assert_eq!(world.finish(fence, outcome).await, Finished::Settled);
}

#[tokio::test]
async fn a_volume_is_its_jobs_while_a_snapshot_of_it_is_taken() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (first, _) = creating(&world, volume.id).await;
    let store = &world.store;
    let again = store.create_snapshot(&world.caller, new_snapshot(volume.id));
    assert_eq!(refusal(again.await.unwrap_err()), Refusal::Busy);
    let backup = store.create_backup(&world.caller, world.new_backup(volume.id));
    assert_eq!(refusal(backup.await.unwrap_err()), Refusal::Busy);
    world.volume_is(volume.id, VolumeStatus::Available).await;
    let taken = delete_snapshot(&world, first.id).await;
    assert_eq!(refusal(taken.unwrap_err()), Refusal::SnapshotNotDeletable);
    work_off(&world, first.id).await;
    let told = messages_of(&world, "snapshot").await;
    assert_eq!(told, ["snapshot.creating.v1", "snapshot.available.v1"]);
    // Several of one volume can go at once.
    let second = available(&world, volume.id).await;
    for id in [first.id, second.id] {
        delete_snapshot(&world, id).await.unwrap();
    }
    for id in [first.id, second.id] {
        work_off(&world, id).await;
        let gone = store.snapshot(&Scope::All, id).await;
        assert!(is_missing(gone, Resource::Snapshot));
    }
}

#[tokio::test]
async fn another_projects_snapshot_does_not_exist() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let stranger = caller("q");
    let scope = Scope::Project(stranger.project_id.clone());
    let store = &world.store;
    assert!(is_missing(
        store.snapshot(&scope, snapshot.id).await,
        Resource::Snapshot
    ));
    let deleted = store.delete_snapshot(&stranger, &scope, snapshot.id, true);
    assert!(is_missing(deleted.await, Resource::Snapshot));
    let changed = store.update_snapshot(&scope, snapshot.id, SnapshotChanges::default());
    assert!(is_missing(changed.await, Resource::Snapshot));
    let change = MetadataChange::Remove("k".to_owned());
    let changed = store.change_snapshot_metadata(&scope, snapshot.id, change);
    assert!(is_missing(changed.await, Resource::Snapshot));
    let filled = store.create_volume_from(&stranger, &scope, snapshot.id, NewVolume::default());
    assert!(is_missing(filled.await, Resource::Snapshot));
    let taken = store.create_snapshot(&stranger, new_snapshot(volume.id));
    assert!(is_missing(taken.await, Resource::Volume));
    let listed = store.snapshots(&scope, &Listing::default()).await.unwrap();
    assert_eq!(listed.rows, []);
    assert_eq!(status(&world, snapshot.id).await, SnapshotStatus::Available);
}

#[tokio::test]
async fn a_snapshots_backup_reads_it_and_leaves_the_volume_to_others() {
    let world = World::new().await;
    let volume = world.volume().await;
    let parent = world.available(volume.id, false).await;
    let snapshot = available(&world, volume.id).await;
    let later = world.available(volume.id, false).await;
    let new = NewBackup {
        snapshot_id: Some(snapshot.id),
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let row = world.store.create_backup(&world.caller, new).await.unwrap();
    assert_eq!(row.parent_id, Some(parent.id), "not the later {}", later.id);
    assert_eq!(row.data_timestamp, Some(snapshot.created_at));
    world.volume_is(volume.id, VolumeStatus::Available).await;
    // The volume can be backed up meanwhile, even deleted it cannot.
    let (_, beside) = world.creating(volume.id).await;
    let (fence, _) = world.grant(beside.id).await;
    world.complete(fence).await;
    let gone = world.store.delete_volume(
        &world.caller,
        &Scope::All,
        volume.id,
        Deleting {
            cascade: true,
            force: true,
        },
    );
    assert_eq!(
        refusal(gone.await.unwrap_err()),
        Refusal::VolumeHasSnapshots
    );

    let job = world.job_of(row.id).await;
    assert_eq!((job.volume_id, job.snapshot_id), (None, Some(snapshot.id)));
    let (fence, grant) = world.grant(job.id).await;
    let sheet = backup_sheet(grant.sheet);
    let source = sheet.source_snapshot.unwrap();
    assert_eq!(source.name, snapshot.source);
    assert_eq!(source.volume.source, volume.source);
    assert_eq!(
        sheet.names.snapshot, None,
        "nothing of it is the job's to remove"
    );
    assert_eq!(sheet.record.data_timestamp, Some(snapshot.created_at));
    assert!(!sheet.in_use);
    // Nor has a later attempt a name for one.
    let restart = Restart {
        fence,
        attempt: 1,
        reason: "other codecs".to_owned(),
    };
    let Restarted::Attempt(next) = world.ask(restart).await else {
        panic!("a new attempt begins");
    };
    let next = backup_sheet(*next);
    assert_eq!((next.names.number, next.names.snapshot), (2, None));
    assert!(next.source_snapshot.is_some());
    world.complete(fence).await;
    assert_eq!(status(&world, snapshot.id).await, SnapshotStatus::Available);
    world.volume_is(volume.id, VolumeStatus::Available).await;
    // What the abandoned attempt left is on the target alone.
    for clean in world.cleans().await {
        assert_eq!(clean.snapshot_id, None);
        if clean.backup_id == Some(row.id) {
            assert_eq!(clean.queue.backend, world.settings.backup.target);
        }
    }
}

#[tokio::test]
async fn a_failed_or_cancelled_backup_gives_the_snapshot_back() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let new = NewBackup {
        snapshot_id: Some(snapshot.id),
        ..world.new_backup(volume.id)
    };
    let store = &world.store;
    let row = store
        .create_backup(&world.caller, new.clone())
        .await
        .unwrap();
    assert_eq!(status(&world, snapshot.id).await, SnapshotStatus::BackingUp);
    store.cancel_backup(&Scope::All, row.id).await.unwrap();
    world.backup_is(row.id, BackupStatus::Error).await;
    assert_eq!(status(&world, snapshot.id).await, SnapshotStatus::Available);

    // One that an administrator has reset is not touched.
    store.create_backup(&world.caller, new).await.unwrap();
    let job = job_of(&world, snapshot.id).await;
    let reset = SnapshotStatus::Error;
    store
        .reset_snapshot_status(&Scope::All, snapshot.id, reset)
        .await
        .unwrap();
    let busy = delete_snapshot(&world, snapshot.id).await;
    assert_eq!(refusal(busy.unwrap_err()), Refusal::Busy);
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    assert_eq!(status(&world, snapshot.id).await, reset);
}

#[tokio::test]
async fn a_snapshot_whose_maker_died_is_made_by_the_next_and_given_up_in_the_end() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (row, job) = creating(&world, volume.id).await;
    let failures_max = world.settings.jobs.failures_max;
    for generation in 1..=failures_max {
        let (_, grant) = world.grant(job.id).await;
        assert_eq!(grant.generation, u64::from(generation));
        assert_eq!(grant.give_up, None);
        world.end_lease(job.id).await;
    }
    let (fence, grant) = world.grant(job.id).await;
    let reason = grant.give_up.unwrap();
    world.finish(fence, Outcome::Failed { reason }).await;
    assert_eq!(status(&world, row.id).await, SnapshotStatus::Error);
    world.volume_is(volume.id, VolumeStatus::Available).await;
    // It never was whole, but something of it may be there.
    delete_snapshot(&world, row.id).await.unwrap();
    work_off(&world, row.id).await;
}

#[tokio::test]
async fn what_a_stale_execution_makes_of_a_deleted_snapshot_goes() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (row, job) = creating(&world, volume.id).await;
    let (stale, grant) = world.grant(job.id).await;
    let sheet = volume_sheet(grant.sheet);
    world.end_lease(job.id).await;
    let (fence, _) = world.grant(job.id).await;
    world.finish(fence, done(&sheet)).await;

    // While it is there it is only told off: the file is the one that everybody reads.
    assert_eq!(world.finish(stale, done(&sheet)).await, Finished::Fenced);
    assert_eq!(find_job_of(&world, row.id).await, None);
    delete_snapshot(&world, row.id).await.unwrap();
    work_off(&world, row.id).await;
    // Several had it, so it is looked for once more, when their leases are long over.
    let later = job_of(&world, row.id).await;
    assert!(later.next_at.is_some());
    world.turn(SignedDuration::from_hours(1));
    work_off(&world, row.id).await;
    assert_eq!(find_job_of(&world, row.id).await, None);

    assert_eq!(world.finish(stale, done(&sheet)).await, Finished::Fenced);
    let removal = job_of(&world, row.id).await;
    let (fence, grant) = world.grant(removal.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.action, VolumeAction::DeleteSnapshot);
    assert_eq!(sheet.snapshots[0].name, row.source);
    assert_eq!(sheet.snapshots[0].volume.volume_id, volume.id);
    world.finish(fence, done(&sheet)).await;
}

#[tokio::test]
async fn a_volume_is_filled_from_a_snapshot_of_another() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let store = &world.store;
    let new = NewVolume::default();
    let filled = store.create_volume_from(&world.caller, &Scope::All, snapshot.id, new);
    let filled = filled.await.unwrap();
    assert_eq!(filled.size_gib, volume.size_gib);
    assert_eq!(filled.snapshot_id, Some(snapshot.id));
    let busy = delete_snapshot(&world, snapshot.id).await;
    assert_eq!(refusal(busy.unwrap_err()), Refusal::Busy);
    let job = world.job_of_volume(filled.id).await;
    let (fence, grant) = world.grant(job.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.action, VolumeAction::Create);
    assert_eq!(sheet.volume.volume_id, filled.id);
    assert_eq!(sheet.snapshots[0].volume.volume_id, volume.id);
    world.finish(fence, done(&sheet)).await;
    world.volume_is(filled.id, VolumeStatus::Available).await;
    assert_eq!(status(&world, snapshot.id).await, SnapshotStatus::Available);
    delete_snapshot(&world, snapshot.id).await.unwrap();
}
