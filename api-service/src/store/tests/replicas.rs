//! Several api-services on one database.

use common::domain::Incarnation;
use tokio::task::JoinSet;

use super::trouble::set;
use super::*;
use crate::testing::worker;

/// A world, and another api-service on its database; `None`, and said so, when that cannot be.
async fn two(change: impl FnOnce(&mut Settings)) -> Option<(World, Store)> {
    if postgres().is_none() {
        skip("a file has one api-service; needs EMBERKEEP_TEST_POSTGRES_URL");
        return None;
    }
    let world = World::with(change).await;
    let clock = Arc::clone(&world.store.0.clock);
    let other = Store::open(Arc::clone(&world.settings), clock).await;
    Some((world, other.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_api_services_together_keep_to_a_quota_and_to_one_job_a_volume() {
    let limit = 5;
    let change = |settings: &mut Settings| settings.quota.backups = limit;
    let Some((world, other)) = two(change).await else {
        return;
    };
    let mut volumes = Vec::new();
    for _ in 0..12 {
        volumes.push(world.volume().await.id);
    }
    let mut requests = JoinSet::new();
    for volume in volumes {
        for store in [&world.store, &other] {
            let (store, caller) = (store.clone(), world.caller.clone());
            let new = world.new_backup(volume);
            requests.spawn(async move { (volume, store.create_backup(&caller, new).await) });
        }
    }
    let mut accepted = Vec::new();
    while let Some(answered) = requests.join_next().await {
        match answered.unwrap() {
            (volume, Ok(_)) => accepted.push(volume),
            (_, Err(error)) => drop(refusal(error)),
        }
    }
    assert_eq!(i64::try_from(accepted.len()).unwrap(), limit);
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!(i64::try_from(accepted.len()).unwrap(), limit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_is_cancelled_or_committed_and_never_both_whoever_is_asked() {
    let Some((world, other)) = two(|_| {}).await else {
        return;
    };
    for _ in 0..30 {
        let volume = world.volume().await.id;
        let (backup, job) = world.creating(volume).await;
        let (fence, _) = world.grant(job.id).await;
        let cancel = async {
            let cancelled = other.cancel_backup(&Scope::All, backup.id).await;
            cancelled.is_ok()
        };
        let commit = world.ask::<Committed>(Commit { fence, attempt: 1 });
        let (cancelled, committed) = tokio::join!(cancel, commit);
        assert_ne!(cancelled, committed == Committed::Passed);
    }
}

#[tokio::test]
async fn who_stands_still_in_the_middle_of_a_change_keeps_others_waiting_only_for_a_while() {
    let Some((world, other)) = two(|_| {}).await else {
        return;
    };
    let soon = "SET idle_in_transaction_session_timeout = '300ms'";
    set(&world.store, soon).await;
    let mut frozen = world.store.write().await.unwrap();
    frozen
        .saw_worker(&worker("frozen", Incarnation::new()), false)
        .await
        .unwrap();
    other.write().await.unwrap().commit().await.unwrap();
    let seen = other.workers().await.unwrap();
    assert!(seen.iter().all(|row| row.name.as_str() != "frozen"));

    // It wakes up: nothing of its change is true, and it can begin another.
    let error = frozen.commit().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    world.volume().await;
}

#[tokio::test]
async fn one_has_the_lead_and_the_other_gets_it_when_that_one_goes() {
    let Some((world, other)) = two(|_| {}).await else {
        return;
    };
    let mut lead = world.store.try_lead().await.unwrap().unwrap();
    assert!(other.try_lead().await.unwrap().is_none());
    lead.keep().await.unwrap();
    lead.give_up().await;
    let mut lead = other.try_lead().await.unwrap().unwrap();
    assert!(world.store.try_lead().await.unwrap().is_none());

    // A server that has ended the session has given the lead to others, and the holder hears of it.
    end_the_leaders_session(&world.store).await;
    assert!(lead.keep().await.is_err());
    let again = world.store.try_lead().await.unwrap();
    assert!(again.is_some());
}

/// Ends the session that has the lead in this test's schema, as a server does with those that fell silent.
async fn end_the_leaders_session(store: &Store) {
    let mut conn = store.read().await.unwrap();
    sqlx::query(
        "SELECT CAST(COUNT(pg_terminate_backend(pid)) AS BIGINT) AS n FROM pg_locks \
         WHERE locktype = 'advisory' AND classid = 1164796518 \
         AND objid = 'jobs'::REGCLASS::OID",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
}
