//! Volumes over HTTP.

use common::domain::{VolumeId, VolumeStatus};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Api, id_in, parse};
use crate::model::Volume;
use crate::wait::until;

impl Api {
    /// Asks for a volume, and gives the answer.
    pub async fn ask_for_volume(&self, body: Value) -> Answer {
        self.post("/v3/volumes", json!({ "volume": body })).await
    }

    /// Makes an empty volume and waits for it.
    pub async fn create_volume(&self, size_gib: u64) -> VolumeId {
        let answer = self.ask_for_volume(json!({ "size": size_gib })).await;
        let id = id_in(&answer.expect(202)["volume"]);
        self.until_volume(id, VolumeStatus::Available).await;
        id
    }

    /// Asks to take over a file of the volume backend `main`, and gives the answer.
    pub async fn ask_to_manage(&self, source: &str) -> Answer {
        let body = json!({"volume": {"host": "emberkeep@main", "ref": {"source-name": source}}});
        self.post("/v3/os-volume-manage", body).await
    }

    /// Takes over a file of the volume backend and waits for it.
    pub async fn manage_volume(&self, source: &str) -> VolumeId {
        let id = id_in(&self.ask_to_manage(source).await.expect(202)["volume"]);
        self.until_volume(id, VolumeStatus::Available).await;
        id
    }

    /// The volume, or `None` when it is not there.
    pub async fn find_volume(&self, id: VolumeId) -> Option<Volume> {
        let answer = self.get(&format!("/v3/volumes/{id}")).await;
        (answer.status != 404).then(|| parse(&answer.expect(200)["volume"]))
    }

    /// The volume, which must be there.
    ///
    /// # Panics
    /// When it is not.
    pub async fn volume(&self, id: VolumeId) -> Volume {
        self.find_volume(id)
            .await
            .unwrap_or_else(|| panic!("volume {id} is gone"))
    }

    /// Every volume of every project.
    pub async fn volumes(&self) -> Vec<Volume> {
        self.list("volumes").await.iter().map(parse).collect()
    }

    /// Waits until a volume has a status.
    ///
    /// # Panics
    /// When it comes to rest with another one.
    pub async fn until_volume(&self, id: VolumeId, wanted: VolumeStatus) -> Volume {
        use VolumeStatus::{BackingUp, Creating, Deleting, RestoringBackup};
        until(&format!("volume {id} to be {wanted}"), async || {
            let volume = self.volume(id).await;
            let working = [Creating, BackingUp, Deleting, RestoringBackup].contains(&volume.status);
            assert!(
                volume.status == wanted || working,
                "volume {id} is {}, not {wanted}",
                volume.status
            );
            (volume.status == wanted).then_some(volume)
        })
        .await
    }

    /// Deletes a volume and waits until it is gone.
    ///
    /// # Panics
    /// When it comes to rest otherwise.
    pub async fn delete_volume(&self, id: VolumeId) {
        let path = format!("/v3/volumes/{id}");
        self.send(Method::DELETE, &path, None).await.expect(202);
        self.until_no_volume(id).await;
    }

    /// Waits until a volume that is being deleted is gone.
    ///
    /// # Panics
    /// When it comes to rest otherwise.
    pub async fn until_no_volume(&self, id: VolumeId) {
        until(&format!("volume {id} to be gone"), async || {
            let Some(volume) = self.find_volume(id).await else {
                return Some(());
            };
            assert_eq!(volume.status, VolumeStatus::Deleting, "volume {id}");
            None
        })
        .await;
    }

    /// Marks a volume as attached.
    pub async fn attach(&self, id: VolumeId) {
        let attachment = json!({"os-attach": {
            "instance_uuid": "95d9ef50-507d-11e5-b970-0800200c9a66", "mountpoint": "/dev/vdc", "mode": "rw",
        }});
        let path = format!("/v3/volumes/{id}/action");
        self.post(&path, attachment).await.expect(202);
        self.until_volume(id, VolumeStatus::InUse).await;
    }

    /// Marks it as free again.
    pub async fn detach(&self, id: VolumeId) {
        let path = format!("/v3/volumes/{id}/action");
        self.post(&path, json!({"os-detach": {}})).await.expect(202);
        self.until_volume(id, VolumeStatus::Available).await;
    }
}
