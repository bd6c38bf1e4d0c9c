//! Objects of zeros: known by their stored bytes, and looked at all the same.

use common::domain::Compression;
use common::messages::sheet::BackupSheet;

use crate::engine::EngineError;
use crate::engine::testing::{MemoryTarget, MemoryVolume, Shape, World, noise};

/// Every algorithm that makes zeros smaller.
const ALGORITHMS: [Compression; 4] = [
    Compression::Lz4,
    Compression::Zstd,
    Compression::Zlib,
    Compression::Bz2,
];
/// 25 chunks, of which the last is short.
const SIZE: usize = 100_000;
/// Where the only chunk with data begins.
const DATA: usize = 16_384;

/// Mostly zeros, and their backup.
fn sparse(compression: Compression) -> (World, MemoryVolume, BackupSheet) {
    let world = World::new();
    let mut volume = MemoryVolume::new(SIZE);
    volume.write(DATA, &noise(1, 4096));
    let sheet = world.backup(&volume, None, Shape::small(compression));
    (world, volume, sheet)
}

#[test]
fn an_object_of_zeros_is_not_decoded() {
    for compression in ALGORITHMS {
        let (world, volume, sheet) = sparse(compression);
        let target = MemoryTarget::filled(SIZE, 0);
        let restored = world.restore(&[&sheet], &target, true).unwrap();
        let last = SIZE % 4096;
        assert_eq!(restored.totals.read.0, 4096 + last as u64, "{compression}");
        assert_eq!(restored.totals.written.0, 4096);
        assert_eq!(restored.totals.volume.0, SIZE as u64);
        world.assert_restores(&[&sheet], volume.bytes());
    }
}

#[test]
fn a_damaged_object_of_zeros_is_named_wherever_it_is_restored_to() {
    for compression in ALGORITHMS {
        let (world, _, sheet) = sparse(compression);
        let container = sheet.names.container.as_str();
        let names = world.store.names(container, sheet.names.prefix.as_str());
        let name = names.iter().find(|name| name.ends_with("-00021")).unwrap();
        let good = world.store.get(container, name).unwrap();
        let middle = good.len() / 2;
        let mut flipped = good.clone();
        flipped[middle] ^= 1;
        let cut = good[..middle].to_vec();
        for damaged in [flipped, cut] {
            world.store.put(container, name, damaged);
            let is_named = |error: EngineError| {
                let EngineError::Damaged(damage) = error else {
                    panic!("{error}");
                };
                assert_eq!(damage.extents[0].object, *name);
            };
            for (byte, is_new) in [(0xff, false), (0, true)] {
                let target = MemoryTarget::filled(SIZE, byte);
                is_named(world.restore(&[&sheet], &target, is_new).unwrap_err());
            }
            is_named(world.verify(&[&sheet]).unwrap_err());
        }
    }
}
