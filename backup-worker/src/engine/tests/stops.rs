//! An engine that is stopped, at every place where it can be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::domain::Compression;

use crate::engine::testing::{
    MemoryTarget, MemoryVolume, Shape, TestMonitor, World, noise, scratch_place, stored,
};
use crate::engine::{EngineError, Stop, TargetHolds, find_closed};
use crate::format::segment::longest_chain;

fn volume() -> MemoryVolume {
    let mut volume = MemoryVolume::new(70_000);
    volume.write(0, &noise(1, 30_000));
    volume.write(40_000, &noise(2, 30_000));
    volume
}

#[test]
fn a_backup_stopped_anywhere_has_sealed_what_it_told_and_little_more() {
    let volume = volume();
    let shape = Shape::small(Compression::Lz4);
    let mut stops = 0;
    for call in 0.. {
        let world = World::new();
        let sheet = world.sheet(None, shape);
        let monitor = TestMonitor::stopping_at(call, Stop::Fenced);
        match world.seal(&volume, &sheet, &monitor) {
            Ok(_) => break,
            Err(error) => assert!(
                matches!(error, EngineError::Stopped(Stop::Fenced)),
                "{error}"
            ),
        }
        stops += 1;
        let names = &sheet.names;
        let scratch = names.scratch.as_deref().unwrap();
        let chain = longest_chain(&*world.store, &names.container, scratch).unwrap();
        assert_eq!(
            chain.end,
            monitor.mark(),
            "the mark is what the segments cover"
        );
        // Every object under its final name is in a segment: only parts are left over.
        let objects = world
            .store
            .names(names.container.as_str(), names.prefix.as_str());
        assert_eq!(objects.len() as u64, chain.objects);
        let parts = world
            .store
            .names(&scratch_place(&names.container, scratch), "part-g1-")
            .len();
        assert!(
            parts <= 4 + 8 + 2 + 2,
            "{parts} parts: a batch, and what is in flight"
        );
        // Closing it is refused: there is a gap.
        let error = world
            .close(&volume, &sheet, &TestMonitor::new())
            .unwrap_err();
        assert!(matches!(error, EngineError::Gap { .. }), "{error}");
        assert_eq!(find_closed(&*world.store, &stored(&sheet)).unwrap(), None);
    }
    assert!(
        stops > 18,
        "{stops} places to stop at: each chunk and each seal"
    );
}

#[test]
fn closing_stopped_anywhere_is_done_by_the_next_one() {
    let volume = volume();
    let shape = Shape::small(Compression::Zstd);
    let mut stops = 0;
    for call in 0.. {
        let world = World::new();
        let sheet = world.sheet(None, shape);
        world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
        let stopped = world.close(
            &volume,
            &sheet,
            &TestMonitor::stopping_at(call, Stop::Fenced),
        );
        if stopped.is_ok() {
            break;
        }
        stops += 1;
        let closed = world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
        assert!(!closed.already);
        let again = world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
        assert!(again.already);
        assert_eq!(again.object_count, closed.object_count);
        world.assert_restores(&[&sheet], volume.bytes());
    }
    assert!(stops > 2);
}

#[test]
fn closing_removes_strays_and_misses_what_is_gone() {
    let world = World::new();
    let volume = volume();
    let sheet = world.sheet(None, Shape::small(Compression::Lz4));
    let sealed = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    let (container, prefix) = (sheet.names.container.as_str(), &sheet.names.prefix);
    let strays = [
        prefix.object(sealed.object_count + 1),
        prefix.object(9_000),
        format!("{prefix}-1"),
    ];
    // Whose name begins with ours is another backup.
    let others = format!("{prefix}-1_backup_{}_metadata", sheet.backup_id);
    for stray in strays.iter().chain([&others]) {
        world.store.put(container, stray, vec![1]);
    }
    let kept = world.store.get(container, &prefix.object(3)).unwrap();
    world.store.delete(container, &prefix.object(3));
    let monitor = TestMonitor::new();
    let error = world.close(&volume, &sheet, &monitor).unwrap_err();
    assert!(matches!(error, EngineError::Gap { .. }), "{error}");
    world.store.put(container, &prefix.object(3), kept);
    world.close(&volume, &sheet, &monitor).unwrap();
    for stray in &strays {
        assert_eq!(world.store.get(container, stray), None);
    }
    assert!(world.store.get(container, &others).is_some());
    world.assert_restores(&[&sheet], volume.bytes());
}

#[test]
fn a_segment_that_is_damaged_is_a_gap() {
    let world = World::new();
    let volume = volume();
    let sheet = world.sheet(None, Shape::small(Compression::Lz4));
    world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    let place = scratch_place(
        &sheet.names.container,
        sheet.names.scratch.as_deref().unwrap(),
    );
    let name = &world.store.names(&place, "segment-")[1];
    let mut bytes = world.store.get(&place, name).unwrap();
    bytes[90] ^= 1;
    world.store.put(&place, name, bytes);
    let error = world
        .close(&volume, &sheet, &TestMonitor::new())
        .unwrap_err();
    assert!(matches!(error, EngineError::Gap { .. }), "{error}");
}

