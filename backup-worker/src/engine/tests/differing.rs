//! Restores that write only what differs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::domain::Compression;

use crate::engine::TargetHolds;
use crate::engine::testing::{
    MemoryTarget, MemoryVolume, Shape, TestMonitor, World, noise, stored,
};

#[test]
fn of_a_similar_target_only_the_blocks_that_differ_are_written() {
    for compression in Compression::ALL {
        let world = World::new();
        let mut volume = MemoryVolume::new(40_960);
        volume.write(10_240, &noise(1, 20_000));
        let sheet = world.backup(&volume, None, Shape::small(compression));
        let restore = |target: &Arc<MemoryTarget>| {
            let (chain, monitor) = ([stored(&sheet)], TestMonitor::new());
            let restored = world.restore_from(&chain, target, TargetHolds::Similar, 0, &monitor);
            let totals = restored.unwrap().totals;
            let written = target.written_bytes.load(Ordering::Relaxed);
            assert_eq!(totals.written.0, written);
            assert_eq!(totals.skipped.0, 40_960 - written);
            assert!(target.bytes() == volume.bytes());
            written
        };
        let equal = MemoryTarget::holding(volume.bytes().to_vec());
        assert_eq!(restore(&equal), 0);
        // In data, in zeros, and in the last byte.
        for (at, byte) in [(12_000, 0), (5, 1), (40_959, 1)] {
            let mut bytes = volume.bytes().to_vec();
            bytes[at] ^= 0x80 | byte;
            assert_eq!(restore(&MemoryTarget::holding(bytes)), 512, "byte {at}");
        }
        assert_eq!(restore(&MemoryTarget::filled(40_960, 0xff)), 40_960);
    }
}
