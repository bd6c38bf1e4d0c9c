//! What the engine's tests bring: a volume, a store and a job in memory, and backups made with them.

mod monitor;
mod store;
mod volume;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    AttemptNames, BackupId, Compression, ContainerName, Token, VolumeId, VolumeSource,
};
use common::messages::sheet::{BackupRecord, BackupSheet, StoreOptions, StoredBackup, VolumeRef};
use jiff::Timestamp;

pub(super) use self::monitor::TestMonitor;
pub(super) use self::store::{Look, MemoryStore, scratch_place};
pub(super) use self::volume::{MemoryTarget, MemoryVolume};
use super::{
    BackupTask, CloseTask, Closed, EngineError, EngineLimits, RestoreTask, Restored, Sample,
    Sealed, TargetHolds, Throttle, VerifyTask, backup, close_backup, restore, verify,
};
use crate::store::BackupStore;

/// Two threads, and a seal every few chunks.
pub(super) fn limits(seal_size_bytes: u64) -> EngineLimits {
    EngineLimits {
        threads: 2,
        restore_threads: 2,
        seal_size_bytes,
        seal_after: Duration::from_secs(60),
        buffer_bytes: 10 * 4096,
        codec_bytes: 0,
    }
}

/// A sheet for a backup of the volume `volume_id`.
pub(super) fn sheet(
    volume_id: VolumeId,
    parent: Option<&BackupSheet>,
    compression: Compression,
    object_size_bytes: u32,
    block_size_bytes: u32,
) -> BackupSheet {
    let backup_id = BackupId::new();
    let created_at = "2026-03-01T10:17:07Z".parse().unwrap();
    BackupSheet {
        backup_id,
        volume: VolumeRef {
            volume_id,
            backend: Token::new("file").unwrap(),
            source: VolumeSource::new("vol-1").unwrap(),
            size_gib: 1,
        },
        source_snapshot: None,
        in_use: false,
        names: AttemptNames::new(
            1,
            ContainerName::from_backup_id(backup_id),
            volume_id,
            backup_id,
            created_at,
        ),
        options: StoreOptions {
            compression,
            object_size_bytes,
            block_size_bytes,
        },
        parent: parent.map(stored),
        committed: false,
        frozen: None,
        mark: 0,
        record: BackupRecord {
            name: Some("näme".to_owned()),
            description: None,
            created_at,
            project_id: "p".into(),
            user_id: "u".into(),
            size_gib: 1,
            data_timestamp: None,
            snapshot_id: None,
            availability_zone: None,
            metadata: BTreeMap::new(),
            volume_meta: Some(r#"{"version": 2}"#.to_owned()),
        },
    }
}

/// Where a sheet's backup is stored.
pub(super) fn stored(sheet: &BackupSheet) -> StoredBackup {
    StoredBackup {
        backup_id: sheet.backup_id,
        container: sheet.names.container.clone(),
        prefix: sheet.names.prefix.clone(),
    }
}

/// How the objects of a test's backups are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) compression: Compression,
    pub(super) object_size: u32,
    pub(super) block_size: u32,
}

impl Shape {
    pub(super) fn small(compression: Compression) -> Self {
        Self {
            compression,
            object_size: 4096,
            block_size: 512,
        }
    }
}

