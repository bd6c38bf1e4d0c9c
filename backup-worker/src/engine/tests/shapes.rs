//! Volumes of all shapes, chains and forks.

use common::domain::Compression;
use common::messages::sheet::BackupSheet;

use crate::engine::testing::{
    Look, MemoryTarget, MemoryVolume, Shape, TestMonitor, World, noise, stored, text,
};
use crate::engine::{EngineError, Sample, TargetHolds};
use crate::format::metadata;
use crate::store::BackupStore;

fn volume_of(bytes: &[u8]) -> MemoryVolume {
    let mut volume = MemoryVolume::new(bytes.len());
    volume.write(0, bytes);
    volume
}

#[test]
fn a_volume_of_any_size_comes_back_for_every_algorithm() {
    for compression in Compression::ALL {
        let world = World::new();
        for size in [
            0, 1, 511, 512, 513, 4095, 4096, 4097, 12_288, 12_289, 50_001,
        ] {
            let mut bytes = text(1, size);
            let half = size / 2;
            bytes[half..].copy_from_slice(&noise(2, size - half));
            let sheet = world.backup(&volume_of(&bytes), None, Shape::small(compression));
            world.assert_restores(&[&sheet], &bytes);
            world.verify(&[&sheet]).unwrap();
        }
    }
}

#[test]
fn a_full_backup_stores_zeros_as_objects_whether_they_are_holes_or_not() {
    for compression in Compression::ALL {
        let world = World::new();
        let mut volume = MemoryVolume::new(20_000);
        volume.write(8192, &[0; 4096]);
        let sheet = world.backup(&volume, None, Shape::small(compression));
        let objects = objects(&world, &sheet);
        assert_eq!(
            objects,
            [
                (0, 4096),
                (4096, 4096),
                (8192, 4096),
                (12_288, 4096),
                (16_384, 3616)
            ]
        );
        world.assert_restores(&[&sheet], &vec![0; 20_000]);
    }
}

#[test]
fn holes_are_not_read() {
    let world = World::new();
    let mut volume = MemoryVolume::new(100_000);
    volume.write(50_000, &text(1, 300));
    let sheet = world.sheet(None, Shape::small(Compression::Zstd));
    let sealed = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    assert_eq!(sealed.totals.read.0, 300);
    assert_eq!(sealed.totals.volume.0, 100_000);
    assert_eq!(sealed.object_count, 25);
}

#[test]
fn an_incremental_stores_neighbouring_changed_blocks_as_one_object_but_never_across_chunks() {
    let world = World::new();
    let mut volume = volume_of(&text(1, 20_000));
    let shape = Shape::small(Compression::Lz4);
    let full = world.backup(&volume, None, shape);
    volume.write(3 * 512, &noise(3, 1024)); // blocks 3 and 4
    volume.write(7 * 512, &noise(4, 1024)); // blocks 7 and 8, with a chunk border between
    volume.write(19_999, b"!");
    let incremental = world.backup(&volume, Some(&full), shape);
    assert_eq!(
        objects(&world, &incremental),
        [(1536, 1024), (3584, 512), (4096, 512), (19_968, 32)]
    );
    world.assert_restores(&[&incremental, &full], volume.bytes());
}

#[test]
fn an_unchanged_volume_stores_no_object() {
    let world = World::new();
    let volume = volume_of(&noise(1, 20_000));
    let shape = Shape::small(Compression::Zlib);
    let full = world.backup(&volume, None, shape);
    let same = world.backup(&volume, Some(&full), shape);
    assert!(objects(&world, &same).is_empty());
    world.assert_restores(&[&same, &full], volume.bytes());
}

#[test]
fn data_turned_to_zeros_in_an_incremental_is_zeros_on_every_target() {
    for compression in Compression::ALL {
        let world = World::new();
        let mut volume = volume_of(&noise(1, 40_000));
        let shape = Shape::small(compression);
        let full = world.backup(&volume, None, shape);
        volume.trim(5000, 20_000);
        volume.write(30_000, &[0; 5000]);
        let incremental = world.backup(&volume, Some(&full), shape);
        world.assert_restores(&[&incremental, &full], volume.bytes());
    }
}

