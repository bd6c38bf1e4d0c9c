//! Executions after executions: who goes on with what, who begins anew, and sleepers that wake up late.

use std::fs;
use std::sync::Arc;

use common::messages::rpc::Outcome;
use common::messages::sheet::{BackupSheet, Sheet};
use jiff::Timestamp;

use super::owner::Owner;
use super::world::{World, backup_sheet, starts_with};
use crate::engine::{self, CloseTask, Monitor, Progress, Stop};
use crate::faulty::{Fault, Verb};
use crate::store::BackupStore;
use crate::store::posix::PosixStore;

const SIZE: usize = 40_000;

fn bytes(seed: u8) -> Vec<u8> {
    (0..SIZE)
        .map(|at| u8::try_from(at % 199).unwrap() ^ seed)
        .collect()
}

/// A backup that gave back its job after some batches.
fn begun(in_use: bool) -> (World, Arc<Owner>) {
    let world = World::new();
    fs::write(world.volumes().join("vol"), bytes(1)).unwrap();
    let sheet = BackupSheet {
        in_use,
        ..world.backup(None)
    };
    let owner = Arc::new(Owner::new(Sheet::Backup(Box::new(sheet))));
    world.faults.expect(Fault {
        verb: Some(Verb::ReadVolume),
        nth: 7,
        for_ever: false,
        errno: 5,
        afterwards: false,
    });
    world.execute(&owner, 1);
    let rows = owner.rows().clone();
    assert_eq!(rows.settled, None);
    assert!(backup_sheet(&rows.sheet).mark >= 8192, "{rows:?}");
    (world, owner)
}

