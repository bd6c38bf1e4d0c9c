//! Going on after another execution: the same backup, and nothing that was sealed is made again.

use std::sync::Arc;

use common::domain::Compression;
use common::messages::sheet::BackupSheet;

use crate::engine::testing::{MemoryVolume, Shape, TestMonitor, World, noise, scratch_place};
use crate::engine::{BackupTask, EngineError, Sealed, Stop, backup};
use crate::faulty::{Faults, FaultyStore, FaultyVolumes, Verb};
use crate::format::segment::{SegmentChain, longest_chain};

const SIZE: usize = 70_000;

fn volume() -> MemoryVolume {
    let mut volume = MemoryVolume::new(SIZE);
    volume.write(0, &noise(1, 30_000));
    volume.write(40_000, &noise(2, 30_000));
    volume
}

/// An execution on a world's store that notes its calls.
fn execute(
    world: &World,
    volume: &MemoryVolume,
    sheet: &BackupSheet,
    generation: u64,
    monitor: &Arc<TestMonitor>,
    faults: &Faults,
) -> Result<Sealed, EngineError> {
    backup(&BackupTask {
        sheet,
        generation,
        source: volume.freeze(),
        store: FaultyStore::new(world.store.clone(), faults),
        limits: world.limits,
        throttle: world.throttle.clone(),
        monitor: monitor.clone(),
    })
}

fn chain(world: &World, sheet: &BackupSheet) -> SegmentChain {
    let scratch = sheet.names.scratch.as_deref().unwrap();
    longest_chain(&*world.store, &sheet.names.container, scratch).unwrap()
}

/// Stops an execution at its n-th look at the job, lets another go on, and checks what that made.
fn stop_and_go_on(shape: Shape, stop: Stop, incremental: bool) {
    let volume = volume();
    let mut resumed = 0;
    for call in 0.. {
        let world = World::new();
        let parent = incremental.then(|| {
            // Shorter than the volume is now: behind its end no digest is known.
            let mut before = volume.clone();
            before.resize(50_000);
            before.write(20_000, &noise(3, 9000));
            world.backup(&before, None, shape)
        });
        let mut sheet = world.sheet(parent.as_ref(), shape);
        let first = TestMonitor::stopping_at(call, stop);
        let faults = Faults::default();
        if execute(&world, &volume, &sheet, 1, &first, &faults).is_ok() {
            break;
        }
        faults.take(Verb::Publish);
        let before = chain(&world, &sheet);
        assert_eq!(before.end, first.mark());
        resumed += u64::from(before.end > 0);
        if stop == Stop::Draining {
            let place = scratch_place(
                &sheet.names.container,
                sheet.names.scratch.as_deref().unwrap(),
            );
            let parts = world.store.names(&place, "part-");
            assert_eq!(parts, Vec::<String>::new(), "all that was done is sealed");
        }

        sheet.mark = first.mark();
        let second = TestMonitor::new();
        let sealed = execute(&world, &volume, &sheet, 2, &second, &faults).unwrap();
        assert_eq!(second.mark(), SIZE as u64);
        let told = second.first.lock().unwrap().unwrap();
        assert_eq!((told.done_bytes, told.totals.read.0), (before.end, 0));
        let published = faults.take(Verb::Publish);
        let prefix = &sheet.names.prefix;
        let wanted: Vec<_> = (before.objects + 1..=sealed.object_count)
            .map(|number| prefix.object(number))
            .collect();
        assert_eq!(published, wanted, "each object once, none that was sealed");
        let whole = chain(&world, &sheet);
        assert_eq!(whole.segments[..before.segments.len()], before.segments);
        let later = &whole.segments[before.segments.len()..];
        assert!(later.iter().all(|name| name.generation == 2));
        assert!(sealed.totals.read.0 <= SIZE as u64 - before.end);

        let closed = world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
        assert_eq!(closed.object_count, sealed.object_count);
        let chain: Vec<_> = std::iter::once(&sheet).chain(&parent).collect();
        world.assert_restores(&chain, volume.bytes());
    }
    assert!(
        resumed > 3,
        "{resumed} executions had something to go on with"
    );
}