#[test]
fn a_volume_may_grow_and_shrink_along_its_chain() {
    let world = World::new();
    let mut volume = volume_of(&noise(1, 10_000));
    let shape = Shape::small(Compression::Zstd);
    let full = world.backup(&volume, None, shape);
    volume.resize(15_100);
    volume.write(14_000, &noise(2, 1000));
    let grown = world.backup(&volume, Some(&full), shape);
    world.assert_restores(&[&grown, &full], volume.bytes());

    volume.resize(7_900);
    let shrunk = world.backup(&volume, Some(&grown), shape);
    let unchanged = world.backup(&volume, Some(&shrunk), shape);
    world.assert_restores(&[&shrunk, &grown, &full], volume.bytes());
    world.assert_restores(&[&unchanged, &shrunk, &grown, &full], volume.bytes());

    // On a larger target the parents' bytes come out behind the end, as Cinder does it.
    let target = MemoryTarget::filled(20_000, 0xff);
    world
        .restore(&[&unchanged, &shrunk, &grown, &full], &target, false)
        .unwrap();
    assert_eq!(&target.bytes()[..7_900], volume.bytes());
    assert_eq!(&target.bytes()[15_100..], &[0xff; 4_900]);
}

#[test]
fn a_chain_of_ten_and_forks_of_it_come_back_at_every_point() {
    let world = World::new();
    let shape = Shape::small(Compression::Lz4);
    let mut volume = volume_of(&text(0, 30_000));
    let mut chain = vec![world.backup(&volume, None, shape)];
    let mut bytes = vec![volume.bytes().to_vec()];
    for step in 1..10_u32 {
        let at = usize::try_from(step * 2777).unwrap();
        volume.write(at, &noise(u64::from(step), 1500));
        volume.trim(at + 1000, 900);
        chain.push(world.backup(&volume, chain.last(), shape));
        bytes.push(volume.bytes().to_vec());
    }
    for length in 1..=chain.len() {
        let newest_first: Vec<_> = chain[..length].iter().rev().collect();
        world.assert_restores(&newest_first, &bytes[length - 1]);
    }
    let mut left = volume.clone();
    left.write(0, &noise(77, 600));
    let left_backup = world.backup(&left, Some(&chain[4]), shape);
    volume.write(0, &noise(78, 600));
    let right_backup = world.backup(&volume, Some(&chain[4]), shape);
    for (fork, volume) in [(&left_backup, &left), (&right_backup, &volume)] {
        let mut newest_first = vec![fork];
        newest_first.extend(chain[..5].iter().rev());
        world.assert_restores(&newest_first, volume.bytes());
    }
}

#[test]
fn each_byte_of_a_chain_is_decoded_once_where_objects_are_replaced_as_a_whole() {
    let world = World::new();
    let shape = Shape::small(Compression::None);
    let mut volume = volume_of(&noise(1, 40_960));
    let full = world.backup(&volume, None, shape);
    volume.write(0, &noise(2, 20_480));
    let incremental = world.backup(&volume, Some(&full), shape);
    let target = MemoryTarget::filled(40_960, 0);
    let restored = world
        .restore(&[&incremental, &full], &target, true)
        .unwrap();
    assert_eq!(restored.totals.read.0, 40_960);
    assert_eq!(restored.totals.written.0, 40_960);
    assert_eq!(restored.volume_meta.as_deref(), Some(r#"{"version": 2}"#));
}

#[test]
fn zeros_are_written_to_an_existing_target_and_skipped_on_a_new_one() {
    let world = World::new();
    let mut volume = MemoryVolume::new(40_960);
    volume.write(10_240, &noise(1, 512));
    let sheet = world.backup(&volume, None, Shape::small(Compression::Lz4));
    let new = MemoryTarget::filled(40_960, 0);
    assert_eq!(
        world
            .restore(&[&sheet], &new, true)
            .unwrap()
            .totals
            .written
            .0,
        512
    );
    let old = MemoryTarget::filled(40_960, 7);
    assert_eq!(
        world
            .restore(&[&sheet], &old, false)
            .unwrap()
            .totals
            .written
            .0,
        40_960
    );
}

#[test]
fn a_target_that_is_too_small_is_refused_untouched_and_a_larger_one_is_fine() {
    let world = World::new();
    let volume = volume_of(&noise(1, 10_000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::Zstd));
    let small = MemoryTarget::filled(9_999, 0xff);
    let error = world.restore(&[&sheet], &small, false).unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::TargetTooSmall {
                needed_bytes: 10_000,
                target_bytes: 9_999
            }
        ),
        "{error}"
    );
    assert_eq!(small.bytes(), vec![0xff; 9_999]);
    let large = MemoryTarget::filled(12_000, 0xff);
    world.restore(&[&sheet], &large, false).unwrap();
    assert_eq!(&large.bytes()[..10_000], volume.bytes());
    assert_eq!(&large.bytes()[10_000..], &[0xff; 2_000]);
}

