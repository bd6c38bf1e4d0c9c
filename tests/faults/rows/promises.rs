//! One case for each promise that a small bug would break quietly. `cargo xtask test --planted` plants
//! each bug, and the case named beside it must turn red.

use std::time::Duration;

use async_trait::async_trait;
use common::domain::{BackupId, BackupStatus, VolumeStatus};
use harness::{NewBackup, until_within};
use rand::rngs::SmallRng;
use reqwest::Method;

use super::stopped::{RESTORE, Stopped};
use super::{Needs, Strike};
use crate::points::{Deed, Side};
use crate::scene::{SLOW, Scene, scribble};

/// How long a case waits for what a bug would keep from coming.
const PATIENCE: Duration = Duration::from_secs(45);

/// A promise, named by the bug that would break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// `ack_before_claim`: a message is there until its claim is durable.
    Claimed,
    /// `skip_commit_gate`: a cancel that came before the commit wins.
    Gated,
    /// `snapshot_recreated`: what is sealed and what comes after it are of one moment.
    OneMoment,
    /// `delete_before_fail`: the state owner knows of an end before anything is deleted.
    FailedFirst,
    /// `fenced_cleans_up`: who is fenced deletes nothing.
    Fenced,
    /// `restore_without_lock`: one writer at a time has a volume.
    Locked,
    /// `objects_before_metadata`: what has a metadata file is whole.
    MetadataFirst,
    /// `dependents_not_counted`: what others build on stays.
    Counted,
    /// `rename_without_fsync`: what has its name is durable.
    Durable,
    /// `snapshot_forgotten`: a cancelled backup leaves no snapshot when it says so.
    SnapshotGone,
    /// `stale_finish_accepted`: only the holder of the lease settles a job.
    Settled,
    /// `block_not_compared`: a block in another's place is not restored.
    Compared,
}

const ALL: [(Promise, &str); 12] = [
    (Promise::Claimed, "ack_before_claim"),
    (Promise::Gated, "skip_commit_gate"),
    (Promise::OneMoment, "snapshot_recreated"),
    (Promise::FailedFirst, "delete_before_fail"),
    (Promise::Fenced, "fenced_cleans_up"),
    (Promise::Locked, "restore_without_lock"),
    (Promise::MetadataFirst, "objects_before_metadata"),
    (Promise::Counted, "dependents_not_counted"),
    (Promise::Durable, "rename_without_fsync"),
    (Promise::SnapshotGone, "snapshot_forgotten"),
    (Promise::Settled, "stale_finish_accepted"),
    (Promise::Compared, "block_not_compared"),
];

/// The bugs that can be planted, in the order of the cases.
pub(crate) fn bugs() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().map(|(_, bug)| bug)
}

/// Each with the stack it needs.
pub(crate) fn strikes() -> Vec<(Needs, Box<dyn Strike>)> {
    ALL.into_iter()
        .map(|(promise, _)| {
            let needs = match promise {
                Promise::Claimed => Needs::NoRepublishing,
                _ => Needs::Shared,
            };
            (needs, Box::new(promise) as Box<dyn Strike>)
        })
        .collect()
}

#[async_trait(?Send)]
impl Strike for Promise {
    fn what(&self) -> String {
        let bug = ALL.iter().find(|(promise, _)| promise == self);
        format!(
            "{self:?}, which `{}` would break",
            bug.expect("all are listed").1
        )
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        match self {
            Self::Claimed => claimed(scene, random).await,
            Self::Gated => gated(scene, random).await,
            Self::OneMoment => one_moment(scene, random).await,
            Self::FailedFirst => failed_first(scene, random).await,
            Self::Fenced => {
                let stopped = Stopped {
                    deed: Deed::Backup,
                    at: &["worker.commit.after"],
                };
                stopped.run(scene, random).await;
            }
            Self::Locked => RESTORE.run(scene, random).await,
            Self::MetadataFirst => metadata_first(scene, random).await,
            Self::Counted => counted(scene, random).await,
            Self::Durable => durable(scene, random).await,
            Self::SnapshotGone => snapshot_gone(scene, random).await,
            Self::Settled => settled(scene, random).await,
            Self::Compared => compared(scene, random).await,
        }
    }
}

async fn until_available(scene: &Scene, id: BackupId) {
    until_within(PATIENCE, "the backup to be available", async || {
        let backup = scene.stack.api().backup(id).await;
        (backup.status == BackupStatus::Available).then_some(())
    })
    .await;
}