#[test]
fn a_full_backup_goes_on_wherever_it_was_stopped() {
    stop_and_go_on(Shape::small(Compression::Lz4), Stop::Fenced, false);
    stop_and_go_on(Shape::small(Compression::None), Stop::Draining, false);
}

#[test]
fn an_incremental_backup_goes_on_in_step_with_its_parents_digests() {
    stop_and_go_on(Shape::small(Compression::Zstd), Stop::Fenced, true);
    stop_and_go_on(Shape::small(Compression::Lz4), Stop::Draining, true);
}

#[test]
fn a_backup_that_is_sealed_to_its_end_reads_nothing_more() {
    let world = World::new();
    let volume = volume();
    let sheet = world.sheet(None, Shape::small(Compression::Lz4));
    let first = world.seal(&volume, &sheet, &TestMonitor::new()).unwrap();
    let faults = Faults::default();
    let monitor = TestMonitor::new();
    let again = execute(&world, &volume, &sheet, 2, &monitor, &faults).unwrap();
    assert_eq!(again.object_count, first.object_count);
    assert_eq!(again.totals.read.0, 0);
    assert_eq!(monitor.last.lock().unwrap().done_bytes, SIZE as u64);
    assert_eq!(faults.take(Verb::WritePart), Vec::<String>::new());
    world.close(&volume, &sheet, &monitor).unwrap();
    world.assert_restores(&[&sheet], volume.bytes());
}

#[test]
fn an_unchanged_volume_stores_no_object_and_no_hole_is_read() {
    let world = World::new();
    let mut volume = volume();
    volume.trim(8192, 3 * 4096);
    let shape = Shape::small(Compression::Lz4);
    let full = world.backup(&volume, None, shape);
    let sheet = world.sheet(Some(&full), shape);
    let stored = Faults::default();
    let read = Faults::default();
    let sealed = backup(&BackupTask {
        sheet: &sheet,
        generation: 1,
        source: FaultyVolumes::frozen(Box::new(volume.clone()), &read).into(),
        store: FaultyStore::new(world.store.clone(), &stored),
        limits: world.limits,
        throttle: world.throttle.clone(),
        monitor: TestMonitor::new(),
    })
    .unwrap();
    assert_eq!(sealed.object_count, 0);
    assert_eq!(stored.take(Verb::WritePart), Vec::<String>::new());
    let mut offsets: Vec<u64> = read
        .take(Verb::ReadVolume)
        .iter()
        .map(|offset| offset.parse().unwrap())
        .collect();
    offsets.sort_unstable();
    // Each chunk from where its data begins, once; none in 8192..20480, nor in 32768..36864, which are holes.
    let chunks = [0, 4096, 20_480, 24_576, 28_672, 40_000];
    let rest = (40_960..SIZE as u64).step_by(4096);
    assert_eq!(offsets, chunks.into_iter().chain(rest).collect::<Vec<_>>());
    assert!(sealed.totals.read.0 == 60_000 - 3 * 4096);
}

/// A world where generation 1 was stopped after some batches, and the sheet of the next execution.
fn begun(volume: &MemoryVolume) -> (World, BackupSheet) {
    let mut world = World::new();
    world.limits.buffer_bytes = 5 * 4096; // so little is in hand that a batch is sealed by then
    let mut sheet = world.sheet(None, Shape::small(Compression::Lz4));
    let monitor = TestMonitor::stopping_at(14, Stop::Fenced);
    world.seal(volume, &sheet, &monitor).unwrap_err();
    sheet.mark = monitor.mark();
    assert!(sheet.mark > 0);
    (world, sheet)
}

fn is_beyond_use(world: &World, volume: &MemoryVolume, sheet: &BackupSheet) {
    let monitor = TestMonitor::new();
    let error = execute(world, volume, sheet, 2, &monitor, &Faults::default()).unwrap_err();
    assert!(matches!(error, EngineError::Gap { .. }), "{error}");
    assert_eq!(monitor.mark(), 0, "nothing is told");
}

