//! A stack on which cases run one after the other: what they prepare, how they strike, how they
//! bring back what they struck.

use std::path::Path;
use std::time::Duration;

use common::domain::{BackupId, VolumeId};
use harness::volume;
use harness::{Listener, NewBackup, Process, TestStack, until, until_within};
use rand::Rng;
use rand::rngs::SmallRng;
use reqwest::Method;
use serde_json::{Value, json};

use crate::points::{Deed, Side};
use crate::rows::Needs;

/// Bytes of a volume under test: three batches.
const VOLUME: usize = 6 << 20;
/// How long a case waits for its own strike.
const STRIKE_MAX: Duration = Duration::from_secs(60);
/// How long a lease lives: short, and still long enough for a busy machine.
const LEASE: Duration = Duration::from_secs(3);
/// Makes a job long enough to be struck in its middle.
pub(crate) const SLOW: &str = "backup.segment.before=sleep(300);restore.seal.before=sleep(300)";

/// A stack and what its cases share.
pub(crate) struct Scene {
    pub(crate) stack: TestStack,
    needs: Needs,
    volumes: u32,
    /// A process was started with failpoints, or ended: it is not as cases expect it.
    api_is_odd: bool,
    workers_are_odd: bool,
}

/// A volume and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) id: VolumeId,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// A backup and what it must restore.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) id: BackupId,
    pub(crate) bytes: Vec<u8>,
}

/// What is there before the strike.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) source: Source,
    pub(crate) kept: Vec<Kept>,
}

/// A deed that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) deed: Deed,
    pub(crate) prepared: Prepared,
    /// The backup it is about.
    pub(crate) backup: BackupId,
    /// The new volume of a restore.
    pub(crate) target: Option<VolumeId>,
}