async fn claimed(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Backup, random).await;
    let at = "worker.claim.before";
    scene.arm(Side::Worker, &format!("{at}=return(kill)")).await;
    let begun = scene.begin(Deed::Backup, prepared).await;
    scene.struck(at).await;
    scene.arm(Side::Worker, "").await;
    until_available(scene, begun.backup).await;
    scene.comes_true(&begun).await;
}

async fn gated(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Cancel, random).await;
    // Time for the cancel, after the last look at it.
    let late = "worker.commit.before=sleep(3000)";
    scene.arm(Side::Worker, late).await;
    let begun = scene.begin(Deed::Cancel, prepared).await;
    until_within(PATIENCE, "all of the backup to be sealed", async || {
        (scene.stack.target().segments_of(begun.backup).len() >= 3).then_some(())
    })
    .await;
    scene.cancel(begun.backup).await;
    until_within(PATIENCE, "the cancelled backup to settle", async || {
        let closed = scene.stack.target().metadata_of(begun.backup);
        assert_eq!(closed, None, "a cancelled backup was closed");
        let status = scene.stack.api().backup(begun.backup).await.status;
        (status == BackupStatus::Error).then_some(())
    })
    .await;
    scene.comes_true(&begun).await;
}

async fn one_moment(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Backup, random).await;
    let at = "backup.segment.after";
    let failpoints = format!("{at}=return(kill);{SLOW}");
    scene.arm(Side::Worker, &failpoints).await;
    let mut begun = scene.begin(Deed::Backup, prepared).await;
    scene.struck(at).await;
    // Changed both before and behind what is sealed.
    let source = &mut begun.prepared.source;
    let file = scene.stack.volumes().join(&source.name);
    scribble(&file, &mut source.bytes, random);
    begun.prepared.kept[0].bytes.clone_from(&source.bytes);
    scene.arm(Side::Worker, "").await;
    scene.comes_true(&begun).await;
}

async fn failed_first(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Cancel, random).await;
    let at = "erase.metadata.before";
    let fails = "store.io=6*off->1*return(lasting)->off";
    let failpoints = format!("{fails};{at}=return(stop)");
    scene.arm(Side::Worker, &failpoints).await;
    let begun = scene.begin(Deed::Cancel, prepared).await;
    scene.struck(at).await;
    // It is about to delete, so nobody may take the backup up again.
    scene.start_worker(2, "");
    let api = scene.stack.api();
    api.until_backup(begun.backup, BackupStatus::Error).await;
    scene.stack.worker(1).thaw();
    scene.stack.assert_nothing_left_behind().await;
    scene.clear(&begun, Vec::new()).await;
}

async fn metadata_first(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Delete, random).await;
    let at = "erase.objects.after";
    scene.arm(Side::Worker, &format!("{at}=return(kill)")).await;
    let begun = scene.begin(Deed::Delete, prepared).await;
    scene.struck(at).await;
    let left = scene.stack.target().metadata_of(begun.backup);
    assert_eq!(left, None, "a metadata file names objects that are gone");
    scene.arm(Side::Worker, "").await;
    scene.comes_true(&begun).await;
}

async fn counted(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Incremental, random).await;
    let parent = prepared.kept[0].id;
    let begun = scene.begin(Deed::Incremental, prepared).await;
    scene.ends_well(&begun).await;
    let path = format!("/v3/backups/{parent}");
    let answer = scene.stack.api().send(Method::DELETE, &path, None).await;
    answer.refused(400, "badRequest", "Incremental backups exist");
    scene.comes_true(&begun).await;
}

async fn durable(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Backup, random).await;
    let traced = "store.sync.after=return(trace);store.rename=return(trace)";
    scene.arm(Side::Worker, traced).await;
    let begun = scene.begin(Deed::Backup, prepared).await;
    scene.comes_true(&begun).await;
    let trace = scene.stack.trace();
    assert!(!trace.is_empty(), "objects get their names somewhere");
    // Batch by batch: as many syncs as it has parts, and then as many names.
    for batch in
        trace.chunk_by(|line, next| !(line == "store.rename" && next == "store.sync.after"))
    {
        let synced = batch.iter().take_while(|line| *line == "store.sync.after");
        let (durable, named) = batch.split_at(synced.count());
        assert_eq!(durable.len(), named.len(), "in {trace:?}");
        let is_name = |line: &String| line == "store.rename";
        assert!(
            named.iter().all(is_name),
            "an object got its name first: {trace:?}"
        );
    }
}