#[test]
fn what_was_sealed_and_is_gone_makes_an_attempt_useless() {
    let volume = volume();
    // A segment that is damaged: the chain is shorter than the mark.
    let (world, sheet) = begun(&volume);
    let place = scratch_place(
        &sheet.names.container,
        sheet.names.scratch.as_deref().unwrap(),
    );
    let name = &world.store.names(&place, "segment-")[0];
    let mut bytes = world.store.get(&place, name).unwrap();
    bytes[90] ^= 1;
    world.store.put(&place, name, bytes);
    is_beyond_use(&world, &volume, &sheet);
    // An object that a segment names is gone.
    let (world, sheet) = begun(&volume);
    let object = sheet.names.prefix.object(2);
    world.store.delete(sheet.names.container.as_str(), &object);
    is_beyond_use(&world, &volume, &sheet);
    // The volume is another: the segments end where none of its chunks do.
    let (world, sheet) = begun(&volume);
    let mut shorter = volume.clone();
    shorter.resize(usize::try_from(sheet.mark).unwrap() - 100);
    is_beyond_use(&world, &shorter, &sheet);
}

#[test]
fn what_a_dead_execution_left_beside_the_chain_counts_for_nothing() {
    let volume = volume();
    let (world, sheet) = begun(&volume);
    let place = scratch_place(
        &sheet.names.container,
        sheet.names.scratch.as_deref().unwrap(),
    );
    let container = sheet.names.container.as_str();
    let next = chain(&world, &sheet).objects + 1;
    // Published and never sealed, under a number that the next one gives anew; and parts.
    let strange = sheet.names.prefix.object(next);
    world
        .store
        .put(container, &strange, b"of a dead one".to_vec());
    let far = sheet.names.prefix.object(9_000);
    world.store.put(container, &far, b"of a dead one".to_vec());
    let parts = world.store.names(&place, "part-g1-");
    world.store.put(&place, "put-of-a-dead-one", vec![1]);

    let monitor = TestMonitor::new();
    execute(&world, &volume, &sheet, 2, &monitor, &Faults::default()).unwrap();
    for part in &parts {
        assert!(
            world.store.get(&place, part).is_some(),
            "nobody else's part is touched"
        );
    }
    world.close(&volume, &sheet, &monitor).unwrap();
    assert_eq!(world.store.get(container, &far), None);
    world.assert_restores(&[&sheet], volume.bytes());
}

#[test]
fn of_two_executions_at_once_neither_spoils_the_other() {
    let volume = volume();
    let (world, sheet) = begun(&volume);
    // Generation 2 goes on to the end; then generation 1, frozen all the while, does the same.
    let faults = Faults::default();
    execute(&world, &volume, &sheet, 2, &TestMonitor::new(), &faults).unwrap();
    let place = scratch_place(
        &sheet.names.container,
        sheet.names.scratch.as_deref().unwrap(),
    );
    for name in world.store.names(&place, "segment-") {
        if name.ends_with("-g2") {
            world.store.delete(&place, &name);
        }
    }
    execute(&world, &volume, &sheet, 1, &TestMonitor::new(), &faults).unwrap();
    world.close(&volume, &sheet, &TestMonitor::new()).unwrap();
    world.assert_restores(&[&sheet], volume.bytes());
}

#[test]
fn what_is_read_is_sealed_more_often_than_holes_are() {
    let world = World::new();
    let shape = Shape::small(Compression::Lz4);
    let chunk = u64::from(shape.object_size);
    let seal = world.limits.seal_size_bytes;
    assert_eq!(seal % chunk, 0);
    let size = usize::try_from(32 * seal).unwrap();
    let mut full = MemoryVolume::new(size);
    full.write(0, &noise(1, size));
    for (volume, step) in [(full, seal), (MemoryVolume::new(size), 16 * seal)] {
        let monitor = TestMonitor::new();
        let sheet = world.sheet(None, shape);
        execute(&world, &volume, &sheet, 1, &monitor, &Faults::default()).unwrap();
        let marks: Vec<u64> = (1..)
            .map(|seal| seal * step)
            .take_while(|mark| *mark <= 32 * seal)
            .collect();
        assert_eq!(*monitor.marks.lock().unwrap(), marks);
    }
}
