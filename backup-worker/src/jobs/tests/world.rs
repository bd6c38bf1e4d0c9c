//! A target, a volume backend and a worker, on real files whose calls can fail.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    AttemptNames, BackupId, ClaimId, Compression, ContainerName, JobId, JobKind, VolumeId,
    VolumeSource,
};
use common::messages::rpc::{Fence, Outcome};
use common::messages::sheet::{
    BackupRecord, BackupSheet, CleanScope, CleanSheet, DeleteSheet, RestoreSheet, Sheet,
    StoreOptions, StoredBackup, VolumeRef,
};
use tokio_util::sync::CancellationToken;

use super::owner::{Owner, Rows};
use super::{backend, environment};
use crate::environment::Environment;
use crate::faulty::{Faults, FaultyStore, FaultyVolumes};
use crate::jobs::{Job, run};
use crate::lease::{Hold, Lease, LeaseParts, StateOwner};
use crate::progress;
use crate::store::posix::{PosixStore, init_target};
use crate::volume::FileVolumes;

/// Executions before a job is given up.
const EXECUTIONS_MAX: u64 = 4;
/// Executions of a job that is given up, before the state owner settles it alone.
const LAST_EXECUTIONS: u64 = 2;

pub(super) struct World {
    directory: tempfile::TempDir,
    volumes: PathBuf,
    pub(super) env: Arc<Environment>,
    pub(super) faults: Faults,
    volume_id: VolumeId,
}