#[test]
fn without_a_sha256_file_a_restore_goes_by_md5_and_says_so() {
    let world = World::new();
    let volume = volume_of(&noise(1, 10_000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::None));
    let container = sheet.names.container.as_str();
    world
        .store
        .delete(container, &sheet.names.prefix.sha256file());
    let target = MemoryTarget::filled(10_000, 0xff);
    let restored = world.restore(&[&sheet], &target, false).unwrap();
    assert_eq!(target.bytes(), volume.bytes());
    assert!(restored.warnings[0].contains("no sha256 file"));

    let object = sheet.names.prefix.object(2);
    let mut bytes = world.store.get(container, &object).unwrap();
    bytes[100] ^= 1;
    world.store.put(container, &object, bytes);
    let error = world.restore(&[&sheet], &target, false).unwrap_err();
    let EngineError::Damaged(damage) = error else {
        panic!("{error}");
    };
    assert_eq!(damage.extents[0].object, object);
    assert_eq!(
        (damage.extents[0].offset, damage.extents[0].length),
        (4096, 4096)
    );
}

#[test]
fn a_chain_that_does_not_fit_together_is_refused_before_anything_is_written() {
    let world = World::new();
    let shape = Shape::small(Compression::Lz4);
    let mut volume = volume_of(&noise(1, 10_000));
    let full = world.backup(&volume, None, shape);
    volume.write(0, &noise(2, 100));
    let first = world.backup(&volume, Some(&full), shape);
    volume.write(5000, &noise(3, 100));
    let second = world.backup(&volume, Some(&first), shape);
    for chain in [
        vec![&second, &full],
        vec![&second, &first],
        vec![&full, &first],
    ] {
        let target = MemoryTarget::filled(10_000, 0xff);
        let error = world.restore(&chain, &target, false).unwrap_err();
        assert!(matches!(error, EngineError::Chain { .. }), "{error}");
        assert_eq!(target.bytes(), vec![0xff; 10_000]);
    }
}

#[test]
fn an_incremental_needs_a_parent_with_digests_of_the_same_blocks() {
    let world = World::new();
    let volume = volume_of(&noise(1, 10_000));
    let full = world.backup(&volume, None, Shape::small(Compression::Lz4));
    let other = Shape {
        block_size: 1024,
        ..Shape::small(Compression::Lz4)
    };
    let monitor = TestMonitor::new();
    let error = world
        .seal(&volume, &world.sheet(Some(&full), other), &monitor)
        .unwrap_err();
    assert!(matches!(error, EngineError::Parent { .. }), "{error}");
    world.store.delete(
        full.names.container.as_str(),
        &full.names.prefix.sha256file(),
    );
    let sheet = world.sheet(Some(&full), Shape::small(Compression::Lz4));
    let error = world.seal(&volume, &sheet, &monitor).unwrap_err();
    assert!(error.sentence().contains("no sha256 file"), "{error}");
}

#[test]
fn a_restore_goes_on_from_its_mark_and_leaves_what_is_before_alone() {
    let world = World::new();
    let volume = volume_of(&noise(1, 40_000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::Zstd));
    let target = MemoryTarget::filled(40_000, 0xff);
    let monitor = TestMonitor::new();
    world
        .restore_from(
            &[stored(&sheet)],
            &target,
            TargetHolds::Anything,
            10_240,
            &monitor,
        )
        .unwrap();
    assert_eq!(&target.bytes()[..10_240], &[0xff; 10_240]);
    assert_eq!(&target.bytes()[10_240..], &volume.bytes()[10_240..]);
    assert_eq!(monitor.mark(), 40_000);
}

#[test]
fn an_object_longer_than_a_window_is_restored_by_several() {
    let world = World::new();
    let mut volume = MemoryVolume::new(34 << 20);
    volume.write(0, &text(1, 3000));
    volume.write(33 << 20, &noise(1, 100_000));
    let shape = Shape {
        object_size: 48 << 20,
        ..Shape::small(Compression::Lz4)
    };
    let full = world.backup(&volume, None, shape);
    volume.write(20 << 20, &text(2, 100_000));
    let incremental = world.backup(&volume, Some(&full), shape);
    assert_eq!(objects(&world, &full).len(), 1);
    world.assert_restores(&[&incremental, &full], volume.bytes());
    let (container, file) = (
        incremental.names.container.as_str(),
        incremental.names.prefix.sha256file(),
    );
    world.store.delete(container, &file);
    let target = MemoryTarget::filled(34 << 20, 0xff);
    world
        .restore(&[&incremental, &full], &target, false)
        .unwrap();
    assert!(target.bytes() == volume.bytes());
}

