//! Backups over HTTP.

use std::collections::{BTreeMap, HashSet};

use common::domain::{BackupId, BackupStatus, VolumeId, VolumeStatus};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Api, id_in, parse};
use crate::model::{Backup, Progress, Restored};
use crate::wait::until;

/// A backup to be created.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct NewBackup {
    pub volume_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub container: Option<String>,
    pub incremental: bool,
    pub force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

impl NewBackup {
    /// A full backup with nothing else asked for.
    #[must_use]
    pub fn of(volume: VolumeId) -> Self {
        Self {
            volume_id: volume.to_string(),
            ..Self::default()
        }
    }

    /// An incremental one.
    #[must_use]
    pub fn incremental(volume: VolumeId) -> Self {
        Self {
            incremental: true,
            ..Self::of(volume)
        }
    }
}

impl Api {
    /// Asks for a backup, and gives the answer.
    pub async fn ask_for_backup(&self, wanted: &NewBackup) -> Answer {
        self.post("/v3/backups", json!({ "backup": wanted })).await
    }

    /// Asks for a backup, which must be accepted.
    pub async fn create_backup(&self, wanted: &NewBackup) -> BackupId {
        id_in(&self.ask_for_backup(wanted).await.expect(202)["backup"])
    }

    /// Makes a full backup and waits for its end.
    pub async fn back_up(&self, volume: VolumeId) -> Backup {
        let id = self.create_backup(&NewBackup::of(volume)).await;
        self.until_backup(id, BackupStatus::Available).await
    }

    /// Makes an incremental backup and waits for its end.
    pub async fn back_up_changes(&self, volume: VolumeId) -> Backup {
        let id = self.create_backup(&NewBackup::incremental(volume)).await;
        self.until_backup(id, BackupStatus::Available).await
    }

    /// The backup, or `None` when it is not there.
    pub async fn find_backup(&self, id: BackupId) -> Option<Backup> {
        let answer = self.get(&format!("/v3/backups/{id}")).await;
        if answer.status == 404 {
            return None;
        }
        let backup: Backup = parse(&answer.expect(200)["backup"]);
        assert_eq!(backup.id, id);
        self.check_step(id, backup.status);
        Some(backup)
    }

    /// The backup, which must be there.
    ///
    /// # Panics
    /// When it is not.
    pub async fn backup(&self, id: BackupId) -> Backup {
        self.find_backup(id)
            .await
            .unwrap_or_else(|| panic!("backup {id} is gone"))
    }

    /// Every backup of every project.
    pub async fn backups(&self) -> Vec<Backup> {
        self.list("backups").await.iter().map(parse).collect()
    }

    /// Asks to delete a backup, which must be accepted.
    pub async fn delete_backup(&self, id: BackupId) {
        let path = format!("/v3/backups/{id}");
        let body = self.send(Method::DELETE, &path, None).await.expect(202);
        assert_eq!(body, Value::Null);
    }

    /// Asks for a restore; no volume means a new one. It must be accepted.
    pub async fn restore(&self, id: BackupId, into: Option<VolumeId>) -> Restored {
        let body = json!({"restore": {"volume_id": into.map(|id| id.to_string())}});
        let answer = self.post(&format!("/v3/backups/{id}/restore"), body).await;
        let restored: Restored = parse(&answer.expect(202)["restore"]);
        assert_eq!(restored.backup_id, id);
        restored
    }

    /// Restores into a new volume and waits for its end.
    pub async fn bring_back(&self, id: BackupId) -> VolumeId {
        let volume = self.restore(id, None).await.volume_id;
        self.until_volume(volume, VolumeStatus::Available).await;
        self.until_backup(id, BackupStatus::Available).await;
        volume
    }

    /// Sends an action, which must be accepted.
    pub async fn act(&self, id: BackupId, action: Value) {
        let path = format!("/v3/backups/{id}/action");
        let body = self.post(&path, action).await.expect(202);
        assert_eq!(body, Value::Null);
    }

    /// Asks to cancel what is done with a backup.
    pub async fn cancel(&self, id: BackupId) {
        self.act(id, json!({"emberkeep:cancel": null})).await;
    }

    /// Asks to delete a backup whatever its status.
    pub async fn force_delete(&self, id: BackupId) {
        self.act(id, json!({"os-force_delete": null})).await;
    }

    /// How far the job of a backup is, if one runs and has said so.
    pub async fn progress(&self, id: BackupId) -> Option<Progress> {
        let answer = self
            .get(&format!("/v3/backups/{id}/emberkeep-progress"))
            .await;
        (answer.status != 404).then(|| parse(&answer.expect(200)))
    }

    /// Waits until a backup has a status.
    ///
    /// # Panics
    /// When it comes to rest with another one, or takes a step that is not drawn.
    pub async fn until_backup(&self, id: BackupId, wanted: BackupStatus) -> Backup {
        until(&format!("backup {id} to be {wanted}"), async || {
            let backup = self.backup(id).await;
            assert!(
                backup.status == wanted || is_working(backup.status),
                "backup {id} is {}, not {wanted}: {:?}",
                backup.status,
                backup.fail_reason
            );
            (backup.status == wanted).then_some(backup)
        })
        .await
    }

    /// Waits until a backup is gone.
    ///
    /// # Panics
    /// When it comes to rest otherwise.
    pub async fn until_gone(&self, id: BackupId) {
        until(&format!("backup {id} to be gone"), async || {
            let Some(backup) = self.find_backup(id).await else {
                return Some(());
            };
            assert!(
                is_working(backup.status),
                "backup {id} is {}, not gone: {:?}",
                backup.status,
                backup.fail_reason
            );
            None
        })
        .await;
    }

    /// Between two looks a backup may take several steps, but only along the arrows.
    fn check_step(&self, id: BackupId, now: BackupStatus) {
        let before = self.seen.lock().expect("not poisoned").insert(id, now);
        if let Some(before) = before {
            assert!(
                can_come_to(before, now),
                "backup {id} was {before} and now is {now}"
            );
        }
    }
}

/// Whether a job of this status is still to come to an end.
fn is_working(status: BackupStatus) -> bool {
    match status {
        BackupStatus::Creating | BackupStatus::Restoring | BackupStatus::Deleting => true,
        BackupStatus::Available
        | BackupStatus::Deleted
        | BackupStatus::Error
        | BackupStatus::ErrorDeleting => false,
    }
}

fn can_come_to(from: BackupStatus, to: BackupStatus) -> bool {
    let mut reached = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(status) = open.pop() {
        for next in BackupStatus::ALL {
            if status.can_become(*next) && reached.insert(*next) {
                open.push(*next);
            }
        }
    }
    reached.contains(&to)
}
