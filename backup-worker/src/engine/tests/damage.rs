//! Stored bytes that are not what was stored: refused by name, or of no matter; never wrong bytes.

use common::domain::Compression;
use common::messages::sheet::BackupSheet;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::engine::EngineError;
use crate::engine::testing::{MemoryTarget, MemoryVolume, Shape, World, noise, text};

/// A chain of three, its volume, and what is stored of it.
struct Chain {
    world: World,
    sheets: Vec<BackupSheet>,
    bytes: Vec<u8>,
}

impl Chain {
    fn new(compression: Compression) -> Self {
        let world = World::new();
        let shape = Shape::small(compression);
        let mut volume = MemoryVolume::new(33_333);
        volume.write(0, &text(1, 20_000));
        volume.write(7000, &noise(1, 9000));
        let mut sheets = vec![world.backup(&volume, None, shape)];
        for step in 1..3 {
            let at = usize::try_from(step * 6000).unwrap();
            volume.write(at, &text(step + 10, 5000));
            volume.trim(at + 2000, 600);
            volume.write(33_000, &noise(step, 333));
            sheets.push(world.backup(&volume, sheets.last(), shape));
        }
        sheets.reverse();
        Self {
            world,
            sheets,
            bytes: volume.bytes().to_vec(),
        }
    }

    /// Container and name of everything stored.
    fn names(&self, data_only: bool) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for sheet in &self.sheets {
            let container = sheet.names.container.as_str();
            for name in self.world.store.names(container, "") {
                if !data_only || !(name.ends_with("_metadata") || name.ends_with("_sha256file")) {
                    names.push((container.to_owned(), name));
                }
            }
        }
        names
    }

    /// Restores over old data; `Ok` only with the right bytes. What is not right is untouched.
    fn restore(&self) -> Result<(), EngineError> {
        let sheets: Vec<_> = self.sheets.iter().collect();
        let target = MemoryTarget::filled(self.bytes.len(), 0xff);
        let outcome = self.world.restore(&sheets, &target, false);
        let restored = target.bytes();
        if outcome.is_ok() {
            assert!(restored == self.bytes, "success with other bytes");
        }
        let wrong = restored
            .iter()
            .zip(&self.bytes)
            .position(|(got, wanted)| got != wanted && *got != 0xff);
        assert_eq!(wrong, None, "a wrong byte was written");
        outcome.map(drop)
    }

    fn get(&self, (container, name): &(String, String)) -> Vec<u8> {
        self.world.store.get(container, name).unwrap()
    }

    fn put(&self, (container, name): &(String, String), bytes: Vec<u8>) {
        self.world.store.put(container, name, bytes);
    }
}

/// Damages some bytes and says how.
fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) -> &'static str {
    match random.random_range(0..5) {
        0 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "cut"
        }
        1 => {
            let count = random.random_range(1..2000);
            bytes.extend((0..count).map(|_| random.random::<u8>()));
            "grown"
        }
        2 => {
            let at = random.random_range(0..bytes.len());
            let end = bytes.len().min(at + random.random_range(1..600));
            bytes[at..end].fill(0);
            "zeroed"
        }
        _ => {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
            "flipped"
        }
    }
}

#[test]
fn a_thousand_damaged_objects_are_refused_by_name_or_of_no_matter() {
    let chains: Vec<_> = Compression::ALL.into_iter().map(Chain::new).collect();
    let mut refused = 0;
    for seed in 0..1000 {
        let mut random = StdRng::seed_from_u64(seed);
        let chain = &chains[random.random_range(0..chains.len())];
        let names = chain.names(true);
        let damaged = names[random.random_range(0..names.len())].clone();
        let before = chain.get(&damaged);
        let other = names[random.random_range(0..names.len())].clone();
        let other_before = chain.get(&other);
        let how = if random.random_range(0..5) == 0 {
            chain.put(&damaged, other_before.clone());
            chain.put(&other, before.clone());
            "swapped"
        } else {
            let mut bytes = before.clone();
            let how = damage(&mut bytes, &mut random);
            chain.put(&damaged, bytes);
            how
        };
        match chain.restore() {
            Ok(()) => {}
            Err(EngineError::Damaged(found)) => {
                refused += 1;
                let text = found.to_string();
                assert!(
                    text.contains(&damaged.1) || text.contains(&other.1),
                    "seed {seed}, {how} {}: {text}",
                    damaged.1
                );
                assert!(
                    found.extents.iter().all(|extent| extent.length > 0),
                    "{text}"
                );
            }
            Err(error) => panic!("seed {seed}, {how} {}: {error}", damaged.1),
        }
        chain.put(&damaged, before);
        chain.put(&other, other_before);
    }
    assert!(refused > 500, "{refused} refused");
    for chain in &chains {
        chain.restore().unwrap();
    }
}

#[test]
fn a_thousand_damaged_closing_files_are_refused_or_of_no_matter() {
    let chain = Chain::new(Compression::Zstd);
    let files: Vec<_> = chain
        .names(false)
        .into_iter()
        .filter(|(_, name)| name.ends_with("_metadata") || name.ends_with("_sha256file"))
        .collect();
    let mut refused = 0;
    for seed in 0..1000 {
        let mut random = StdRng::seed_from_u64(seed);
        let file = &files[random.random_range(0..files.len())];
        let before = chain.get(file);
        let mut bytes = before.clone();
        damage(&mut bytes, &mut random);
        chain.put(file, bytes);
        if let Err(error) = chain.restore() {
            refused += 1;
            assert!(!error.is_transient(), "seed {seed}: {}", error.sentence());
        }
        chain.put(file, before);
    }
    assert!(refused > 500, "{refused} refused");
}