impl Scene {
    /// Starts a stack.
    pub(crate) async fn open(needs: Needs) -> Self {
        let build = TestStack::build()
            .workers(1)
            .set("jobs.lease", &format!("{}s", LEASE.as_secs()))
            .set("jobs.renew", "500ms");
        let build = match needs {
            Needs::Shared => build.spare_worker().spare_worker(),
            Needs::OwnBroker => build
                .spare_worker()
                .spare_worker()
                .private_broker()
                .proxied(),
            Needs::HastyBroker => build.private_broker_with("consumer_timeout = 5000"),
            Needs::NoRepublishing => build.spare_worker().set("jobs.republish_after", "1h"),
        };
        let mut stack = build.start().await;
        let is_hasty = needs == Needs::HastyBroker;
        if is_hasty {
            // It looks once a minute for what takes too long; channels opened from now on are looked at sooner.
            let sooner = "application:set_env(rabbit, channel_tick_interval, 1000).";
            stack.control_broker(&["eval", sooner]).await;
        }
        Self {
            stack,
            needs,
            volumes: 0,
            api_is_odd: is_hasty,
            workers_are_odd: is_hasty,
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        self.needs
    }

    /// As a case finds it: the api-service and the first worker run, and no failpoint does anything.
    pub(crate) async fn calm(&mut self) {
        self.stack.forget_strikes();
        let api = self.stack.api_service();
        if self.api_is_odd || api.is_gone() {
            api.restart_with("");
            self.api_is_odd = false;
            self.api_answers().await;
        }
        if self.workers_are_odd || self.stack.worker(1).is_gone() {
            for number in self.spare_workers() {
                self.stack.worker(number).end();
                self.stack.worker(number).arm("");
            }
            self.stack.worker(1).restart_with("");
            self.workers_are_odd = false;
        }
    }

    /// Numbers of the workers that only some cases start.
    fn spare_workers(&self) -> impl Iterator<Item = usize> + use<> {
        let count = match self.needs {
            Needs::Shared | Needs::OwnBroker => 2,
            Needs::NoRepublishing => 1,
            Needs::HastyBroker => 0,
        };
        2..2 + count
    }

    /// The process of a side; of workers the first.
    pub(crate) fn process(&self, side: Side) -> &Process {
        match side {
            Side::Api => self.stack.api_service(),
            Side::Worker => self.stack.worker(1),
        }
    }

    /// Starts a process anew with these failpoints.
    pub(crate) async fn arm(&mut self, side: Side, failpoints: &str) {
        self.process(side).restart_with(failpoints);
        match side {
            Side::Api => {
                self.api_is_odd = !failpoints.is_empty();
                self.api_answers().await;
            }
            Side::Worker => self.workers_are_odd = true,
        }
    }

    /// Starts another worker.
    pub(crate) fn start_worker(&mut self, number: usize, failpoints: &str) {
        self.workers_are_odd = true;
        self.stack.worker(number).restart_with(failpoints);
    }

    /// Waits until the api-service answers.
    pub(crate) async fn api_answers(&self) {
        until("the api-service to answer", async || {
            let answer = self.stack.api().try_send(Method::GET, "/healthz", None);
            answer.await.is_ok().then_some(())
        })
        .await;
    }

    /// Waits until a point has struck.
    pub(crate) async fn struck(&self, point: &str) {
        until_within(STRIKE_MAX, &format!("{point} to strike"), async || {
            self.stack.was_struck(point).then_some(())
        })
        .await;
    }

    /// Brings a killed process back; a worker perhaps by another in its place.
    pub(crate) async fn revive(&mut self, side: Side, random: &mut SmallRng) {
        match side {
            Side::Api => self.arm(Side::Api, "").await,
            Side::Worker if random.random_bool(0.5) => self.arm(Side::Worker, "").await,
            Side::Worker => {
                self.stack.worker(1).end();
                self.start_worker(2, "");
            }
        }
    }

    /// A volume of random text.
    pub(crate) async fn volume(&mut self, random: &mut SmallRng) -> Source {
        self.volumes += 1;
        let name = format!("v{}.raw", self.volumes);
        let bytes = volume::text(random.random(), VOLUME);
        let id = self.stack.managed_volume(&name, &bytes).await;
        Source { id, name, bytes }
    }

    /// Changes a block here and there.
    pub(crate) fn change(&self, source: &mut Source, random: &mut SmallRng) {
        let file = self.stack.volumes().join(&source.name);
        for _ in 0..4 {
            let at = random.random_range(0..VOLUME - 70_000);
            let bytes = volume::noise(random.random(), 70_000);
            source.bytes[at..at + 70_000].copy_from_slice(&bytes);
            volume::write_at(&file, at as u64, &bytes);
        }
    }

    /// What a deed needs to be there.
    pub(crate) async fn prepare(&mut self, deed: Deed, random: &mut SmallRng) -> Prepared {
        let mut source = self.volume(random).await;
        let mut kept = Vec::new();
        if matches!(deed, Deed::Incremental | Deed::Restore | Deed::Delete) {
            let id = self.stack.api().back_up(source.id).await.id;
            let bytes = source.bytes.clone();
            kept.push(Kept { id, bytes });
        }
        if deed == Deed::Incremental {
            self.change(&mut source, random);
        }
        Prepared { source, kept }
    }

    /// Asks for a deed. An api-service that dies over the request is started again, and asked what
    /// became of it: a client would look, and ask again only if nothing did.
    pub(crate) async fn begin(&mut self, deed: Deed, mut prepared: Prepared) -> Begun {
        let mark = format!("deed-{}", prepared.source.name);
        let mut target = None;
        let backup = match deed {
            Deed::Restore => {
                let id = prepared.kept[0].id;
                target = Some(self.begin_restore(id, &mark).await);
                id
            }
            Deed::Delete => {
                let id = prepared.kept.remove(0).id;
                self.begin_delete(id).await;
                id
            }
            Deed::Backup | Deed::Incremental | Deed::Cancel | Deed::Restart | Deed::Release => {
                let incremental = deed == Deed::Incremental;
                let id = self
                    .begin_backup(prepared.source.id, &mark, incremental)
                    .await;
                if deed != Deed::Cancel {
                    let bytes = prepared.source.bytes.clone();
                    prepared.kept.push(Kept { id, bytes });
                }
                id
            }
        };
        Begun {
            deed,
            prepared,
            backup,
            target,
        }
    }

    /// Sends a request that must be accepted; `None` when the api-service died over it, and was
    /// started again.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<Value> {
        let answer = self.stack.api().try_send(method, path, body).await;
        match answer {
            Ok(answer) => Some(answer.expect(202)),
            Err(_) => {
                // Its end takes a moment to be seen.
                self.arm(Side::Api, "").await;
                None
            }
        }
    }