/// A backup target, and a volume to back up.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) volume_id: VolumeId,
    pub(super) limits: EngineLimits,
    pub(super) throttle: Throttle,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            store: Arc::default(),
            volume_id: VolumeId::new(),
            limits: limits(16 << 10),
            throttle: Throttle::default(),
        }
    }

    pub(super) fn sheet(&self, parent: Option<&BackupSheet>, shape: Shape) -> BackupSheet {
        sheet(
            self.volume_id,
            parent,
            shape.compression,
            shape.object_size,
            shape.block_size,
        )
    }

    /// Steps 5 and 6.
    pub(super) fn seal(
        &self,
        volume: &MemoryVolume,
        sheet: &BackupSheet,
        monitor: &Arc<TestMonitor>,
    ) -> Result<Sealed, EngineError> {
        backup(&BackupTask {
            sheet,
            generation: 1,
            source: volume.freeze(),
            store: self.store.clone(),
            limits: self.limits,
            throttle: self.throttle.clone(),
            monitor: monitor.clone(),
        })
    }

    /// Step 8.
    pub(super) fn close(
        &self,
        volume: &MemoryVolume,
        sheet: &BackupSheet,
        monitor: &Arc<TestMonitor>,
    ) -> Result<Closed, EngineError> {
        close_backup(&CloseTask {
            sheet,
            volume_bytes: volume.bytes().len() as u64,
            frozen_at: Timestamp::UNIX_EPOCH,
            store: self.store.clone(),
            monitor: monitor.clone(),
        })
    }

    /// A whole backup.
    pub(super) fn backup(
        &self,
        volume: &MemoryVolume,
        parent: Option<&BackupSheet>,
        shape: Shape,
    ) -> BackupSheet {
        let sheet = self.sheet(parent, shape);
        let monitor = TestMonitor::new();
        let sealed = self.seal(volume, &sheet, &monitor).unwrap();
        assert_eq!(monitor.mark(), volume.bytes().len() as u64);
        let closed = self.close(volume, &sheet, &monitor).unwrap();
        assert_eq!(closed.object_count, sealed.object_count);
        let scratch = sheet.names.scratch.as_deref().unwrap();
        self.store
            .remove_scratch(&sheet.names.container, scratch)
            .unwrap();
        sheet
    }

    /// Restores a chain, given newest first.
    pub(super) fn restore(
        &self,
        chain: &[&BackupSheet],
        target: &Arc<MemoryTarget>,
        target_is_new: bool,
    ) -> Result<Restored, EngineError> {
        let chain: Vec<_> = chain.iter().map(|sheet| stored(sheet)).collect();
        let holds = match target_is_new {
            true => TargetHolds::Zeros,
            false => TargetHolds::Anything,
        };
        self.restore_from(&chain, target, holds, 0, &TestMonitor::new())
    }

    pub(super) fn restore_from(
        &self,
        chain: &[StoredBackup],
        target: &Arc<MemoryTarget>,
        target_holds: TargetHolds,
        mark: u64,
        monitor: &Arc<TestMonitor>,
    ) -> Result<Restored, EngineError> {
        restore(&RestoreTask {
            chain,
            backup_size_gib: 1,
            target: target.clone(),
            target_holds,
            mark,
            store: self.store.clone(),
            limits: self.limits,
            throttle: self.throttle.clone(),
            monitor: monitor.clone(),
        })
    }

    pub(super) fn verify(&self, chain: &[&BackupSheet]) -> Result<Restored, EngineError> {
        self.verify_some(chain, None)
    }

    /// Verifies a share of a chain.
    pub(super) fn verify_some(
        &self,
        chain: &[&BackupSheet],
        sample: Option<Sample>,
    ) -> Result<Restored, EngineError> {
        let chain: Vec<_> = chain.iter().map(|sheet| stored(sheet)).collect();
        verify(&VerifyTask {
            chain: &chain,
            backup_size_gib: 1,
            store: self.store.clone(),
            limits: self.limits,
            throttle: self.throttle.clone(),
            monitor: TestMonitor::new(),
            sample,
        })
    }

    /// Restores a chain onto targets that hold something else, and to a new one; all must hold `bytes`.
    pub(super) fn assert_restores(&self, chain: &[&BackupSheet], bytes: &[u8]) {
        for (byte, is_new) in [(0xff, false), (0, true), (0, false)] {
            let target = MemoryTarget::filled(bytes.len(), byte);
            let restored = self.restore(chain, &target, is_new).unwrap();
            assert_eq!(restored.warnings, Vec::<String>::new());
            assert!(target.bytes() == bytes, "restored bytes differ");
        }
    }
}

/// Bytes that no algorithm makes smaller, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// Bytes that every algorithm makes smaller.
pub(super) fn text(seed: u64, length: usize) -> Vec<u8> {
    format!("line {seed} of a text that repeats itself\n")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(length)
        .collect()
}