/// Ends the job, and tells how it came to that: restarts, and the objects that were published.
fn ends_with(world: &World, owner: &Arc<Owner>, wanted: &[u8]) -> (Vec<String>, Vec<String>) {
    world.execute(owner, 2);
    let published = world.faults.take(Verb::Publish);
    let rows = owner.rows().clone();
    let Some(Outcome::BackedUp { object_count, .. }) = rows.settled else {
        panic!("{rows:?}");
    };
    world.clean(&rows);
    let sheet = backup_sheet(&rows.sheet);
    let mut named = world.names_of(&sheet.names, object_count);
    named.sort();
    assert_eq!(world.stored_names(), named);
    assert_eq!(world.snapshots(), Vec::<String>::new());
    let restored = world.settle(Sheet::Restore(world.restore(&[sheet], "restored")));
    assert!(matches!(restored.settled, Some(Outcome::Restored { .. })));
    starts_with(&world.volumes().join("restored"), wanted);
    (rows.restarts, published)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_given_back_goes_on_and_stores_each_object_once() {
    let (world, owner) = begun(true);
    // Whatever becomes of the volume now, the backup is of the snapshot.
    fs::write(world.volumes().join("vol"), bytes(2)).unwrap();
    let (restarts, mut published) = ends_with(&world, &owner, &bytes(1));
    assert_eq!(restarts, Vec::<String>::new());
    let count = published.len();
    published.sort();
    published.dedup();
    assert_eq!(published.len(), count, "none is stored twice");
    assert_eq!(count, SIZE.div_ceil(4096));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_snapshot_a_backup_begins_anew() {
    let (world, owner) = begun(true);
    for snapshot in world.snapshots() {
        fs::remove_file(world.volumes().join(snapshot)).unwrap();
    }
    fs::write(world.volumes().join("vol"), bytes(2)).unwrap();
    let (restarts, _) = ends_with(&world, &owner, &bytes(2));
    assert_eq!(restarts.len(), 1, "{restarts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_read_in_place_and_changed_is_read_anew() {
    let (world, owner) = begun(false);
    let is_in_place = world.snapshots().is_empty();
    fs::write(world.volumes().join("vol"), bytes(2)).unwrap();
    // Where the file system shares blocks there is a snapshot, and nothing has changed.
    let (wanted, restarts_wanted) = if is_in_place { (2, 1) } else { (1, 0) };
    let (restarts, _) = ends_with(&world, &owner, &bytes(wanted));
    assert_eq!(restarts.len(), restarts_wanted, "{restarts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_other_codecs_or_without_what_was_sealed_a_backup_begins_anew() {
    let (world, owner) = begun(true);
    if let Sheet::Backup(sheet) = &mut owner.rows().sheet {
        sheet.frozen.as_mut().unwrap().codec_fingerprint = "of another build".to_owned();
    }
    let (restarts, _) = ends_with(&world, &owner, &bytes(1));
    assert_eq!(restarts, ["it was begun with other codecs"]);

    let (world, owner) = begun(true);
    let names = backup_sheet(&owner.rows().sheet).names.clone();
    let container = world.target().join(names.container.as_str());
    fs::remove_dir_all(container.join(names.scratch.unwrap())).unwrap();
    let (restarts, _) = ends_with(&world, &owner, &bytes(1));
    assert_eq!(restarts.len(), 1, "{restarts:?}");
}

#[derive(Debug)]
struct Unwatched;

impl Monitor for Unwatched {
    fn keep_going(&self) -> Result<(), Stop> {
        Ok(())
    }
    fn may_write(&self) -> Result<(), Stop> {
        Ok(())
    }
    fn advanced(&self, _: Progress) {}
    fn sealed(&self, _: u64) {}
}

/// A committed backup that nobody has closed yet.
fn committed() -> (World, Arc<Owner>) {
    let world = World::new();
    fs::write(world.volumes().join("vol"), bytes(1)).unwrap();
    let sheet = Sheet::Backup(Box::new(world.backup(None)));
    let owner = Arc::new(Owner::new(sheet));
    // The first file that closes it cannot be written.
    world.faults.expect(Fault {
        verb: Some(Verb::Put),
        nth: 5,
        for_ever: true,
        errno: 5,
        afterwards: false,
    });
    world.execute(&owner, 1);
    world.faults.relent();
    assert!(backup_sheet(&owner.rows().sheet).committed);
    (world, owner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_backup_that_a_sleeper_closed_meanwhile_is_not_lost() {
    let (world, owner) = committed();
    let sheet = backup_sheet(&owner.rows().sheet).clone();
    let store: Arc<dyn BackupStore> = Arc::new(PosixStore::new(world.target(), None));
    // The second execution has looked for the metadata file; now the first wakes up and does the steps 8 and 9.
    world.faults.before(Verb::Prepare, move || {
        engine::close_backup(&CloseTask {
            sheet: &sheet,
            volume_bytes: SIZE as u64,
            frozen_at: Timestamp::UNIX_EPOCH,
            store: Arc::clone(&store),
            monitor: Arc::new(Unwatched),
        })
        .unwrap();
        let scratch = sheet.names.scratch.as_deref().unwrap();
        store
            .remove_scratch(&sheet.names.container, scratch)
            .unwrap();
    });
    let (restarts, _) = ends_with(&world, &owner, &bytes(1));
    assert_eq!(restarts, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_backup_whose_data_is_gone_says_so_and_leaves_nothing() {
    let (world, owner) = committed();
    let names = backup_sheet(&owner.rows().sheet).names.clone();
    let container = world.target().join(names.container.as_str());
    fs::remove_file(container.join(names.prefix.object(2))).unwrap();
    // An unmounted target has nothing either, and is waited for.
    let marker = world.target().join(".emberkeep-target");
    fs::rename(&marker, world.target().join("elsewhere")).unwrap();
    world.execute(&owner, 2);
    assert_eq!(owner.rows().settled, None);
    fs::rename(world.target().join("elsewhere"), &marker).unwrap();
    world.execute(&owner, 3);
    let Some(Outcome::Failed { reason }) = owner.rows().settled.clone() else {
        panic!("{:?}", owner.rows());
    };
    assert!(reason.contains("lost"), "{reason}");
    assert_eq!(world.stored_names(), Vec::<String>::new());
    assert_eq!(world.snapshots(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_backup_whose_commit_was_forgotten_passes_the_gate_again() {
    let (world, owner) = begun(true);
    let before = owner.rows().sheet.clone();
    ends_with(&world, &owner, &bytes(1));
    let names = world.stored_names();
    // The state owner's rows are those of a dump from before the commit.
    let set_back = Arc::new(Owner::new(before));
    world.execute(&set_back, 3);
    let rows = set_back.rows().clone();
    assert!(
        matches!(rows.settled, Some(Outcome::BackedUp { .. })),
        "{rows:?}"
    );
    assert_eq!(world.stored_names(), names);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_snapshot_is_as_old_as_it_is() {
    let world = World::new();
    fs::write(world.volumes().join("vol"), bytes(1)).unwrap();
    let sheet = world.backup(None);
    let name = sheet.names.snapshot.clone().unwrap();
    // Its maker died before it could tell anyone of it.
    let driver = world.env.volumes.values().next().unwrap();
    driver.freeze(&sheet.volume, &name, 1, true).unwrap();
    let afterwards = Timestamp::now();
    let rows = world.settle(Sheet::Backup(Box::new(sheet)));
    let Some(Outcome::BackedUp { data_timestamp, .. }) = rows.settled else {
        panic!("{rows:?}");
    };
    assert!(
        data_timestamp <= afterwards,
        "{data_timestamp} is after {afterwards}"
    );
}
