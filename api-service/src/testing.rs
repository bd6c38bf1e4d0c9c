//! A real database in a directory of its own, a clock that a test turns, and the moves of a worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::broker::RpcHandler;
use common::config::{Settings, VolumeBackend, VolumeBackendDriver};
use common::domain::{
    BackupId, BackupStatus, ClaimId, Clock, Incarnation, JobId, Token, VolumeId, VolumeStatus,
};
use common::messages::events::WorkerData;
use common::messages::rpc::{
    Claim, Claimed, Commit, Committed, Fence, Finish, Finished, Grant, Outcome, Reply, Request,
};
use common::messages::sheet::{Sheet, VolumeAction, WorkTotals};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::jobs::Protocol;
use crate::publishers::Desk;
use crate::store::tests::databases::fresh_database;
use crate::store::{BackupRow, Caller, JobRow, NewBackup, NewVolume, Scope, Store, VolumeRow};

/// A clock that stands until it is turned.
#[derive(Debug)]
pub(crate) struct TurnedClock(Mutex<Timestamp>);

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        // Two things never happen at the same instant.
        *now += SignedDuration::from_micros(1);
        *now
    }
}

/// Says why a test cannot run.
#[expect(
    clippy::print_stdout,
    reason = "`SKIPPED:` is counted by who runs the tests"
)]
pub(crate) fn skip(why: &str) {
    println!("SKIPPED: {why}");
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) protocol: Protocol,
    pub(crate) caller: Caller,
    clock: Arc<TurnedClock>,
    pub(crate) settings: Arc<Settings>,
    _directory: tempfile::TempDir,
}

pub(crate) fn token(text: &str) -> Token {
    Token::new(text).unwrap()
}

pub(crate) fn caller(project: &str) -> Caller {
    Caller {
        project_id: project.into(),
        user_id: "user".into(),
        is_admin: false,
        request_id: "req-1".to_owned(),
        traceparent: None,
    }
}

/// A worker in the default zone that reaches everything.
pub(crate) fn worker(name: &str, incarnation: Incarnation) -> WorkerData {
    WorkerData {
        worker: name.into(),
        incarnation,
        zone: token("nova"),
        volume_backends: vec![token("fast")],
        targets: vec![token("default")],
        slots: 4,
        running: vec![],
        version: "0".to_owned(),
    }
}

