//! The check at the end of a test: nothing lies about that no record names.

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::domain::{BackupStatus, SnapshotStatus, VolumeStatus};

use crate::stack::TestStack;
use crate::target::{files_below, name_of};
use crate::wait::until;

impl TestStack {
    /// Waits until nothing is left but what records name:
    ///
    /// * no message in any queue, ready or not acknowledged, parked ones included
    /// * on the volume backend no temporary snapshot, and no file of a volume or snapshot that is gone
    /// * on the target no scratch place; for each available backup its objects without a hole
    ///   and both closing files; and not one file more
    /// * no volume, snapshot or backup in a working status
    /// * no lease: a clean may wait for its time, but nobody has a job
    ///
    /// Clean-up has its own time (two leases after the end), so this waits.
    ///
    /// # Panics
    /// When something stays, naming it.
    pub async fn assert_nothing_left_behind(&self) {
        let mut last = Vec::new();
        let look = async || {
            last = self.leftovers().await;
            last.is_empty().then_some(())
        };
        let waited = tokio::time::timeout(
            crate::wait::PATIENCE / 2,
            until("nothing to be left behind", look),
        )
        .await;
        assert!(waited.is_ok(), "left behind: {last:#?}");
    }

    /// What no record names at this moment.
    pub async fn leftovers(&self) -> Vec<String> {
        let mut found = self.leftovers_on_target().await;
        found.extend(self.leftovers_on_volumes().await);
        found.extend(self.held_jobs().await);
        for (queue, messages) in self.broker().held_messages().await {
            found.push(format!("{messages} messages in {queue}"));
        }
        found
    }

    async fn held_jobs(&self) -> Vec<String> {
        let answer = self.api().get("/admin/jobs").await.expect(200);
        let jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
        let held = jobs.iter().filter(|job| job["state"] != "queued");
        held.map(|job| format!("a lease: {job}")).collect()
    }

    async fn leftovers_on_target(&self) -> Vec<String> {
        let target = self.target();
        let mut unnamed: BTreeSet<PathBuf> = target.files().into_iter().collect();
        let mut found = Vec::new();
        unnamed.remove(&PathBuf::from(".emberkeep-target"));
        for backup in self.api().backups().await {
            match backup.status {
                BackupStatus::Available => {}
                BackupStatus::Error | BackupStatus::ErrorDeleting => continue,
                BackupStatus::Creating
                | BackupStatus::Restoring
                | BackupStatus::Deleting
                | BackupStatus::Deleted => {
                    found.push(format!("backup {} still {}", backup.id, backup.status));
                    continue;
                }
            }
            let Some(metadata) = target.metadata_of(backup.id) else {
                found.push(format!("backup {} without its metadata file", backup.id));
                continue;
            };
            let prefix = name_of(&metadata)
                .strip_suffix("_metadata")
                .unwrap_or_default()
                .to_owned();
            let mut named = vec![format!("{prefix}_metadata"), format!("{prefix}_sha256file")];
            named.extend((1..=backup.object_count).map(|number| format!("{prefix}-{number:05}")));
            for name in named {
                let path = metadata.with_file_name(&name);
                if !unnamed.remove(&path) {
                    found.push(format!("backup {} without {name}", backup.id));
                }
            }
        }
        found.extend(
            unnamed
                .iter()
                .map(|path| format!("{} on the target", path.display())),
        );
        found
    }

    async fn leftovers_on_volumes(&self) -> Vec<String> {
        let volumes = self.api().volumes().await;
        let snapshots = self.api().snapshots().await;
        let named_by_a_record = |name: &str| {
            self.is_managed(name)
                || volumes
                    .iter()
                    .any(|volume| name.contains(&volume.id.to_string()))
                || snapshots
                    .iter()
                    .any(|snapshot| name == format!("snapshot-{}", snapshot.id))
        };
        let working = volumes.iter().filter(|volume| {
            use VolumeStatus::{BackingUp, Creating, Deleting, RestoringBackup};
            [Creating, BackingUp, Deleting, RestoringBackup].contains(&volume.status)
        });
        let working = working.map(|volume| format!("volume {} still {}", volume.id, volume.status));
        let taken = snapshots.iter().filter(|snapshot| {
            use SnapshotStatus::{BackingUp, Creating, Deleting};
            [Creating, BackingUp, Deleting].contains(&snapshot.status)
        });
        let taken =
            taken.map(|snapshot| format!("snapshot {} still {}", snapshot.id, snapshot.status));
        let files = files_below(self.volumes())
            .into_iter()
            .filter(|path| {
                let name = name_of(path);
                name.starts_with("bk-") || !named_by_a_record(&name)
            })
            .map(|path| format!("{} among the volumes", path.display()));
        working.chain(taken).chain(files).collect()
    }
}