#[test]
fn a_mark_is_told_only_after_a_sync_and_never_behind_damage() {
    let world = World::new();
    let mut volume = MemoryVolume::new(200_000);
    volume.write(0, &noise(1, 200_000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::None));
    let target = MemoryTarget::filled(200_000, 0xff);
    let monitor = TestMonitor::new();
    let chain = [stored(&sheet)];
    world
        .restore_from(&chain, &target, TargetHolds::Anything, 0, &monitor)
        .unwrap();
    let marks = monitor.marks.lock().unwrap().len() as u64;
    assert!(marks > 1, "{marks}");
    assert!(target.syncs.load(Ordering::Relaxed) >= marks);
    assert_eq!(monitor.mark(), 200_000);

    let (container, object) = (
        sheet.names.container.as_str(),
        sheet.names.prefix.object(30),
    );
    let mut bytes = world.store.get(container, &object).unwrap();
    bytes[0] ^= 1;
    world.store.put(container, &object, bytes);
    let monitor = TestMonitor::new();
    world
        .restore_from(&chain, &target, TargetHolds::Anything, 0, &monitor)
        .unwrap_err();
    assert!(monitor.mark() <= 29 * 4096, "{}", monitor.mark());
}

#[test]
fn a_restore_stopped_anywhere_goes_on_from_its_mark() {
    let world = World::new();
    let mut volume = volume();
    let shape = Shape::small(Compression::Zlib);
    let full = world.backup(&volume, None, shape);
    volume.write(20_000, &noise(3, 5000));
    let incremental = world.backup(&volume, Some(&full), shape);
    let chain = [stored(&incremental), stored(&full)];
    let mut stops = 0;
    for call in 0.. {
        let target = MemoryTarget::filled(volume.bytes().len(), 0xff);
        let first = TestMonitor::stopping_at(call, Stop::Fenced);
        if world
            .restore_from(&chain, &target, TargetHolds::Anything, 0, &first)
            .is_ok()
        {
            break;
        }
        stops += 1;
        let mark = usize::try_from(first.mark()).unwrap();
        assert_eq!(
            target.bytes()[..mark],
            volume.bytes()[..mark],
            "what is told is there"
        );
        let second: Arc<TestMonitor> = TestMonitor::new();
        world
            .restore_from(
                &chain,
                &target,
                TargetHolds::Anything,
                first.mark(),
                &second,
            )
            .unwrap();
        assert_eq!(target.bytes(), volume.bytes());
    }
    assert!(stops >= 2);
}

#[test]
fn a_restore_that_is_stopped_tells_all_that_it_has_written() {
    let mut world = World::new();
    let mut volume = MemoryVolume::new(200_000);
    volume.write(0, &noise(1, 200_000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::Lz4));
    let chain = [stored(&sheet)];
    // So many buffers that only a stop makes MD5 sums of what waits; and one thread, so that what is written is one run.
    world.limits.buffer_bytes = 1 << 20;
    world.limits.restore_threads = 1;
    for stop in [Stop::Draining, Stop::Cancelled] {
        let mut stops = 0;
        for call in 0.. {
            let target = MemoryTarget::filled(200_000, 0xff);
            let monitor = TestMonitor::stopping_at(call, stop);
            if world
                .restore_from(&chain, &target, TargetHolds::Anything, 0, &monitor)
                .is_ok()
            {
                break;
            }
            stops += 1;
            let written = target.written_bytes.load(Ordering::Relaxed);
            assert_eq!(monitor.mark(), written, "stopped at call {call}");
        }
        assert!(stops > 20, "{stops} places to stop at");
    }
}

#[test]
fn what_an_earlier_execution_left_on_a_new_volume_is_written_over_where_the_backup_has_zeros() {
    let world = World::new();
    let mut volume = MemoryVolume::new(70_000);
    volume.write(0, &noise(1, 30_000));
    volume.write(60_000, &noise(2, 5000));
    let sheet = world.backup(&volume, None, Shape::small(Compression::Lz4));
    let chain = [stored(&sheet)];
    let mut left = vec![0; 70_000];
    left[..20_000].copy_from_slice(&volume.bytes()[..20_000]);
    left[40_000..40_010].fill(7);
    let target = MemoryTarget::holding(left);
    let monitor = TestMonitor::new();
    world
        .restore_from(&chain, &target, TargetHolds::Leftovers, 16_384, &monitor)
        .unwrap();
    assert_eq!(target.bytes(), volume.bytes());
    let written = target.written_bytes.load(Ordering::Relaxed);
    let data = 30_000 - 16_384 + 5000;
    assert!(
        written < data + 4 * 512,
        "{written}: zeros that are there are not written"
    );
}
