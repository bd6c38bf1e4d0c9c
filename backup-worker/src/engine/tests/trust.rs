//! Incrementals on a volume whose driver tells what is unchanged: truly, or not.

use common::domain::Compression;
use common::messages::sheet::BackupSheet;
use proptest::prelude::*;

use crate::engine::EngineError;
use crate::engine::testing::{MemoryVolume, Shape, TestMonitor, World, noise};
use crate::volume::Extent;

const BLOCK: usize = 512;
/// 4096 blocks, of which four are drawn, give or take.
const SIZE: usize = 2 << 20;
/// So many are never drawn of them.
const DRAWN_MAX: usize = 40;

fn extent(offset: usize, length: usize) -> Extent {
    Extent {
        offset: offset as u64,
        length: length as u64,
    }
}

fn shape() -> Shape {
    Shape::small(Compression::None)
}

/// A volume of data with its full backup; it tells nothing yet.
fn backed_up() -> (World, MemoryVolume, BackupSheet) {
    let world = World::new();
    let mut volume = MemoryVolume::new(SIZE);
    volume.write(0, &noise(1, SIZE));
    let full = world.backup(&volume, None, shape());
    volume.take_reads();
    (world, volume, full)
}

#[test]
fn of_an_unchanged_volume_only_the_sample_is_read_and_nothing_stored() {
    let (world, mut volume, full) = backed_up();
    volume.tell_unchanged(vec![extent(0, SIZE)]);
    let mut drawn = 0;
    for _ in 0..20 {
        let sheet = world.sheet(Some(&full), shape());
        let sealed = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
        let reads = volume.take_reads();
        assert!(reads.len() < DRAWN_MAX, "{reads:?}");
        for read in &reads {
            let wanted = (read.offset.is_multiple_of(512), read.length % 512);
            assert_eq!(wanted, (true, 0), "{read:?}");
        }
        let read_bytes: u64 = reads.iter().map(|read| read.length).sum();
        assert_eq!(sealed.totals.read.0, read_bytes);
        assert_eq!(sealed.unread_bytes, Some(SIZE as u64 - read_bytes));
        assert_eq!(sealed.totals.skipped.0, SIZE as u64);
        assert_eq!((sealed.object_count, sealed.totals.written.0), (0, 0));
        drawn += reads.len();
        world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
        world.assert_restores(&[&sheet, &full], volume.bytes());
    }
    assert!(drawn > 20, "about one block in 1024 is read: {drawn}");
}

#[test]
fn a_block_is_not_read_only_if_all_of_it_is_unchanged() {
    let (world, mut volume, full) = backed_up();
    // Blocks 10 and 12 are told only in part, one byte of each is another; 11 is told.
    let told = extent(10 * BLOCK + 1, 2 * BLOCK + BLOCK / 2);
    volume.write(10 * BLOCK, b"!");
    volume.write(13 * BLOCK - 1, b"!");
    volume.tell_unchanged(vec![
        extent(0, 8 * BLOCK),
        told,
        extent(16 * BLOCK, SIZE - 16 * BLOCK),
    ]);
    let sheet = world.backup(&volume, Some(&full), shape());
    let mut is_read = vec![false; 16];
    for read in volume.take_reads() {
        for block in read.offset / 512..read.end() / 512 {
            if let Some(block) = is_read.get_mut(usize::try_from(block).unwrap()) {
                *block = true;
            }
        }
    }
    for block in [8, 9, 10, 12, 13, 14, 15] {
        assert!(is_read[block], "block {block} of {is_read:?}");
    }
    assert!(
        is_read.iter().filter(|is_read| !**is_read).count() > 4,
        "{is_read:?}"
    );
    world.assert_restores(&[&sheet, &full], volume.bytes());
}

#[test]
fn a_lie_is_found_by_the_sample_before_what_it_covers_is_sealed_and_a_second_attempt_believes_nothing()
 {
    let (mut world, mut volume, full) = backed_up();
    world.limits.threads = 1;
    volume.write(0, &noise(2, SIZE));
    volume.tell_unchanged(vec![extent(0, SIZE)]);
    let mut sheet = world.sheet(Some(&full), shape());
    let mut lies = Vec::new();
    // The second execution is of one whose predecessor was lost before it could say what it had found.
    for _ in 0..2 {
        let monitor = TestMonitor::new();
        let error = world.seal(&volume, &sheet, &monitor).unwrap_err();
        let EngineError::Untrue { parent_id, offset } = error else {
            panic!("{error}");
        };
        assert_eq!(parent_id, full.backup_id);
        assert!(monitor.mark() <= offset, "{} {offset}", monitor.mark());
        lies.push(offset);
    }
    assert_eq!(lies[0], lies[1]);

    let container = sheet.names.container.clone();
    let later = "2026-03-01T10:17:08Z".parse().unwrap();
    sheet.names =
        common::domain::AttemptNames::new(2, container, world.volume_id, sheet.backup_id, later);
    volume.take_reads();
    let sealed = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    assert_eq!(
        (sealed.totals.read.0, sealed.unread_bytes),
        (SIZE as u64, None)
    );
    world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
    world.assert_restores(&[&sheet, &full], volume.bytes());
}

#[test]
fn a_full_backup_reads_everything_whatever_is_told() {
    let (world, mut volume, _) = backed_up();
    volume.tell_unchanged(vec![extent(0, SIZE)]);
    let sheet = world.sheet(None, shape());
    let sealed = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    assert_eq!(
        (sealed.totals.read.0, sealed.unread_bytes),
        (SIZE as u64, None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_was_written_and_however_little_is_told_the_backup_is_the_volume(
        size in 1..40_000_usize,
        writes in prop::collection::vec((0..40_000_usize, 1..3000_usize, any::<bool>()), 0..12),
        gaps in prop::collection::vec((0..40_000_usize, 1..900_usize), 0..8),
    ) {
        let world = World::new();
        let mut volume = MemoryVolume::new(size);
        volume.write(size / 3, &noise(1, size - size / 3));
        let full = world.backup(&volume, None, shape());
        let mut is_told = vec![true; size];
        for (seed, (at, length, is_data)) in writes.into_iter().enumerate() {
            let at = at % size;
            let length = length.min(size - at);
            match is_data {
                true => volume.write(at, &noise(seed as u64 + 2, length)),
                false => volume.trim(at, length),
            }
            is_told[at..at + length].fill(false);
        }
        for (at, length) in gaps {
            let at = at % size;
            let end = size.min(at + length);
            is_told[at..end].fill(false);
        }
        let mut told: Vec<Extent> = Vec::new();
        for at in (0..size).filter(|at| is_told[*at]) {
            match told.last_mut() {
                Some(last) if last.end() == at as u64 => last.length += 1,
                _ => told.push(extent(at, 1)),
            }
        }
        volume.tell_unchanged(told);
        let sheet = world.backup(&volume, Some(&full), shape());
        world.assert_restores(&[&sheet, &full], volume.bytes());
        world.verify(&[&sheet, &full]).unwrap();
    }
}
