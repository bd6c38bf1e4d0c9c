//! Backups that are compared with the snapshot kept of their parent, on file systems that share blocks.

use std::fs::{self, File};

use common::messages::rpc::Outcome;
use common::messages::sheet::{BackupSheet, Sheet};

use super::world::{World, backup_sheet, starts_with};
use crate::volume::testing::Mount;

/// 16384 blocks, of which sixteen are drawn, give or take.
const SIZE: usize = 8 << 20;

fn bytes(seed: usize) -> Vec<u8> {
    (0..SIZE)
        .map(|at| u8::try_from((at * at / 7 + at * seed) % 251).unwrap())
        .collect()
}

/// Makes a backup to its end: its sheet, and why it began again.
fn back_up(world: &World, parent: Option<&BackupSheet>) -> (BackupSheet, Vec<String>) {
    let mut sheet = world.backup(parent);
    sheet.options.object_size_bytes = 1 << 20;
    let rows = world.settle(Sheet::Backup(Box::new(sheet)));
    let settled = rows.settled.as_ref();
    assert!(
        matches!(settled, Some(Outcome::BackedUp { .. })),
        "{rows:?}"
    );
    world.clean(&rows);
    (backup_sheet(&rows.sheet).clone(), rows.restarts)
}

fn kept_name(sheet: &BackupSheet) -> String {
    format!("bk-kept-{}-{}", sheet.volume.volume_id, sheet.backup_id)
}

fn holds(world: &World, chain: &[&BackupSheet], wanted: &[u8]) {
    let rows = world.settle(Sheet::Restore(world.restore(chain, "restored")));
    assert!(
        matches!(rows.settled, Some(Outcome::Restored { .. })),
        "{rows:?}"
    );
    let file = world.volumes().join("restored");
    starts_with(&file, wanted);
    fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_snapshot_that_is_another_than_it_says_makes_the_backup_a_full_scan() {
    for mount in Mount::all() {
        let world = World::keeping(mount.path());
        let volume = world.volumes().join("vol");
        fs::write(&volume, bytes(1)).unwrap();
        let (full, _) = back_up(&world, None);
        assert_eq!(world.snapshots(), [kept_name(&full)]);

        // The truth first: nothing was written, and nothing is stored.
        let (same, restarts) = back_up(&world, Some(&full));
        assert_eq!(
            (restarts, world.snapshots()),
            (vec![], vec![kept_name(&same)])
        );
        holds(&world, &[&same, &full], &bytes(1));

        // Somebody puts the volume of today in the kept one's place.
        fs::write(&volume, bytes(2)).unwrap();
        let kept = File::create(world.volumes().join(kept_name(&same))).unwrap();
        rustix::fs::ioctl_ficlone(&kept, File::open(&volume).unwrap()).unwrap();
        let (changed, restarts) = back_up(&world, Some(&same));
        assert_eq!(changed.names.number, 2);
        let [why] = &restarts[..] else {
            panic!("{restarts:?}");
        };
        assert!(why.contains("counted as unchanged since backup"), "{why}");
        assert_eq!(world.snapshots(), [kept_name(&changed)]);
        holds(&world, &[&changed, &same, &full], &bytes(2));
    }
}
