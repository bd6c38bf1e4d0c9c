//! Attempts: sheets, snapshots, restarts, and what is cleaned behind them.

use super::*;

#[tokio::test]
async fn the_sheet_has_all_that_step_one_decided() {
    let world = World::new().await;
    let volume = world.volume().await;
    let parent = world.available(volume.id, false).await;
    let new = crate::store::NewBackup {
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let row = world.store.create_backup(&world.caller, new).await.unwrap();
    let (_, grant) = world.grant(world.job_of(row.id).await.id).await;
    let sheet = backup_sheet(grant.sheet);
    assert_eq!(sheet.backup_id, row.id);
    assert_eq!(sheet.volume.source, volume.source);
    assert!(!sheet.in_use && !sheet.committed && sheet.frozen.is_none());
    assert_eq!(Some(&sheet.names.container), row.container.as_ref());
    assert_eq!(Some(&sheet.names.prefix), row.prefix.as_ref());
    assert_eq!(sheet.names.snapshot.unwrap(), format!("bk-{}-a1", row.id));
    let stored = sheet.parent.unwrap();
    assert_eq!(stored.backup_id, parent.id);
    assert_eq!(Some(stored.prefix), parent.prefix);
    assert_eq!(grant.lease_ms, 60_000);
    assert!(sheet.record.volume_meta.unwrap().contains("\"version\":2"));
}

#[tokio::test]
async fn a_stale_execution_of_a_finished_backup_gets_a_clean_behind_it() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (old, _) = world.grant(job.id).await;
    world.end_lease(job.id).await;
    let (new, _) = world.grant(job.id).await;
    world.complete(new).await;
    // Two generations had the attempt: a clean now and one after two leases.
    assert_eq!(world.cleans().await.len(), 2);
    world.turn(SignedDuration::from_mins(5));
    for job in world.cleans().await {
        let (fence, grant) = world.grant(job.id).await;
        let Sheet::Clean(sheet) = grant.sheet else {
            panic!("a clean has a clean's sheet");
        };
        assert_eq!(sheet.scope, CleanScope::Strays);
        assert_eq!(sheet.backup_id, backup.id);
        world.finish(fence, Outcome::Cleaned).await;
    }
    assert!(world.cleans().await.is_empty());
    let late: Renewed = world
        .ask(Renew {
            fence: old,
            mark: 1,
        })
        .await;
    assert_eq!(late, Renewed::Fenced);
    assert_eq!(world.cleans().await.len(), 1);
}

#[tokio::test]
async fn the_first_frozen_report_stays() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let report = |identity: &str| FrozenReport {
        fence,
        attempt: 1,
        frozen: frozen(identity),
    };
    let first: FrozenAnswer = world.ask(report("inode 7")).await;
    assert_eq!(first, FrozenAnswer::Recorded(frozen("inode 7")));
    let second: FrozenAnswer = world.ask(report("inode 8")).await;
    assert_eq!(second, FrozenAnswer::Recorded(frozen("inode 7")));
}

#[tokio::test]
async fn other_codecs_go_on_only_when_all_who_came_before_gave_the_job_back() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let with = |codecs: &str| Frozen {
        codec_fingerprint: codecs.to_owned(),
        ..frozen("inode 7")
    };
    let report = |fence, codecs: &str| FrozenReport {
        fence,
        attempt: 1,
        frozen: with(codecs),
    };
    let (fence, _) = world.grant(job.id).await;
    world.ask::<FrozenAnswer>(report(fence, "old")).await;
    world
        .ask::<Released>(release(fence, ReleaseReason::Drain))
        .await;
    let (fence, _) = world.grant(job.id).await;
    let after_release: FrozenAnswer = world.ask(report(fence, "new")).await;
    assert_eq!(after_release, FrozenAnswer::Recorded(with("new")));
    world.end_lease(job.id).await;
    let (fence, _) = world.grant(job.id).await;
    let after_crash: FrozenAnswer = world.ask(report(fence, "old")).await;
    assert_eq!(after_crash, FrozenAnswer::Recorded(with("new")));
    // A release after the crash does not end the crashed one.
    world
        .ask::<Released>(release(fence, ReleaseReason::Drain))
        .await;
    let (fence, _) = world.grant(job.id).await;
    let doubtful: FrozenAnswer = world.ask(report(fence, "old")).await;
    assert_eq!(doubtful, FrozenAnswer::Recorded(with("new")));
    // A new attempt is nobody's yet.
    world
        .ask::<Restarted>(Restart {
            fence,
            attempt: 1,
            reason: "other codecs".to_owned(),
        })
        .await;
    let next = FrozenReport {
        attempt: 2,
        ..report(fence, "old")
    };
    let answer: FrozenAnswer = world.ask(next).await;
    assert_eq!(answer, FrozenAnswer::Recorded(with("old")));
}

