//! Deadlines of jobs that nobody takes. Queues and messages need a broker; see the system tests.

use common::domain::{BackupStatus, Incarnation, VolumeStatus};
use common::messages::rpc::{Commit, Committed, Fail, FailCause, Failed};

use super::*;
use crate::testing::{World, worker};

struct Bench {
    world: World,
    workers: LiveWorkers,
    reconciler: Reconciler,
}

async fn bench() -> Bench {
    let world = World::new().await;
    let workers = LiveWorkers::new(Duration::from_secs(30));
    let stop = CancellationToken::new();
    stop.cancel();
    let tracker = tokio_util::task::TaskTracker::new();
    let link = Link::start(&world.settings.amqp, "test".to_owned(), &tracker, stop);
    let reconciler = Reconciler {
        store: world.store.clone(),
        workers: workers.clone(),
        link,
        unserved: HashMap::new(),
        looked_at: Instant::now(),
        over_at: None,
    };
    Bench {
        world,
        workers,
        reconciler,
    }
}

impl Bench {
    /// A look after so much time that counts.
    async fn look_after(&mut self, elapsed: Duration) {
        let reconciler = &mut self.reconciler;
        let waiting = reconciler.store.waiting_jobs().await.unwrap();
        reconciler.count_unserved(&waiting, elapsed);
        for job in &waiting {
            if let Some(reason) = reconciler.why_end(job) {
                end_waiting(&reconciler.store, job, &reason).await.unwrap();
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_job_without_a_live_worker_ends_after_the_deadline() {
    let mut bench = bench().await;
    let volume = bench.world.volume().await;
    let (backup, _) = bench.world.creating(volume.id).await;
    bench.workers.hears();
    bench.look_after(HOUR / 2).await;
    bench
        .world
        .backup_is(backup.id, BackupStatus::Creating)
        .await;
    bench.look_after(HOUR / 2).await;
    let row = bench.world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert!(row.fail_reason.unwrap().contains("zone nova"));
    bench
        .world
        .volume_is(volume.id, VolumeStatus::Available)
        .await;
}

#[tokio::test]
async fn time_in_which_nobody_could_be_heard_does_not_count() {
    let mut bench = bench().await;
    let volume = bench.world.volume().await;
    let (backup, _) = bench.world.creating(volume.id).await;
    bench.look_after(HOUR * 10).await;
    bench.workers.hears();
    bench.workers.heard(worker("w", Incarnation::new()));
    // A busy worker is a live one: the job waits as long as it takes.
    bench.look_after(HOUR * 10).await;
    bench
        .world
        .backup_is(backup.id, BackupStatus::Creating)
        .await;
}

#[tokio::test]
async fn a_give_up_that_nobody_takes_is_ended_by_the_owner() {
    let mut bench = bench().await;
    let world = &bench.world;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let fail = Fail {
        fence,
        cause: FailCause::Lasting,
        reason: "it cannot be read".to_owned(),
    };
    assert_eq!(world.ask::<Failed>(fail).await, Failed::Recorded);
    world.end_lease(job.id).await;
    bench.look_after(Duration::ZERO).await;
    let world = &bench.world;
    world.backup_is(backup.id, BackupStatus::Creating).await;
    world.turn(SignedDuration::from_mins(11));
    bench.look_after(Duration::ZERO).await;
    let world = &bench.world;
    let row = world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert_eq!(row.fail_reason.unwrap(), "it cannot be read");
    assert_eq!(world.cleans().await.len(), 2);
}

#[tokio::test]
async fn a_committed_backup_waits_for_a_worker_for_ever() {
    let mut bench = bench().await;
    let world = &bench.world;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let _: Committed = world.ask(Commit { fence, attempt: 1 }).await;
    world.end_lease(job.id).await;
    bench.workers.hears();
    bench.look_after(HOUR * 100).await;
    bench
        .world
        .backup_is(backup.id, BackupStatus::Creating)
        .await;
    assert_eq!(bench.world.job(job.id).await.state, JobState::Queued);
}

#[test]
fn each_message_sent_for_nothing_doubles_the_patience() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let volume = world.volume().await;
        let (_, mut job) = world.creating(volume.id).await;
        let after = Duration::from_secs(600);
        let minutes = |minutes| job.queued_at + SignedDuration::from_mins(minutes);
        let (ten, twenty) = (minutes(10), minutes(20));
        assert!(!is_overdue(&job, minutes(9), after));
        assert!(is_overdue(&job, ten, after));
        job.republished = 1;
        assert!(!is_overdue(&job, ten, after));
        assert!(is_overdue(&job, twenty, after));
    });
}