async fn snapshot_gone(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Cancel, random).await;
    let source = prepared.source.id;
    // An attached volume is copied where the file system cannot clone it. What cleans up later waits.
    scene.stack.api().attach(source).await;
    scene
        .arm(Side::Worker, &format!("{SLOW};clean.begin=sleep(5000)"))
        .await;
    let api = scene.stack.api();
    let wanted = NewBackup {
        force: true,
        ..NewBackup::of(source)
    };
    let id = api.create_backup(&wanted).await;
    scene.in_the_middle(id).await;
    scene.stack.api().cancel(id).await;
    scene
        .stack
        .api()
        .until_backup(id, BackupStatus::Error)
        .await;
    let left = scene.stack.volumes().read_dir().expect("it can be read");
    let left: Vec<_> = left
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("bk-"))
        .collect();
    assert!(
        left.is_empty(),
        "left behind by a cancelled backup: {left:?}"
    );
    // What earlier cases left to clean is done at the usual pace again.
    scene.arm(Side::Worker, "").await;
    scene.stack.assert_nothing_left_behind().await;
    let api = scene.stack.api();
    api.until_volume(source, VolumeStatus::InUse).await;
    api.detach(source).await;
    api.delete_backup(id).await;
    api.until_gone(id).await;
    api.delete_volume(source).await;
}

async fn settled(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Backup, random).await;
    let at = "worker.finish.before";
    scene.arm(Side::Worker, &format!("{at}=return(stop)")).await;
    let begun = scene.begin(Deed::Backup, prepared).await;
    scene.struck(at).await;
    let mut zombie = scene.stack.listen("worker.#").await;
    // The next one has the job when it comes by here, and is in no hurry to finish.
    let passed = "erase.scratch.after";
    let failpoints = format!("{passed}=return(trace);{at}=sleep(6000)");
    scene.start_worker(2, &failpoints);
    until_within(PATIENCE, "the second worker to have the job", async || {
        let trace = scene.stack.trace();
        trace.iter().any(|line| line == passed).then_some(())
    })
    .await;
    zombie.forget().await;
    scene.stack.worker(1).thaw();
    scene.zombie_gave_up(&mut zombie).await;
    let backup = scene.stack.api().backup(begun.backup).await;
    assert_eq!(
        backup.status,
        BackupStatus::Creating,
        "one without the lease settled the job"
    );
    scene.comes_true(&begun).await;
}

async fn compared(scene: &mut Scene, random: &mut SmallRng) {
    let prepared = scene.prepare(Deed::Restore, random).await;
    let id = prepared.kept[0].id;
    exchange_two_objects(scene, id);
    let api = scene.stack.api();
    let target = api.restore(id, None).await.volume_id;
    api.until_volume(target, VolumeStatus::ErrorRestoring).await;
    api.until_backup(id, BackupStatus::Available).await;
    api.delete_volume(target).await;
    api.delete_backup(id).await;
    api.until_gone(id).await;
    api.delete_volume(prepared.source.id).await;
    scene.stack.assert_nothing_left_behind().await;
}

/// Two objects change places, with their MD5s: only digests of blocks can tell.
fn exchange_two_objects(scene: &Scene, id: BackupId) {
    let target = scene.stack.target();
    let path = |below: &std::path::Path| target.root().join(below);
    let objects = target.objects_of(id);
    let (first, second) = (path(&objects[0]), path(&objects[1]));
    let (one, other) = (
        std::fs::read(&first).expect("an object can be read"),
        std::fs::read(&second).expect("an object can be read"),
    );
    std::fs::write(&first, other).expect("an object can be written");
    std::fs::write(&second, one).expect("an object can be written");
    let metadata = path(
        &target
            .metadata_of(id)
            .expect("a backup has a metadata file"),
    );
    let text = std::fs::read_to_string(&metadata).expect("it can be read");
    let table: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let md5_of = |index: usize| {
        let entry = table["objects"][index].as_object().expect("an entry");
        let object = entry.values().next().expect("an entry has an object");
        object["md5"]
            .as_str()
            .expect("an object has an MD5")
            .to_owned()
    };
    let (a, b) = (md5_of(0), md5_of(1));
    assert_ne!(a, b, "the objects differ");
    let text = text.replace(&a, "?").replace(&b, &a).replace('?', &b);
    std::fs::write(metadata, text).expect("it can be written");
}
