//! Backups made by the real Cinder: every one is restored to what its manifest says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::domain::{ContainerName, ObjectPrefix};
use common::messages::sheet::{BackupSheet, StoredBackup};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::engine::TargetHolds;
use crate::engine::testing::{
    MemoryStore, MemoryTarget, MemoryVolume, Shape, TestMonitor, World, noise, stored,
};

#[derive(Debug, Deserialize)]
struct Manifest {
    root: String,
    backups: Vec<Made>,
}

#[derive(Debug, Clone, Deserialize)]
struct Made {
    label: String,
    backup_id: String,
    parent_id: Option<String>,
    volume_id: String,
    container: String,
    service_metadata: String,
    block_size: u32,
    target_bytes: usize,
    restored_sha256: String,
}

/// One fixture, its files in memory.
struct Case {
    name: String,
    world: World,
    backups: Vec<Made>,
}

impl Case {
    fn load(folder: &Path) -> Self {
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let mut world = World::new();
        let root = folder.join(manifest.root);
        for made in &manifest.backups {
            load_into(&world.store, &root.join(&made.container), &made.container);
        }
        world.volume_id = manifest.backups[0].volume_id.parse().unwrap();
        Self {
            name: folder.display().to_string(),
            world,
            backups: manifest.backups,
        }
    }

    fn made(&self, backup_id: &str) -> &Made {
        self.backups
            .iter()
            .find(|made| made.backup_id == backup_id)
            .unwrap()
    }

    /// A backup and its parents, newest first.
    fn chain(&self, made: &Made) -> Vec<StoredBackup> {
        let mut chain = vec![made.stored()];
        let mut parent = made.parent_id.as_deref();
        while let Some(id) = parent {
            let made = self.made(id);
            chain.push(made.stored());
            parent = made.parent_id.as_deref();
        }
        chain
    }

    fn restore(&self, made: &Made) -> Vec<u8> {
        let target = MemoryTarget::filled(made.target_bytes, 0xff);
        let restored = self
            .world
            .restore_from(
                &self.chain(made),
                &target,
                TargetHolds::Anything,
                0,
                &TestMonitor::new(),
            )
            .unwrap_or_else(|error| panic!("{} {}: {}", self.name, made.label, error.sentence()));
        assert_eq!(restored.warnings, Vec::<String>::new());
        target.bytes()
    }
}

impl Made {
    fn stored(&self) -> StoredBackup {
        StoredBackup {
            backup_id: self.backup_id.parse().unwrap(),
            container: ContainerName::new(self.container.as_str()).unwrap(),
            prefix: ObjectPrefix::new(self.service_metadata.as_str()).unwrap(),
        }
    }
}

fn load_into(store: &Arc<MemoryStore>, folder: &Path, container: &str) {
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        store.put(container, file.file_name().to_str().unwrap(), bytes);
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cinder");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.iter().map(|folder| Case::load(folder)).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn every_backup_that_cinder_made_is_restored_over_old_data() {
    let cases = cases();
    assert!(cases.len() >= 15, "{} fixtures", cases.len());
    for case in &cases {
        for made in &case.backups {
            let bytes = case.restore(made);
            assert_eq!(
                sha256(&bytes),
                made.restored_sha256,
                "{} {}",
                case.name,
                made.label
            );
        }
    }
}

#[test]
fn an_incremental_of_ours_on_a_chain_of_cinders_is_restored() {
    for case in &cases() {
        let made = case.backups.last().unwrap();
        let mut volume = MemoryVolume::new(made.target_bytes);
        volume.write(0, &case.restore(made));
        let middle = made.target_bytes / 2;
        volume.write(middle, &noise(9, 1000));
        volume.trim(0, 700);

        let shape = Shape {
            object_size: made.block_size * 2,
            block_size: made.block_size,
            ..Shape::small(common::domain::Compression::Zstd)
        };
        let mut sheet: BackupSheet = case.world.sheet(None, shape);
        sheet.volume.volume_id = made.volume_id.parse().unwrap();
        sheet.parent = Some(made.stored());
        let monitor = TestMonitor::new();
        let sealed = case.world.seal(&volume, &sheet, &monitor).unwrap();
        assert!(sealed.object_count <= 3, "only what changed is stored");
        case.world.close(&volume, &sheet, &monitor).unwrap();

        let mut chain = vec![stored(&sheet)];
        chain.extend(case.chain(made));
        let target = MemoryTarget::filled(made.target_bytes, 0xff);
        case.world
            .restore_from(
                &chain,
                &target,
                TargetHolds::Anything,
                0,
                &TestMonitor::new(),
            )
            .unwrap();
        assert!(target.bytes() == volume.bytes(), "{}", case.name);
    }
}
