//! Every n-th call to the target or a volume fails, once and for ever: a job ends well, or with a reason, and nothing is left.

use std::fs;

use common::messages::rpc::Outcome;
use common::messages::sheet::{BackupSheet, Sheet};

use super::world::{World, backup_sheet, starts_with};
use crate::faulty::{Fault, Verb};

/// Three objects in two batches.
const SIZE: usize = 12_000;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const ESTALE: i32 = 116;

fn bytes(seed: usize) -> Vec<u8> {
    (0..SIZE)
        .map(|at| u8::try_from((at * at / 7 + at * seed) % 251).unwrap())
        .collect()
}

/// A world with a backup, and a volume that has changed since.
fn world() -> (World, BackupSheet, Vec<String>) {
    let world = World::new();
    fs::write(world.volumes().join("vol"), bytes(1)).unwrap();
    let rows = world.settle(Sheet::Backup(Box::new(world.backup(None))));
    assert!(matches!(rows.settled, Some(Outcome::BackedUp { .. })));
    let sheet = backup_sheet(&rows.sheet).clone();
    let mut changed = bytes(1);
    changed[5000..9000].copy_from_slice(&bytes(2)[5000..9000]);
    fs::write(world.volumes().join("vol"), changed).unwrap();
    let names = world.stored_names();
    (world, sheet, names)
}

/// Tries fault after fault, once and for ever, until the job has no call that they could strike.
fn every_fault(world: &World, mut job: impl FnMut(Fault)) {
    for for_ever in [false, true] {
        for nth in 0.. {
            let fault = Fault {
                verb: None,
                nth,
                for_ever,
                errno: [ENOSPC, EIO, ESTALE][usize::try_from(nth % 3).unwrap()],
                afterwards: nth % 2 == 1,
            };
            world.faults.expect(fault);
            job(fault);
            world.faults.relent();
            if world.faults.struck() == 0 {
                assert!(nth > 5, "a job has more calls than {nth}");
                break;
            }
        }
    }
}

/// A tenant can read it: what could not be done, and no path.
fn is_a_reason(reason: &str, fault: Fault) {
    assert!(fault.for_ever, "{fault:?} once ended a job: {reason}");
    assert!(reason.ends_with('.') && !reason.contains('/'), "{reason}");
    let words = match fault.errno {
        ENOSPC => "there is no space left",
        _ => "an input or output error",
    };
    assert!(reason.contains(words), "{fault:?}: {reason}");
}

fn holds(world: &World, chain: &[&BackupSheet], wanted: &[u8]) {
    let file = world.volumes().join("restored");
    let rows = world.settle(Sheet::Restore(world.restore(chain, "restored")));
    assert!(
        matches!(rows.settled, Some(Outcome::Restored { .. })),
        "{rows:?}"
    );
    starts_with(&file, wanted);
    fs::remove_file(file).unwrap();
}