#[test]
fn without_digests_damaged_objects_are_still_never_a_success() {
    let chain = Chain::new(Compression::None);
    let wanted = &chain.sheets[0];
    chain.world.store.delete(
        wanted.names.container.as_str(),
        &wanted.names.prefix.sha256file(),
    );
    let names = chain.names(true);
    let sheets: Vec<_> = chain.sheets.iter().collect();
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let damaged = &names[random.random_range(0..names.len())];
        let before = chain.get(damaged);
        let mut bytes = before.clone();
        damage(&mut bytes, &mut random);
        chain.put(damaged, bytes);
        let target = MemoryTarget::filled(chain.bytes.len(), 0xff);
        match chain.world.restore(&sheets, &target, false) {
            Ok(_) => assert!(target.bytes() == chain.bytes, "seed {seed}"),
            Err(error) => assert!(
                error.to_string().contains(&damaged.1),
                "seed {seed}: {error}"
            ),
        }
        chain.put(damaged, before);
    }
}

#[test]
fn an_absent_object_is_found_before_anything_is_written() {
    let chain = Chain::new(Compression::Lz4);
    let full = chain.sheets.last().unwrap();
    let object = full.names.prefix.object(1);
    chain
        .world
        .store
        .delete(full.names.container.as_str(), &object);
    let sheets: Vec<_> = chain.sheets.iter().collect();
    let target = MemoryTarget::filled(chain.bytes.len(), 0xff);
    let error = chain.world.restore(&sheets, &target, false).unwrap_err();
    assert!(error.to_string().contains(&object), "{error}");
    assert_eq!(target.bytes(), vec![0xff; chain.bytes.len()]);
}

#[test]
fn all_bad_extents_are_named_and_the_good_ones_restored() {
    let chain = Chain::new(Compression::None);
    let full = chain.sheets.last().unwrap();
    let first = (
        full.names.container.to_string(),
        full.names.prefix.object(1),
    );
    let fifth = (
        full.names.container.to_string(),
        full.names.prefix.object(8),
    );
    for (object, at) in [(&first, 600), (&fifth, 10)] {
        let mut bytes = chain.get(object);
        bytes[at] ^= 0x10;
        chain.put(object, bytes);
    }
    let sheets: Vec<_> = chain.sheets.iter().collect();
    let target = MemoryTarget::filled(chain.bytes.len(), 0xff);
    let Err(EngineError::Damaged(damage)) = chain.world.restore(&sheets, &target, false) else {
        panic!("damage was not found");
    };
    let found: Vec<_> = damage
        .extents
        .iter()
        .map(|extent| (extent.object.clone(), extent.offset, extent.length))
        .collect();
    assert!(found.contains(&(first.1, 512, 512)), "{found:?}");
    assert!(found.contains(&(fifth.1, 28_672, 512)), "{found:?}");
    let restored = target.bytes();
    assert_eq!(restored[1024..28_672], chain.bytes[1024..28_672]);
}

#[test]
fn an_object_of_another_md5_is_named_although_all_its_blocks_are_right() {
    for compression in [Compression::None, Compression::Lz4] {
        let world = World::new();
        let mut volume = MemoryVolume::new(40_000);
        volume.write(0, &text(1, 40_000));
        let sheet = world.backup(&volume, None, Shape::small(compression));
        let container = sheet.names.container.as_str();
        let metadata = sheet.names.prefix.metadata();
        let mut told: Value =
            serde_json::from_slice(&world.store.get(container, &metadata).unwrap()).unwrap();
        let third = sheet.names.prefix.object(3);
        let object = &mut told["objects"][2][&third];
        assert!(object["md5"].is_string());
        object["md5"] = "0123456789abcdef0123456789abcdef".into();
        let bytes = serde_json::to_vec(&told).unwrap();
        world.store.put(container, &metadata, bytes);

        let target = MemoryTarget::filled(volume.bytes().len(), 0xff);
        let Err(EngineError::Damaged(damage)) = world.restore(&[&sheet], &target, false) else {
            panic!("it was not found");
        };
        assert_eq!(damage.total, 1);
        let found = &damage.extents[0];
        assert_eq!(
            (&found.object, found.offset, found.length),
            (&third, 8192, 4096)
        );
        assert!(found.why.contains("MD5"), "{}", found.why);
    }
}

#[test]
fn verifying_reads_what_a_restore_would_not() {
    let chain = Chain::new(Compression::Zstd);
    let sheets: Vec<_> = chain.sheets.iter().collect();
    chain.world.verify(&sheets).unwrap();
    let names = chain.names(true);
    for name in &names {
        let before = chain.get(name);
        let mut bytes = before.clone();
        bytes.push(0);
        chain.put(name, bytes);
        let verified = chain.world.verify(&sheets);
        if chain.restore().is_err() {
            assert!(verified.is_err(), "{}", name.1);
        }
        chain.put(name, before);
    }
}