#[tokio::test]
async fn a_restart_makes_one_next_attempt_with_a_later_prefix() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, grant) = world.grant(job.id).await;
    world.ask::<Renewed>(Renew { fence, mark: 10 }).await;
    let first = backup_sheet(grant.sheet);
    let restart = Restart {
        fence,
        attempt: 1,
        reason: "another snapshot".to_owned(),
    };
    let next: Restarted = world.ask(restart.clone()).await;
    let again: Restarted = world.ask(restart).await;
    assert_eq!(next, again);
    let Restarted::Attempt(sheet) = next else {
        panic!("no attempt: {next:?}");
    };
    let second = backup_sheet(*sheet);
    assert_eq!((second.names.number, second.mark), (2, 0));
    assert!(second.names.prefix.as_str() > first.names.prefix.as_str());
    assert_eq!(second.names.container, first.names.container);
    assert_ne!(second.names.snapshot, first.names.snapshot);
    assert_eq!(
        world.reload(backup.id).await.prefix,
        Some(second.names.prefix.clone())
    );
    // What the first left goes, now and once more later; the second is not touched.
    let cleans = world.cleans().await;
    assert_eq!(cleans.len(), 2);
    assert!(cleans.iter().all(|clean| clean.attempt == Some(1)));
    let (_, grant) = world.grant(cleans[0].id).await;
    let Sheet::Clean(clean) = grant.sheet else {
        panic!("a clean has a clean's sheet");
    };
    assert_eq!(clean.scope, CleanScope::Everything);
    assert_eq!(clean.names, first.names);
    // Reports about the first are over; the second is committed like any other.
    let late = FrozenReport {
        fence,
        attempt: 1,
        frozen: frozen("old"),
    };
    assert_eq!(world.ask::<FrozenAnswer>(late).await, FrozenAnswer::Fenced);
    world.complete(fence).await;
    world.backup_is(backup.id, BackupStatus::Available).await;
}

#[tokio::test]
async fn a_backup_has_at_most_five_attempts() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    for attempt in 1..=5 {
        let restart = Restart {
            fence,
            attempt,
            reason: "the snapshot vanished".to_owned(),
        };
        let answer: Restarted = world.ask(restart).await;
        if attempt < 5 {
            assert!(matches!(answer, Restarted::Attempt(_)), "{answer:?}");
        } else {
            let Restarted::Exhausted { reason } = answer else {
                panic!("{answer:?}");
            };
            assert!(reason.contains("the snapshot vanished"));
        }
    }
}

#[tokio::test]
async fn a_clean_waits_while_another_job_works_on_the_same_data() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    world.grant(job.id).await;
    world.end_lease(job.id).await;
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    let clean = world.cleans().await.remove(0);
    world
        .store
        .delete_backup(&world.caller, &Scope::All, backup.id, false)
        .await
        .unwrap();
    let early: Claimed = world.ask(world.claim_for(clean.id)).await;
    assert_eq!(early, Claimed::Busy);
    let delete = world.job_of(backup.id).await;
    assert_eq!(delete.kind(), JobKind::Delete);
    let (fence, _) = world.grant(delete.id).await;
    world.finish(fence, Outcome::Deleted).await;
    assert!(world.is_gone(backup.id).await);
    world.turn(SignedDuration::from_mins(5));
    let (_, grant) = world.grant(clean.id).await;
    let Sheet::Clean(sheet) = grant.sheet else {
        panic!("a clean has a clean's sheet");
    };
    assert_eq!(sheet.scope, CleanScope::Everything);
}