fn a_backup_meets_every_fault(incremental: bool) {
    let (world, parent, others) = world();
    let wanted = fs::read(world.volumes().join("vol")).unwrap();
    every_fault(&world, |fault| {
        let sheet = world.backup(incremental.then_some(&parent));
        let mut rows = world.settle(Sheet::Backup(Box::new(sheet)));
        world.faults.relent();
        if rows.settled.is_none() {
            // Committed: it is not given up, but goes on as soon as it can.
            rows = world.settle(rows.sheet);
        }
        world.clean(&rows);
        assert_eq!(world.snapshots(), Vec::<String>::new(), "{fault:?}");
        let sheet = backup_sheet(&rows.sheet);
        let mut named = others.clone();
        match rows.settled.unwrap() {
            Outcome::BackedUp { object_count, .. } => {
                named.extend(world.names_of(&sheet.names, object_count));
                named.sort();
                assert_eq!(world.stored_names(), named, "{fault:?}");
                let chain = if incremental {
                    vec![sheet, &parent]
                } else {
                    vec![sheet]
                };
                holds(&world, &chain, &wanted);
                assert_eq!(world.delete(sheet).settled, Some(Outcome::Deleted));
            }
            Outcome::Failed { reason } => is_a_reason(&reason, fault),
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(world.stored_names(), others, "{fault:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backup_meets_every_fault_and_leaves_nothing() {
    a_backup_meets_every_fault(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_backup_meets_every_fault_and_leaves_nothing() {
    a_backup_meets_every_fault(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_meets_every_fault_and_never_ends_well_with_other_bytes() {
    let (world, sheet, others) = world();
    let file = world.volumes().join("target");
    every_fault(&world, |fault| {
        let rows = world.settle(Sheet::Restore(world.restore(&[&sheet], "target")));
        world.faults.relent();
        match rows.settled.unwrap() {
            Outcome::Restored { .. } => starts_with(&file, &bytes(1)),
            Outcome::Failed { reason } => is_a_reason(&reason, fault),
            other => panic!("{fault:?}: {other:?}"),
        }
        let _ = fs::remove_file(&file);
        assert_eq!(world.stored_names(), others);
    });
    holds(&world, &[&sheet], &bytes(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_meets_every_fault_and_is_whole_the_next_time() {
    let (world, _, others) = world();
    every_fault(&world, |fault| {
        world.faults.relent();
        let rows = world.settle(Sheet::Backup(Box::new(world.backup(None))));
        let sheet = backup_sheet(&rows.sheet);
        world.faults.expect(fault);
        let deleted = world.delete(sheet);
        world.faults.relent();
        match deleted.settled.unwrap() {
            Outcome::Deleted => {}
            Outcome::Failed { reason } => {
                is_a_reason(&reason, fault);
                assert_eq!(world.delete(sheet).settled, Some(Outcome::Deleted));
            }
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(world.stored_names(), others, "{fault:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_fails_a_backup_that_then_removes_all_it_wrote_and_others_can_be_deleted() {
    let (world, other, others) = world();
    for verb in [Verb::WritePart, Verb::Publish, Verb::Put, Verb::Prepare] {
        world.faults.expect(Fault {
            verb: Some(verb),
            nth: u64::from(verb != Verb::Prepare),
            for_ever: true,
            errno: ENOSPC,
            afterwards: false,
        });
        let rows = world.settle(Sheet::Backup(Box::new(world.backup(None))));
        let Some(Outcome::Failed { reason }) = rows.settled else {
            panic!("{verb:?}: {rows:?}");
        };
        assert!(reason.contains("there is no space left"), "{reason}");
        // Not a clean, but the job itself.
        assert_eq!(world.stored_names(), others, "{verb:?}");
        assert_eq!(world.snapshots(), Vec::<String>::new());
    }
    assert_eq!(world.delete(&other).settled, Some(Outcome::Deleted));
    assert_eq!(world.stored_names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn unsealed_parts_do_not_fill_a_target_that_is_full_already() {
    let (world, ..) = world();
    let sheet = world.backup(None);
    let scratch = sheet.names.scratch.clone().unwrap();
    let owner = std::sync::Arc::new(super::owner::Owner::new(Sheet::Backup(Box::new(sheet))));
    world.faults.expect(Fault {
        verb: Some(Verb::WritePart),
        nth: 2,
        for_ever: true,
        errno: ENOSPC,
        afterwards: true,
    });
    for generation in 1..5 {
        world.execute(&owner, generation);
        let left = world.stored_names();
        let parts = left.iter().filter(|name| name.starts_with("part-"));
        assert_eq!(parts.count(), 0, "{left:?}");
        assert!(left.contains(&scratch), "what is sealed is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_lost_its_marker_is_waited_for_and_not_written_to() {
    let (world, ..) = world();
    let marker = world.target().join(".emberkeep-target");
    let text = fs::read(&marker).unwrap();
    let before = world.stored_names();
    let sheet = Sheet::Backup(Box::new(world.backup(None)));
    let owner = std::sync::Arc::new(super::owner::Owner::new(sheet));
    for found in [None, Some(&b"another's"[..])] {
        fs::remove_file(&marker).unwrap();
        if let Some(found) = found {
            fs::write(&marker, found).unwrap();
        }
        world.execute(&owner, 1);
        assert_eq!(owner.rows().settled, None);
        let why = owner.rows().released.clone().unwrap();
        assert_eq!(why, "The backup target is not the expected one.");
        assert_eq!(world.stored_names(), before);
        fs::write(&marker, &text).unwrap();
    }
    world.execute(&owner, 2);
    assert!(matches!(
        owner.rows().settled,
        Some(Outcome::BackedUp { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_a_target_that_is_not_mounted() {
    let (world, sheet, _) = world();
    let restore = Sheet::Restore(world.restore(&[&sheet], "restored"));
    let owner = std::sync::Arc::new(super::owner::Owner::new(restore));
    let elsewhere = world.target().with_extension("elsewhere");
    fs::rename(world.target(), &elsewhere).unwrap();
    fs::create_dir(world.target()).unwrap();
    world.execute(&owner, 1);
    assert_eq!(owner.rows().settled, None);
    let why = owner.rows().released.clone().unwrap();
    assert_eq!(why, "The backup target is not the expected one.");
    fs::remove_dir(world.target()).unwrap();
    fs::rename(elsewhere, world.target()).unwrap();
    world.execute(&owner, 2);
    let settled = owner.rows().settled.clone();
    assert!(
        matches!(settled, Some(Outcome::Restored { .. })),
        "{settled:?}"
    );
    starts_with(&world.volumes().join("restored"), &bytes(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_target_without_a_marker_has_lost_is_named() {
    let (world, sheet, _) = world();
    let lost = sheet.names.prefix.object(2);
    let container = world.target().join(sheet.names.container.as_str());
    fs::remove_file(container.join(&lost)).unwrap();
    fs::remove_file(world.target().join(".emberkeep-target")).unwrap();
    let rows = world.settle(Sheet::Restore(world.restore(&[&sheet], "restored")));
    let Some(Outcome::Failed { reason }) = rows.settled else {
        panic!("{rows:?}");
    };
    assert!(reason.contains(&lost), "{reason}");
}
