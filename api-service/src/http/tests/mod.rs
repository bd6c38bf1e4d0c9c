//! The API as a client meets it: the whole router on a real database, without a broker.
//!
//! Where a job would run, the test is the worker: it settles the job by the store's own method.
//! Bodies are compared with recordings of the reference (`recorded.json`).

mod admin;
mod backup_errors;
mod backups;
mod catalogue;
mod lists;
mod metadata;
mod records;
mod replay;
mod restores;
mod routes;
mod snapshots;
mod trouble;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use common::broker::LinkState;
use common::config::{Settings, VolumeBackend, VolumeBackendDriver};
use common::domain::{
    BackupId, ClaimId, Incarnation, SnapshotId, SystemClock, Token, VolumeId, VolumeSource,
};
use common::messages::events::WorkerData;
use common::messages::rpc::{Claim, Outcome};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::http::router;
use crate::jobs::{LiveWorkers, ProgressBoard};
use crate::state::AppState;
use crate::store::tests::databases::fresh_database;
use crate::store::{AttemptState, Store};

/// A project as Keystone would write it.
const PROJECT: &str = "a11fa000000000000000000000000001";
/// Well formed, and nobody's id.
const NOBODY: &str = "11111111-2222-4333-8444-555555555555";

/// An api-service without a broker, its database in a directory of its own.
struct Api {
    router: Router,
    state: AppState,
    broker: watch::Sender<LinkState>,
    _directory: TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The message of a fault, which must stand under `key` with the answer's own code.
    #[track_caller]
    fn fault(&self, status: u16, key: &str) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        let members: Vec<&String> = self.body.as_object().unwrap().keys().collect();
        assert_eq!(members, [key]);
        assert_eq!(self.body[key]["code"], status);
        self.body[key]["message"].as_str().unwrap()
    }

    #[track_caller]
    fn good(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Api {
    /// One worker was seen in the zone `nova`, with the backend `fast`.
    async fn new() -> Self {
        let api = Self::without_workers(|_| {}).await;
        api.worker_appears("nova").await;
        api
    }

    async fn without_workers(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.database.url = fresh_database(directory.path()).await;
        let backend = VolumeBackend {
            driver: VolumeBackendDriver::File,
            path: directory.path().join("volumes"),
            keep_snapshot: false,
            restore_differing: false,
        };
        settings.volume_backends.insert(token("fast"), backend);
        change(&mut settings);
        let settings = Arc::new(settings);
        let clock = Arc::new(SystemClock);
        let store = Store::open(settings.clone(), clock.clone()).await.unwrap();
        let (broker, link) = watch::channel(LinkState::Up { epoch: 1 });
        let state = AppState {
            store,
            settings,
            clock,
            workers: LiveWorkers::new(Duration::from_secs(60)),
            progress: ProgressBoard::default(),
            broker: link.clone(),
            publishing: link,
            leading: watch::channel(true).1,
        };
        Self {
            router: router(state.clone()),
            state,
            broker,
            _directory: directory,
        }
    }

    async fn worker_appears(&self, zone: &str) {
        let worker = self.worker_was_seen(zone).await;
        self.state.workers.heard(worker);
    }

    /// A worker that is not there any more.
    async fn worker_was_seen(&self, zone: &str) -> WorkerData {
        let worker = WorkerData {
            worker: "worker-1".into(),
            incarnation: Incarnation::new(),
            zone: token(zone),
            volume_backends: vec![token("fast")],
            targets: vec![token("default")],
            slots: 4,
            running: vec![],
            version: "0".to_owned(),
        };
        let mut tx = self.state.store.write().await.unwrap();
        tx.saw_worker(&worker, false).await.unwrap();
        tx.commit().await.unwrap();
        worker
    }

    async fn send(&self, request: Request) -> Answer {
        answer(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// A request in a version, with a body or without.
    async fn ask(&self, version: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "controller:8776")
            .header("OpenStack-API-Version", format!("volume {version}"));
        let request = match body {
            None => request.body(Body::empty()),
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
        };
        self.send(request.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("3.71", "GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("3.71", "POST", path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("3.71", "PUT", path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask("3.71", "DELETE", path, None).await
    }

    /// A volume of so many GiB that a worker has made.
    async fn volume(&self, size_gib: u32) -> String {
        let body = json!({"volume": {"size": size_gib, "name": "v", "metadata": {"a": "b"}}});
        let created = self.post("/v3/volumes", body).await.good(202);
        let id = text(&created["volume"]["id"]);
        let source = format!("volume-{id}");
        self.volume_is_made(&id, &source, size_gib).await;
        id
    }

    /// The worker's part of making a volume, or of taking one over.
    async fn volume_is_made(&self, id: &str, source: &str, size_gib: u32) {
        let volume: VolumeId = id.parse().unwrap();
        let mut tx = self.state.store.write().await.unwrap();
        let job = tx.unsettled_job_of_volume(volume).await.unwrap().unwrap();
        let outcome = Outcome::VolumeDone {
            source: VolumeSource::new(source).unwrap(),
            size_gib,
        };
        tx.settle(&job, &outcome, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A snapshot that a worker has made.
    async fn snapshot(&self, volume: &str, name: &str) -> String {
        let body = json!({"snapshot": {"volume_id": volume, "name": name}});
        let created = self.post("/v3/snapshots", body).await.good(202);
        let id = text(&created["snapshot"]["id"]);
        self.snapshot_job_ends(&id, None).await;
        id
    }

    /// The worker's part of making or removing a snapshot, or why it could not.
    async fn snapshot_job_ends(&self, id: &str, failure: Option<&str>) {
        let snapshot: SnapshotId = id.parse().unwrap();
        let mut tx = self.state.store.write().await.unwrap();
        let job = tx.unsettled_job_of_snapshot(snapshot).await.unwrap();
        let job = job.unwrap();
        let claim = Claim {
            job_id: job.id,
            claim_id: ClaimId::new(),
            worker: "worker-1".into(),
            incarnation: Incarnation::new(),
        };
        assert!(tx.grant_job(job.id, &claim, false).await.unwrap());
        let job = tx.job(job.id).await.unwrap().unwrap();
        let granted = tx.snapshot_was_granted(snapshot, job.generation);
        granted.await.unwrap();
        let outcome = match failure {
            None => Outcome::VolumeDone {
                source: VolumeSource::new("v").unwrap(),
                size_gib: 1,
            },
            Some(reason) => Outcome::Failed {
                reason: reason.to_owned(),
            },
        };
        tx.settle(&job, &outcome, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn snapshot_status(&self, id: &str) -> String {
        let shown = self.get(&format!("/v3/snapshots/{id}")).await.good(200);
        text(&shown["snapshot"]["status"])
    }

    async fn reset_volume(&self, id: &str, status: &str) {
        let path = format!("/v3/volumes/{id}/action");
        let body = json!({"os-reset_status": {"status": status}});
        assert_eq!(self.post(&path, body).await.status, 202);
    }

    /// A backup that is being made.
    async fn creating_backup(&self, volume: &str, more: Value) -> String {
        let mut body = json!({"backup": {"volume_id": volume}});
        for (key, value) in more.as_object().unwrap() {
            body["backup"][key] = value.clone();
        }
        let created = self.post("/v3/backups", body).await.good(202);
        text(&created["backup"]["id"])
    }

    /// A backup that a worker has made.
    async fn backup(&self, volume: &str, more: Value) -> String {
        let id = self.creating_backup(volume, more).await;
        let outcome = Outcome::BackedUp {
            object_count: 2,
            data_timestamp: Timestamp::now(),
        };
        self.backup_job_ends(&id, outcome).await;
        id
    }

    /// The worker's part of whatever a backup's job is.
    async fn backup_job_ends(&self, id: &str, outcome: Outcome) {
        let backup: BackupId = id.parse().unwrap();
        let mut tx = self.state.store.write().await.unwrap();
        let job = tx.unsettled_job_of_backup(backup).await.unwrap().unwrap();
        if let Outcome::BackedUp { .. } = outcome {
            tx.attempt_was_granted(backup, 1, 1).await.unwrap();
            tx.move_attempt(backup, 1, AttemptState::Live, AttemptState::Committed)
                .await
                .unwrap();
        }
        tx.settle(&job, &outcome, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn backup_status(&self, id: &str) -> String {
        let shown = self.get(&format!("/v3/backups/{id}")).await.good(200);
        text(&shown["backup"]["status"])
    }

    async fn volume_status(&self, id: &str) -> String {
        let shown = self.get(&format!("/v3/volumes/{id}")).await.good(200);
        text(&shown["volume"]["status"])
    }
}

async fn answer(response: axum::response::Response) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))),
    };
    Answer {
        status,
        headers,
        body,
    }
}

fn token(text: &str) -> Token {
    Token::new(text).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What the reference answered in a recorded case.
fn recorded(case: &str) -> Value {
    let all: BTreeMap<String, Value> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    all[case].clone()
}

/// Checks that both have the same members, of the same types; null goes with every type.
#[track_caller]
fn assert_same_shape(ours: &Value, theirs: &Value) {
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(ours), keys(theirs));
    for (key, our_value) in ours.as_object().unwrap() {
        let their_value = &theirs[key];
        if !our_value.is_null() && !their_value.is_null() {
            let kind = std::mem::discriminant::<Value>;
            assert_eq!(kind(our_value), kind(their_value), "{key}: {our_value}");
        }
    }
}