impl World {
    /// A fresh database that has seen a worker in zone `nova`.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.database.url = fresh_database(directory.path()).await;
        settings.volume_backends = BTreeMap::from([(
            token("fast"),
            VolumeBackend {
                driver: VolumeBackendDriver::File,
                path: "/nowhere".into(),
                keep_snapshot: false,
                restore_differing: false,
            },
        )]);
        settings.quota.backups = 1000;
        settings.quota.volumes = 1000;
        change(&mut settings);
        let settings = Arc::new(settings);
        let start = "2026-03-01T10:00:00Z".parse().unwrap();
        let clock = Arc::new(TurnedClock(Mutex::new(start)));
        let store = Store::open(Arc::clone(&settings), clock.clone())
            .await
            .unwrap();
        let mut tx = store.write().await.unwrap();
        tx.saw_worker(&worker("w", Incarnation::new()), false)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Self {
            protocol: Protocol::new(store.clone(), Arc::new(Desk::new(store.clone()))),
            store,
            caller: caller("p"),
            clock,
            settings,
            _directory: directory,
        }
    }

    pub(crate) fn turn(&self, time: SignedDuration) {
        *self.clock.0.lock().unwrap() += time;
    }

    /// A volume that is ready, of 1 GiB.
    pub(crate) async fn volume(&self) -> VolumeRow {
        let new = NewVolume {
            size_gib: 1,
            name: Some("vol".to_owned()),
            ..NewVolume::default()
        };
        let row = self.store.create_volume(&self.caller, new).await.unwrap();
        let job = self.job_of_volume(row.id).await;
        let (fence, grant) = self.grant(job.id).await;
        let Sheet::Volume(sheet) = grant.sheet else {
            panic!("a volume job has a volume sheet");
        };
        assert_eq!(sheet.action, VolumeAction::Create);
        let outcome = Outcome::VolumeDone {
            source: sheet.volume.source,
            size_gib: sheet.volume.size_gib,
        };
        assert_eq!(self.finish(fence, outcome).await, Finished::Settled);
        self.reload_volume(row.id).await
    }

    pub(crate) fn new_backup(&self, volume: VolumeId) -> NewBackup {
        NewBackup {
            volume_id: volume,
            name: Some("b".to_owned()),
            description: None,
            container: None,
            incremental: false,
            force: false,
            snapshot_id: None,
            metadata: BTreeMap::new(),
            availability_zone: None,
        }
    }

    /// A backup that is being created, and its job.
    pub(crate) async fn creating(&self, volume: VolumeId) -> (BackupRow, JobRow) {
        let new = self.new_backup(volume);
        let row = self.store.create_backup(&self.caller, new).await.unwrap();
        let job = self.job_of(row.id).await;
        (row, job)
    }

    /// A whole backup.
    pub(crate) async fn available(&self, volume: VolumeId, incremental: bool) -> BackupRow {
        let new = NewBackup {
            incremental,
            ..self.new_backup(volume)
        };
        let row = self.store.create_backup(&self.caller, new).await.unwrap();
        let job = self.job_of(row.id).await;
        let (fence, _) = self.grant(job.id).await;
        self.complete(fence).await;
        let row = self.reload(row.id).await;
        assert_eq!(row.status, BackupStatus::Available);
        row
    }

    /// Commits and finishes a granted backup job.
    pub(crate) async fn complete(&self, fence: Fence) {
        let job = self.store.job(fence.job_id).await.unwrap().unwrap();
        let attempt = job.attempt.unwrap();
        let commit = Commit { fence, attempt };
        assert_eq!(self.ask::<Committed>(commit).await, Committed::Passed);
        let done = self.backed_up();
        assert_eq!(self.finish(fence, done).await, Finished::Settled);
    }

    pub(crate) fn backed_up(&self) -> Outcome {
        Outcome::BackedUp {
            object_count: 3,
            data_timestamp: self.clock.now(),
        }
    }

    /// Asks as a worker does, through the very bytes that travel.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, request: impl Into<Request>) -> A {
        match self.reply(request).await {
            Reply::Answer(answer) => answer,
            Reply::TryAgain(why) | Reply::Malformed(why) => panic!("{why}"),
        }
    }

    pub(crate) async fn reply<A: DeserializeOwned>(&self, request: impl Into<Request>) -> Reply<A> {
        let bytes = self.protocol.handle(request.into()).await;
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(crate) fn claim_for(&self, job_id: JobId) -> Claim {
        Claim {
            job_id,
            claim_id: ClaimId::new(),
            worker: "w".into(),
            incarnation: Incarnation::new(),
        }
    }

    pub(crate) async fn grant(&self, job: JobId) -> (Fence, Grant) {
        let claim = self.claim_for(job);
        match self.ask::<Claimed>(claim.clone()).await {
            Claimed::Granted(grant) => (
                Fence {
                    job_id: job,
                    generation: grant.generation,
                    claim_id: claim.claim_id,
                },
                *grant,
            ),
            other => panic!("not granted: {other:?}"),
        }
    }

    pub(crate) async fn finish(&self, fence: Fence, outcome: Outcome) -> Finished {
        self.ask(Finish {
            fence,
            outcome,
            totals: WorkTotals::default(),
        })
        .await
    }

    /// Ends the lease of a job as the reaper does.
    pub(crate) async fn end_lease(&self, job: JobId) {
        let seen = self.store.job(job).await.unwrap().unwrap();
        crate::jobs::reaper::end_lease(&self.store, &seen)
            .await
            .unwrap();
    }

    pub(crate) async fn job(&self, job: JobId) -> JobRow {
        self.store.job(job).await.unwrap().unwrap()
    }

    pub(crate) async fn job_of(&self, backup: BackupId) -> JobRow {
        let job = self.store.unsettled_job_of_backup(backup).await.unwrap();
        job.expect("a job works on the backup")
    }

    pub(crate) async fn job_of_volume(&self, volume: VolumeId) -> JobRow {
        let mut tx = self.store.write().await.unwrap();
        let job = tx.unsettled_job_of_volume(volume).await.unwrap();
        job.expect("a job works on the volume")
    }

    /// Clean jobs that wait, due or not.
    pub(crate) async fn cleans(&self) -> Vec<JobRow> {
        self.turn(SignedDuration::from_hours(48));
        let waiting = self.store.waiting_jobs().await.unwrap();
        self.turn(SignedDuration::from_hours(-48));
        waiting
            .into_iter()
            .filter(|job| job.kind() == common::domain::JobKind::Clean)
            .collect()
    }

    pub(crate) async fn reload(&self, id: BackupId) -> BackupRow {
        self.store.backup(&Scope::All, id).await.unwrap()
    }

    pub(crate) async fn is_gone(&self, id: BackupId) -> bool {
        self.store.backup(&Scope::All, id).await.is_err()
    }

    pub(crate) async fn reload_volume(&self, id: VolumeId) -> VolumeRow {
        self.store.volume(&Scope::All, id).await.unwrap()
    }

    pub(crate) async fn volume_is(&self, id: VolumeId, status: VolumeStatus) {
        assert_eq!(self.reload_volume(id).await.status, status);
    }

    pub(crate) async fn backup_is(&self, id: BackupId, status: BackupStatus) {
        assert_eq!(self.reload(id).await.status, status);
    }
}