    async fn begin_backup(&mut self, volume: VolumeId, mark: &str, incremental: bool) -> BackupId {
        loop {
            let wanted = NewBackup {
                name: Some(mark.to_owned()),
                incremental,
                ..NewBackup::of(volume)
            };
            let body = Some(json!({ "backup": wanted }));
            let answer = self.send(Method::POST, "/v3/backups", body).await;
            let id = answer.and_then(|answer| answer["backup"]["id"].as_str()?.parse().ok());
            if let Some(id) = id {
                return id;
            }
            let backups = self.stack.api().backups().await;
            let made = backups
                .iter()
                .find(|backup| backup.name.as_deref() == Some(mark));
            if let Some(made) = made {
                return made.id;
            }
        }
    }

    async fn begin_restore(&mut self, id: BackupId, mark: &str) -> VolumeId {
        loop {
            let body = Some(json!({"restore": {"volume_id": null, "name": mark}}));
            let path = format!("/v3/backups/{id}/restore");
            let answer = self.send(Method::POST, &path, body).await;
            let volume =
                answer.and_then(|answer| answer["restore"]["volume_id"].as_str()?.parse().ok());
            if let Some(volume) = volume {
                return volume;
            }
            let volumes = self.stack.api().volumes().await;
            let made = volumes
                .iter()
                .find(|volume| volume.name.as_deref() == Some(mark));
            if let Some(made) = made {
                return made.id;
            }
        }
    }

    async fn begin_delete(&mut self, id: BackupId) {
        use common::domain::BackupStatus::Available;
        let path = format!("/v3/backups/{id}");
        while self.send(Method::DELETE, &path, None).await.is_none() {
            let left = self.stack.api().find_backup(id).await;
            if left.is_none_or(|backup| backup.status != Available) {
                return;
            }
        }
    }

    /// Waits until a running backup has sealed something. A failpoint that struck before, over what an
    /// earlier case left to clean, is set again.
    pub(crate) async fn in_the_middle(&self, backup: BackupId) {
        until("the backup to seal some data", async || {
            let worker = self.stack.worker(1);
            if worker.is_gone() {
                self.stack.forget_strikes();
                worker.end();
                worker.start();
            }
            (!self.stack.target().segments_of(backup).is_empty()).then_some(())
        })
        .await;
    }

    /// Cancels a backup, over the death of the api-service too.
    pub(crate) async fn cancel(&mut self, id: BackupId) {
        let path = format!("/v3/backups/{id}/action");
        let body = json!({"emberkeep:cancel": null});
        // A cancel that was accepted before the death may be asked for again.
        while self
            .send(Method::POST, &path, Some(body.clone()))
            .await
            .is_none()
        {
            let status = self.stack.api().backup(id).await.status;
            if status != common::domain::BackupStatus::Creating {
                return;
            }
        }
    }

    /// How long a lease lives without a renewal.
    pub(crate) fn lease(&self) -> Duration {
        LEASE
    }

    /// Writes all of a volume anew, as its owner would.
    pub(crate) fn scribble(&self, volume: VolumeId, bytes: &mut [u8], random: &mut SmallRng) {
        scribble(&self.stack.file_of(volume), bytes, random);
    }

    /// Waits until the first worker, let go after its lease was over, says that it has no job.
    pub(crate) async fn zombie_gave_up(&self, workers: &mut Listener) {
        workers
            .hear("the stopped worker to give its job up", |event| {
                event.subject == "worker-1" && event.data["running"] == json!([])
            })
            .await;
    }
}

/// Fills the beginning of a file, and its bytes as they are known, with noise.
pub(crate) fn scribble(file: &Path, bytes: &mut [u8], random: &mut SmallRng) {
    bytes.copy_from_slice(&volume::noise(random.random(), bytes.len()));
    volume::write_at(file, 0, bytes);
}