#[test]
fn two_executions_make_the_same_objects() {
    let make = |threads| {
        let mut world = World::new();
        world.limits.threads = threads;
        let mut volume = volume_of(&text(1, 60_000));
        volume.write(9000, &noise(5, 9000));
        let shape = Shape::small(Compression::Zlib);
        let full = world.backup(&volume, None, shape);
        volume.write(20_000, &noise(6, 3000));
        let incremental = world.backup(&volume, Some(&full), shape);
        [full, incremental].map(|sheet| {
            let prefix = &sheet.names.prefix;
            world
                .store
                .names(sheet.names.container.as_str(), prefix.as_str())
                .into_iter()
                .filter(|name| {
                    name.strip_prefix(prefix.as_str())
                        .is_some_and(|n| n.starts_with('-'))
                })
                .map(|name| {
                    world
                        .store
                        .get(sheet.names.container.as_str(), &name)
                        .unwrap()
                })
                .collect::<Vec<_>>()
        })
    };
    assert!(make(1) == make(4));
}

/// Offsets and lengths of a backup's objects, whose names must have no holes.
fn objects(world: &World, sheet: &BackupSheet) -> Vec<(u64, u64)> {
    let (input, _) = world
        .store
        .open(&sheet.names.container, &sheet.names.prefix.metadata())
        .unwrap();
    let mut objects = Vec::new();
    metadata::read(input, &mut |object| {
        let number = objects.len() as u64 + 1;
        assert_eq!(object.name, sheet.names.prefix.object(number));
        objects.push((object.offset, object.length.unwrap()));
        Ok(())
    })
    .unwrap();
    objects
}

#[test]
fn what_newer_objects_lie_over_is_nothing_to_a_restore_and_verify_finds_it() {
    let world = World::new();
    let mut volume = volume_of(&noise(1, 20_000));
    let shape = Shape::small(Compression::None);
    let full = world.backup(&volume, None, shape);
    volume.write(4096 + 1024, &noise(2, 512));
    let incremental = world.backup(&volume, Some(&full), shape);
    let (container, object) = (full.names.container.as_str(), full.names.prefix.object(2));
    let mut bytes = world.store.get(container, &object).unwrap();
    bytes[1030] ^= 1;
    world.store.put(container, &object, bytes);
    world.assert_restores(&[&incremental, &full], volume.bytes());
    assert!(world.verify(&[&incremental, &full]).is_err());
}

#[test]
fn a_restore_asks_for_each_object_but_the_first_before_it_is_opened() {
    let mut world = World::new();
    world.limits.restore_threads = 1; // so that there is one order
    let volume = volume_of(&noise(1, 150_000));
    let shape = Shape {
        object_size: 32 << 10, // in a window of its own
        ..Shape::small(Compression::Lz4)
    };
    let full = world.backup(&volume, None, shape);
    let before = world.store.looks().len();
    world.assert_restores(&[&full], volume.bytes());
    let looks = world.store.looks().split_off(before);
    let opened = |number: u64| Look::Open(full.names.prefix.object(number));
    let place = |look: Look| looks.iter().position(|found| *found == look);
    for number in 2..=5 {
        let asked = place(Look::WillRead(full.names.prefix.object(number))).unwrap();
        let read = place(opened(number)).unwrap();
        let before = place(opened(number - 1)).unwrap();
        assert!(
            asked < before && before < read,
            "object {number} of {looks:?}"
        );
    }
}

#[test]
fn a_sample_fetches_no_object_that_it_does_not_read() {
    let world = World::new();
    let shape = Shape {
        object_size: 32 << 10, // in a window of its own
        ..Shape::small(Compression::Lz4)
    };
    let volume = volume_of(&noise(1, 40 * (32 << 10)));
    let full = world.backup(&volume, None, shape);
    let before = world.store.looks().len();
    let sample = Sample {
        share: 0.5,
        seed: 7,
    };
    world.verify_some(&[&full], Some(sample)).unwrap();
    let looks = world.store.looks().split_off(before);
    let (fetched, read): (Vec<_>, Vec<_>) = (1..=40)
        .map(|number| full.names.prefix.object(number))
        .map(|object| {
            let fetched = looks.contains(&Look::WillRead(object.clone()));
            (fetched, looks.contains(&Look::Open(object)))
        })
        .unzip();
    let count = |of: &[bool]| of.iter().filter(|is| **is).count();
    assert!((10..30).contains(&count(&read)) && count(&fetched) > 3);
    assert!(
        fetched
            .iter()
            .zip(&read)
            .all(|(fetched, read)| !fetched || *read)
    );
}
