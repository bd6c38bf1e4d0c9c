//! An engine with limits: what it asks them, and that it never waits at the wrong place.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::domain::Compression;

use crate::engine::testing::{
    MemoryTarget, MemoryVolume, Shape, TestMonitor, World, noise, stored, text,
};
use crate::engine::{
    EngineError, Monitor, Progress, RestoreTask, Stop, TargetHolds, Throttle, restore,
};
use crate::volume::{TargetVolume, VolumeError};

/// Data of all kinds: dense, sparse, zeros that were written, and a short end.
fn volume() -> MemoryVolume {
    let mut volume = MemoryVolume::new(70_000);
    volume.write(0, &noise(1, 20_000));
    volume.write(24_576, &[0; 4096]);
    volume.write(30_000, &text(2, 5000));
    volume.write(50_100, &noise(3, 19_900));
    volume
}

fn stored_bytes(world: &World, sheet: &common::messages::sheet::BackupSheet) -> u64 {
    let container = sheet.names.container.as_str();
    let prefix = &sheet.names.prefix;
    let objects = world.store.names(container, &format!("{prefix}-"));
    let bytes = objects
        .iter()
        .map(|name| world.store.get(container, name).unwrap().len() as u64);
    bytes.sum()
}

#[test]
fn a_backup_asks_for_what_it_reads_of_the_volume_and_for_what_it_stores() {
    for compression in [Compression::Lz4, Compression::None] {
        let shape = Shape::small(compression);
        let mut world = World::new();
        let mut volume = volume();
        world.throttle = Throttle::counting();
        let full = world.sheet(None, shape);
        let sealed = world.seal(&volume, &full, &TestMonitor::new()).unwrap();
        assert_eq!(sealed.totals.read.0, 20_000 + 4096 + 5000 + 19_900);
        let written = stored_bytes(&world, &full);
        assert_eq!(world.throttle.counted(), (sealed.totals.read.0, written));
        assert_eq!(sealed.totals.written.0, written);
        world.close(&volume, &full, &TestMonitor::new()).unwrap();

        volume.write(52_000, &noise(4, 10));
        world.throttle = Throttle::counting();
        let next = world.sheet(Some(&full), shape);
        let sealed = world.seal(&volume, &next, &TestMonitor::new()).unwrap();
        let written = stored_bytes(&world, &next);
        assert!(written > 0 && written < 2000, "{written}");
        assert_eq!(world.throttle.counted(), (sealed.totals.read.0, written));
    }
}

#[test]
fn a_restore_asks_for_what_it_reads_of_objects_and_for_what_it_writes() {
    for compression in [Compression::Lz4, Compression::Zstd, Compression::None] {
        let mut world = World::new();
        let volume = volume();
        let sheet = world.backup(&volume, None, Shape::small(compression));
        let written = stored_bytes(&world, &sheet);
        for is_new in [false, true] {
            world.throttle = Throttle::counting();
            let byte = if is_new { 0 } else { 0xff };
            let target = MemoryTarget::filled(volume.bytes().len(), byte);
            world.restore(&[&sheet], &target, is_new).unwrap();
            let restored = target.written_bytes.load(Ordering::Relaxed);
            assert!(restored > 40_000, "{restored}");
            assert_eq!(world.throttle.counted(), (written, restored));
        }
        world.throttle = Throttle::counting();
        world.verify(&[&sheet]).unwrap();
        assert_eq!(world.throttle.counted(), (written, 0));
    }
}

#[test]
fn a_stop_is_met_by_threads_that_wait_at_a_limit() {
    let volume = volume();
    let shape = Shape::small(Compression::Lz4);
    for stop in [Stop::Cancelled, Stop::Fenced, Stop::Draining] {
        let mut world = World::new();
        let whole = world.backup(&volume, None, shape);
        world.throttle = Throttle::closed();
        let is_stopped = |error: EngineError| {
            assert!(
                matches!(error, EngineError::Stopped(met) if met == stop),
                "{error}"
            );
        };
        let monitor = TestMonitor::stopping_at(9, stop);
        let sheet = world.sheet(None, shape);
        is_stopped(world.seal(&volume, &sheet, &monitor).unwrap_err());
        // Who drains seals what is in hand, and waits no longer for that.
        assert_eq!(monitor.mark() > 0, stop == Stop::Draining, "{stop}");

        let target = MemoryTarget::filled(volume.bytes().len(), 0xff);
        let monitor = TestMonitor::stopping_at(9, stop);
        let chain = [stored(&whole)];
        let outcome = world.restore_from(&chain, &target, TargetHolds::Anything, 0, &monitor);
        is_stopped(outcome.unwrap_err());
        assert_eq!(target.written_bytes.load(Ordering::Relaxed), 0);
    }
}

/// Notes when the leave to write was given, and looks at each write whether it is as fresh.
struct Watched<T> {
    now: T,
    leave_given: Mutex<Option<Duration>>,
    target: Arc<MemoryTarget>,
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl<T: Fn() -> Duration + Send + Sync> Monitor for Watched<T> {
    fn keep_going(&self) -> Result<(), Stop> {
        Ok(())
    }

    fn may_write(&self) -> Result<(), Stop> {
        *self.leave_given.lock().unwrap() = Some((self.now)());
        Ok(())
    }

    fn advanced(&self, _: Progress) {}

    fn sealed(&self, _: u64) {}
}

impl<T: Fn() -> Duration + Send + Sync> TargetVolume for Watched<T> {
    fn size_bytes(&self) -> u64 {
        self.target.size_bytes()
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError> {
        let leave_given = *self.leave_given.lock().unwrap();
        assert_eq!(leave_given, Some((self.now)()), "the leave is stale");
        self.target.write_at(offset, data)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        self.target.read_at(offset, buffer)
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.target.sync()
    }
}

#[test]
fn a_restore_waits_before_it_has_the_leave_to_write_and_never_after() {
    let mut world = World::new();
    let volume = volume();
    let sheet = world.backup(&volume, None, Shape::small(Compression::Lz4));
    world.limits.threads = 1; // so that time passes for nobody else
    let (throttle, now) = Throttle::slow();
    let watched = Arc::new(Watched {
        now: now.clone(),
        leave_given: Mutex::default(),
        target: MemoryTarget::filled(volume.bytes().len(), 0xff),
    });
    restore(&RestoreTask {
        chain: &[stored(&sheet)],
        backup_size_gib: 1,
        target: watched.clone(),
        target_holds: TargetHolds::Anything,
        mark: 0,
        store: world.store.clone(),
        limits: world.limits,
        throttle,
        monitor: watched.clone(),
    })
    .unwrap();
    assert!(watched.target.bytes() == volume.bytes());
    // A hundred bytes a second.
    assert!(now() > Duration::from_secs(690), "{:?}", now());
}
