//! Requests that race, on a real database file with real threads. Each race runs a few hundred times,
//! or as often as `EMBERKEEP_RACES` says; one of the two always wins, whole.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::messages::rpc::{Finished, Outcome};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::trouble::hurry;
use super::*;

/// How often each race is run.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a test may take comes from whoever starts it"
)]
fn rounds() -> usize {
    let asked = std::env::var("EMBERKEEP_RACES").ok();
    asked.map_or(200, |count| {
        count.parse().expect("EMBERKEEP_RACES is a number")
    })
}

async fn world(change: impl FnOnce(&mut Settings)) -> Arc<World> {
    let world = World::with(change).await;
    // The races are about order, not about what a power cut leaves.
    hurry(&world.store).await;
    Arc::new(world)
}

/// Runs something on a thread of its own once all of a race are there; some hesitate a little.
fn racer<T: Send + 'static>(
    start: &Arc<Barrier>,
    hesitates: usize,
    deed: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let start = Arc::clone(start);
    #[expect(
        clippy::disallowed_methods,
        reason = "each racer is awaited by the test itself"
    )]
    tokio::spawn(async move {
        start.wait().await;
        for _ in 0..hesitates {
            tokio::task::yield_now().await;
        }
        deed.await
    })
}

/// As many dependents as live rows that name it, and no more.
async fn dependents_are_counted(world: &World, parent: BackupId, live: u64) {
    assert_eq!(world.reload(parent).await.dependents, live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_parents_delete_and_its_increments_creation_one_wins() {
    let world = world(|_| {}).await;
    let volume = world.volume().await;
    for round in 0..rounds() {
        let parent = world.available(volume.id, false).await;
        let start = Arc::new(Barrier::new(3));
        let create = |hesitates| {
            let world = Arc::clone(&world);
            let new = NewBackup {
                incremental: true,
                ..world.new_backup(volume.id)
            };
            racer(&start, hesitates, async move {
                world.store.create_backup(&world.caller, new).await
            })
        };
        let creates = [create(round % 3), create(round % 5)];
        let remover = Arc::clone(&world);
        let removed = racer(&start, round % 2, async move {
            delete(&remover, parent.id, round % 2 == 0).await
        });
        let removed = removed.await.unwrap();
        let mut children = Vec::new();
        for created in creates {
            match created.await.unwrap() {
                Ok(child) => children.push(child),
                Err(error) => {
                    let refused = refusal(error);
                    let expected = matches!(
                        refused,
                        Refusal::NoParent | Refusal::Busy | Refusal::VolumeNotBackupable(_)
                    );
                    assert!(expected, "{refused:?}");
                }
            }
        }
        match (removed, children.as_slice()) {
            (Ok(()), []) => {}
            (Err(error), [child]) => {
                assert_eq!(refusal(error), Refusal::HasDependents);
                assert_eq!(child.parent_id, Some(parent.id));
                world.backup_is(parent.id, BackupStatus::Available).await;
                dependents_are_counted(&world, parent.id, 1).await;
                delete(&world, child.id, true).await.unwrap();
                assert!(world.is_gone(child.id).await);
                dependents_are_counted(&world, parent.id, 0).await;
                delete(&world, parent.id, false).await.unwrap();
            }
            other => panic!("one wins, and one only: {other:?}"),
        }
        work_off_delete(&world, parent.id).await;
        world.volume_is(volume.id, VolumeStatus::Available).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_is_neither_passed_nor_negative_whoever_comes_and_goes_at_once() {
    const LIMIT: i64 = 3;
    let world = world(|settings| settings.quota.backups = LIMIT).await;
    let old_volume = world.volume().await;
    let mut volumes = Vec::new();
    for _ in 0..4 {
        volumes.push(world.volume().await.id);
    }
    for round in 0..rounds() {
        // One that goes while four come.
        let old = world.available(old_volume.id, false).await;
        delete(&world, old.id, false).await.unwrap();
        let (fence, _) = world.grant(world.job_of(old.id).await.id).await;
        let start = Arc::new(Barrier::new(1 + volumes.len()));
        let goer = Arc::clone(&world);
        let goes = racer(&start, round % 4, async move {
            goer.finish(fence, Outcome::Deleted).await
        });
        let comes: Vec<_> = volumes
            .iter()
            .enumerate()
            .map(|(place, volume)| {
                let world = Arc::clone(&world);
                let new = world.new_backup(*volume);
                racer(&start, (round + place) % 3, async move {
                    world.store.create_backup(&world.caller, new).await
                })
            })
            .collect();
        assert_eq!(goes.await.unwrap(), Finished::Settled);
        let mut accepted = Vec::new();
        for created in comes {
            match created.await.unwrap() {
                Ok(row) => accepted.push(row.id),
                Err(error) => assert_eq!(refusal(error), Refusal::BackupQuota { limit: LIMIT }),
            }
        }
        let count = i64::try_from(accepted.len()).unwrap();
        assert!((2..=LIMIT).contains(&count), "{count} were accepted");
        let usage = world.store.quota_usage(&"p".into()).await.unwrap();
        assert_eq!(
            (usage.backups.count, usage.backups.gigabytes),
            (count, count)
        );
        // Two ways to give it back at once: the quota is given back once.
        for id in &accepted {
            let start = Arc::new(Barrier::new(2));
            let (one, other) = (Arc::clone(&world), Arc::clone(&world));
            let id = *id;
            let cancel = racer(&start, round % 2, async move {
                one.store.cancel_backup(&Scope::All, id).await
            });
            let force = racer(
                &start,
                round % 3,
                async move { delete(&other, id, true).await },
            );
            let (cancelled, forced) = (cancel.await.unwrap(), force.await.unwrap());
            forced.unwrap();
            drop(cancelled);
            assert!(world.is_gone(id).await);
        }
        let usage = world.store.quota_usage(&"p".into()).await.unwrap();
        assert_eq!((usage.backups.count, usage.backups.gigabytes), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_forced_delete_and_a_commit_one_decides_and_the_backup_is_gone_at_last() {
    let world = world(|_| {}).await;
    let volume = world.volume().await;
    for round in 0..rounds() {
        let (backup, job) = world.creating(volume.id).await;
        let (fence, _) = world.grant(job.id).await;
        let start = Arc::new(Barrier::new(3));
        let is_over = Arc::new(AtomicBool::new(false));
        let (committer, remover, watcher) =
            (Arc::clone(&world), Arc::clone(&world), Arc::clone(&world));
        let commit = racer(&start, round % 3, async move {
            let answer: Committed = committer.ask(Commit { fence, attempt: 1 }).await;
            let outcome = match answer {
                Committed::Passed => committer.backed_up(),
                Committed::Cancelled => Outcome::Cancelled,
                Committed::Fenced => panic!("nobody else has the lease"),
            };
            assert_eq!(committer.finish(fence, outcome).await, Finished::Settled);
            answer
        });
        let force = racer(&start, round % 4, async move {
            delete(&remover, backup.id, true).await
        });
        let over = Arc::clone(&is_over);
        let seen = racer(&start, 0, async move {
            let mut seen = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let row = watcher.reload(backup.id).await;
                if seen.last() != Some(&row.status) {
                    seen.push(row.status);
                }
                tokio::task::yield_now().await;
            }
            seen
        });
        let answer = commit.await.unwrap();
        force.await.unwrap().unwrap();
        is_over.store(true, Ordering::SeqCst);
        let seen = seen.await.unwrap();
        let place = |status: &BackupStatus| match status {
            BackupStatus::Creating => 0,
            BackupStatus::Available => 1,
            BackupStatus::Deleting => 2,
            BackupStatus::Deleted
            | BackupStatus::Restoring
            | BackupStatus::Error
            | BackupStatus::ErrorDeleting => panic!("never {status}"),
        };
        assert!(seen.is_sorted_by_key(place), "{seen:?}");

        // Only what passed the gate is whole; either way a delete is left to do, and nothing else.
        let whole = answer == Committed::Passed;
        let settled = world.job(job.id).await;
        assert_eq!(settled.cancel_requested, !whole, "one of them, by one row");
        assert_eq!(
            world.reload(backup.id).await.object_count,
            if whole { 3 } else { 0 }
        );
        world.backup_is(backup.id, BackupStatus::Deleting).await;
        world.volume_is(volume.id, VolumeStatus::Available).await;
        work_off_delete(&world, backup.id).await;
    }
}
