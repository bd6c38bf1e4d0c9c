//! Snapshots over HTTP.

use common::domain::{SnapshotId, SnapshotStatus, VolumeId, VolumeStatus};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Api, id_in, parse};
use crate::model::Snapshot;
use crate::wait::until;

impl Api {
    /// Asks for a snapshot of a volume, and gives the answer.
    pub async fn ask_for_snapshot(&self, volume: VolumeId) -> Answer {
        let body = json!({"snapshot": {"volume_id": volume.to_string()}});
        self.post("/v3/snapshots", body).await
    }

    /// Takes a snapshot of a volume and waits for it.
    pub async fn take_snapshot(&self, volume: VolumeId) -> SnapshotId {
        let id = id_in(&self.ask_for_snapshot(volume).await.expect(202)["snapshot"]);
        self.until_snapshot(id, SnapshotStatus::Available).await;
        id
    }

    /// Makes a volume of one GiB from a snapshot and waits for it.
    pub async fn volume_from(&self, snapshot: SnapshotId) -> VolumeId {
        let wanted = json!({"size": 1, "snapshot_id": snapshot.to_string()});
        let id = id_in(&self.ask_for_volume(wanted).await.expect(202)["volume"]);
        self.until_volume(id, VolumeStatus::Available).await;
        id
    }

    /// The snapshot, or `None` when it is not there.
    pub async fn find_snapshot(&self, id: SnapshotId) -> Option<Snapshot> {
        let answer = self.get(&format!("/v3/snapshots/{id}")).await;
        (answer.status != 404).then(|| parse(&answer.expect(200)["snapshot"]))
    }

    /// Every snapshot of every project.
    pub async fn snapshots(&self) -> Vec<Snapshot> {
        self.list("snapshots").await.iter().map(parse).collect()
    }

    /// Waits until a snapshot has a status.
    ///
    /// # Panics
    /// When it comes to rest with another one.
    pub async fn until_snapshot(&self, id: SnapshotId, wanted: SnapshotStatus) -> Snapshot {
        use SnapshotStatus::{BackingUp, Creating, Deleting};
        until(&format!("snapshot {id} to be {wanted}"), async || {
            let snapshot = self.find_snapshot(id).await;
            let snapshot = snapshot.unwrap_or_else(|| panic!("snapshot {id} is gone"));
            let working = [Creating, BackingUp, Deleting].contains(&snapshot.status);
            assert!(
                snapshot.status == wanted || working,
                "snapshot {id} is {}, not {wanted}",
                snapshot.status
            );
            (snapshot.status == wanted).then_some(snapshot)
        })
        .await
    }

    /// Waits until a snapshot is gone.
    pub async fn until_snapshot_is_gone(&self, id: SnapshotId) {
        until(&format!("snapshot {id} to be gone"), async || {
            self.find_snapshot(id).await.is_none().then_some(())
        })
        .await;
    }

    /// Deletes a snapshot and waits until it is gone.
    ///
    /// # Panics
    /// When that is not accepted.
    pub async fn delete_snapshot(&self, id: SnapshotId) {
        let path = format!("/v3/snapshots/{id}");
        let body = self.send(Method::DELETE, &path, None).await.expect(202);
        assert_eq!(body, Value::Null);
        self.until_snapshot_is_gone(id).await;
    }
}