impl World {
    /// To be made on a runtime.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let volumes = directory.path().join("volumes");
        std::fs::create_dir(&volumes).unwrap();
        Self::of(directory, volumes, false)
    }

    /// One that keeps the snapshot of the last backup; the volumes are in this directory.
    pub(super) fn keeping(volumes: &Path) -> Self {
        Self::of(tempfile::tempdir().unwrap(), volumes.to_owned(), true)
    }

    fn of(directory: tempfile::TempDir, volumes: PathBuf, keeps: bool) -> Self {
        let target = directory.path().join("target");
        init_target(&target).unwrap();
        let faults = Faults::default();
        let store = FaultyStore::new(Arc::new(PosixStore::new(target, None)), &faults);
        let driver = FileVolumes::new(&volumes).keeping_snapshots(keeps);
        let driver = FaultyVolumes::new(Arc::new(driver), &faults);
        Self {
            directory,
            volumes,
            env: Arc::new(environment(driver, store, 8192)),
            faults,
            volume_id: VolumeId::new(),
        }
    }

    pub(super) fn target(&self) -> PathBuf {
        self.directory.path().join("target")
    }

    pub(super) fn volumes(&self) -> PathBuf {
        self.volumes.clone()
    }

    fn volume(&self, source: &str) -> VolumeRef {
        VolumeRef {
            volume_id: self.volume_id,
            backend: backend(),
            source: VolumeSource::new(source).unwrap(),
            size_gib: 1,
        }
    }

    /// A backup of the volume in the file `vol`, which counts as attached: it is copied, where it cannot be cloned.
    pub(super) fn backup(&self, parent: Option<&BackupSheet>) -> BackupSheet {
        let backup_id = BackupId::new();
        let created_at = "2026-03-01T10:17:07Z".parse().unwrap();
        let container = ContainerName::from_backup_id(backup_id);
        BackupSheet {
            backup_id,
            volume: self.volume("vol"),
            source_snapshot: None,
            in_use: true,
            names: AttemptNames::new(1, container, self.volume_id, backup_id, created_at),
            options: StoreOptions {
                compression: Compression::Lz4,
                object_size_bytes: 4096,
                block_size_bytes: 512,
            },
            parent: parent.map(stored),
            committed: false,
            frozen: None,
            mark: 0,
            record: BackupRecord {
                name: None,
                description: None,
                created_at,
                project_id: "p".into(),
                user_id: "u".into(),
                size_gib: 1,
                data_timestamp: None,
                snapshot_id: None,
                availability_zone: None,
                metadata: BTreeMap::new(),
                volume_meta: None,
            },
        }
    }

    /// A restore of a chain, newest first, to a volume that is made for it.
    pub(super) fn restore(&self, chain: &[&BackupSheet], source: &str) -> RestoreSheet {
        RestoreSheet {
            chain: chain.iter().map(|sheet| stored(sheet)).collect(),
            backup_size_gib: 1,
            volume: self.volume(source),
            volume_is_new: true,
            mark: 0,
        }
    }

    /// One execution. The job's thread is a plain one, as always.
    pub(super) fn execute(&self, owner: &Arc<Owner>, generation: u64) {
        let Rows {
            sheet, given_up, ..
        } = owner.rows().clone();
        let lease_time = Duration::from_secs(60);
        let hold = Hold::new(
            self.env.boot_clock.clone(),
            Duration::ZERO,
            lease_time,
            Duration::ZERO,
            self.env.stopping.halt.clone(),
        );
        hold.begin_at(match &sheet {
            Sheet::Backup(sheet) => sheet.mark,
            Sheet::Restore(sheet) => sheet.mark,
            Sheet::Delete(_) | Sheet::Volume(_) | Sheet::Clean(_) => 0,
        });
        let fence = Fence {
            job_id: JobId::new(),
            generation,
            claim_id: ClaimId::new(),
        };
        let job = Job {
            env: Arc::clone(&self.env),
            lease: Lease::new(LeaseParts {
                fence,
                owner: StateOwner::Scripted(owner.clone()),
                hold: Arc::new(hold),
                wire: Arc::default(),
                renew_soon: Arc::default(),
                abandon: self.env.stopping.abandon.clone(),
                reporter: progress::channel(JobKind::Backup, 0).0,
                renewing: CancellationToken::new().drop_guard(),
            }),
            generation,
            give_up: given_up,
            lease_time,
        };
        let thread = std::thread::spawn(move || run(&job, sheet));
        thread.join().expect("a job does not panic");
    }

    /// Executes a job until it is settled: by its worker, or given up by the state owner.
    pub(super) fn settle(&self, sheet: Sheet) -> Rows {
        let owner = Arc::new(Owner::new(sheet));
        for generation in 1..=EXECUTIONS_MAX + LAST_EXECUTIONS {
            self.execute(&owner, generation);
            let mut rows = owner.rows();
            if rows.settled.is_some() {
                break;
            }
            if generation >= EXECUTIONS_MAX {
                let why = rows.released.clone().expect("it was given back");
                let committed = matches!(&rows.sheet, Sheet::Backup(sheet) if sheet.committed);
                if !committed {
                    rows.given_up.get_or_insert(format!("Given up: {why}"));
                }
            }
        }
        let mut rows = owner.rows().clone();
        if let (None, Some(reason)) = (&rows.settled, &rows.given_up) {
            rows.settled = Some(Outcome::Failed {
                reason: reason.clone(),
            });
        }
        rows
    }

    /// What the state owner queues behind a job that left something: nothing of its attempts counts.
    pub(super) fn clean(&self, rows: &Rows) {
        let Sheet::Backup(sheet) = &rows.sheet else {
            return;
        };
        let kept = matches!(rows.settled, Some(Outcome::BackedUp { .. }));
        for names in &rows.attempts {
            let scope = if kept && *names == sheet.names {
                CleanScope::Strays
            } else {
                CleanScope::Everything
            };
            let rows = self.settle(Sheet::Clean(CleanSheet {
                backup_id: sheet.backup_id,
                names: names.clone(),
                volume: Some(sheet.volume.clone()),
                scope,
            }));
            assert_eq!(rows.settled, Some(Outcome::Cleaned), "{:?}", rows.released);
        }
    }

    pub(super) fn delete(&self, sheet: &BackupSheet) -> Rows {
        self.settle(Sheet::Delete(DeleteSheet {
            backup_id: sheet.backup_id,
            attempts: vec![sheet.names.clone()],
            objects_too: true,
        }))
    }

    /// Names of all files on the target but its marker, and of scratch places.
    pub(super) fn stored_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut waiting = vec![self.target()];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let is_directory = entry.file_type().unwrap().is_dir();
                if is_directory {
                    waiting.push(entry.path());
                }
                if !is_directory || name.starts_with('.') {
                    names.push(name);
                }
            }
        }
        names.retain(|name| name != ".emberkeep-target");
        names.sort();
        names
    }

    /// Snapshots on the volume backend.
    pub(super) fn snapshots(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.volumes()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("bk-")).collect()
    }

    /// The names of a whole backup.
    pub(super) fn names_of(&self, names: &AttemptNames, object_count: u64) -> Vec<String> {
        let prefix = &names.prefix;
        let mut all = vec![prefix.metadata(), prefix.sha256file()];
        all.extend((1..=object_count).map(|number| prefix.object(number)));
        all
    }
}

pub(super) fn stored(sheet: &BackupSheet) -> StoredBackup {
    StoredBackup {
        backup_id: sheet.backup_id,
        container: sheet.names.container.clone(),
        prefix: sheet.names.prefix.clone(),
    }
}

/// The sheet of a backup job.
pub(super) fn backup_sheet(sheet: &Sheet) -> &BackupSheet {
    match sheet {
        Sheet::Backup(sheet) => sheet,
        other => panic!("a {} is no backup", other.kind()),
    }
}

/// Checks the first bytes of a file.
pub(super) fn starts_with(file: &Path, wanted: &[u8]) {
    let mut found = vec![0; wanted.len()];
    let mut file = std::fs::File::open(file).unwrap();
    file.read_exact(&mut found).unwrap();
    assert!(found == wanted, "other bytes came back");
}
