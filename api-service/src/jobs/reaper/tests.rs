//! Leases by the reaper's own clock: the instants are made up, the rows are real.

use common::messages::rpc::{Renew, Renewed};

use super::*;
use crate::testing::World;

const LEASE: Duration = Duration::from_secs(60);

fn seconds(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_lease_whose_renewals_move_is_never_ended() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let start = Instant::now();
    let mut watch = Watch::default();
    for tick in 0..100 {
        let renewed: Renewed = world.ask(Renew { fence, mark: 0 }).await;
        assert_eq!(renewed, Renewed::Held { cancel: false });
        let leased = world.store.leased_jobs().await.unwrap();
        let now = seconds(start, tick * 50);
        assert!(
            watch
                .look(&leased, now, Some((start, now)), LEASE)
                .is_empty()
        );
    }
    // Then it falls silent.
    let leased = world.store.leased_jobs().await.unwrap();
    let silent = seconds(start, 99 * 50);
    assert!(
        watch
            .look(
                &leased,
                silent + Duration::from_secs(59),
                Some((start, silent + Duration::from_secs(59))),
                LEASE
            )
            .is_empty()
    );
    let over = watch.look(
        &leased,
        silent + LEASE,
        Some((start, silent + LEASE)),
        LEASE,
    );
    assert_eq!(over.len(), 1);
}

#[tokio::test]
async fn a_deaf_owner_ends_no_lease() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    let leased = world.store.leased_jobs().await.unwrap();
    let start = Instant::now();
    let mut watch = Watch::default();
    assert!(
        watch
            .look(&leased, start, Some((start, start)), LEASE)
            .is_empty()
    );
    // Deaf for an hour, then it hears again: a fresh lease from there.
    for minute in 1..60 {
        let now = seconds(start, minute * 60);
        assert!(watch.look(&leased, now, None, LEASE).is_empty());
    }
    let hears = seconds(start, 3600);
    for later in [0, 30, 59] {
        let now = hears + Duration::from_secs(later);
        assert!(
            watch
                .look(&leased, now, Some((hears, now)), LEASE)
                .is_empty()
        );
    }
    assert_eq!(
        watch
            .look(&leased, hears + LEASE, Some((hears, hears + LEASE)), LEASE)
            .len(),
        1
    );
}

#[tokio::test]
async fn a_new_owner_gives_every_lease_a_fresh_time() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    let leased = world.store.leased_jobs().await.unwrap();
    let long_ago = Instant::now();
    let now = long_ago + LEASE * 10;
    let mut watch = Watch::default();
    assert!(
        watch
            .look(&leased, now, Some((long_ago, now)), LEASE)
            .is_empty()
    );
    let later = now + LEASE;
    assert_eq!(
        watch
            .look(&leased, later, Some((long_ago, later)), LEASE)
            .len(),
        1
    );
}

#[tokio::test]
async fn a_renewal_in_the_last_moment_saves_the_lease() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let seen = world.job(job.id).await;
    let _: Renewed = world.ask(Renew { fence, mark: 0 }).await;
    end_lease(&world.store, &seen).await.unwrap();
    assert!(world.job(job.id).await.is_leased());
    let seen = world.job(job.id).await;
    end_lease(&world.store, &seen).await.unwrap();
    assert!(!world.job(job.id).await.is_leased());
}

#[tokio::test]
async fn time_that_was_not_yet_found_heard_ends_no_lease() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    let leased = world.store.leased_jobs().await.unwrap();
    let start = Instant::now();
    let mut watch = Watch::default();
    // An outage that nobody has noticed yet: the last good look is long ago.
    let last_look = start + Duration::from_secs(1);
    for minute in 0..10 {
        let now = seconds(start, minute * 60);
        let over = watch.look(&leased, now, Some((start, last_look)), LEASE);
        assert!(over.is_empty());
    }
}

#[tokio::test]
async fn a_job_that_hangs_under_a_worker_that_renews_loses_its_lease_after_a_day() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let day = world.settings.jobs.snapshot_max_age;
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut look = async |own: Instant| {
        let _: Renewed = world.ask(Renew { fence, mark: 7 }).await;
        let leased = world.store.leased_jobs().await.unwrap();
        assert!(
            watch
                .look(&leased, own, Some((start, own)), LEASE)
                .is_empty()
        );
        let wall = world.store.now();
        watch.hangs(&leased[0], Moment { own, wall }, day)
    };
    assert!(!look(start).await);
    world.turn(jiff::SignedDuration::from_hours(25));
    // The machine was asleep: by its own clock no time went by in which anything could move.
    assert!(!look(seconds(start, 10)).await);
    assert!(!look(seconds(start, 3500)).await);
    assert!(look(seconds(start, 3700)).await);
    let seen = world.job(job.id).await;
    end_lease(&world.store, &seen).await.unwrap();
    let reason = world.job(job.id).await.give_up.unwrap();
    assert!(reason.contains("25 hours without progress"), "{reason}");
}
