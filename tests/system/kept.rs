//! Backups that are compared with the snapshot kept of their parent.

use common::domain::{BackupId, VolumeId};
use harness::volume::{self, MIB, noise};
use harness::{Builder, TestStack};
use tempfile::TempDir;
use xtask::reflink::Place;

/// A stack on a file system that shares blocks. The folders go after it.
struct Shared {
    stack: TestStack,
    _place: Place,
    _directory: TempDir,
}

/// `None` where such a file system cannot be had.
async fn shared(wish: impl FnOnce(Builder) -> Builder) -> Option<Shared> {
    let directory = TempDir::new().expect("a directory can be made");
    match Place::mounted(directory.path(), 256 * MIB) {
        Ok(place) => Some(Shared {
            stack: wish(TestStack::build().volumes_in(place.path()))
                .start()
                .await,
            _place: place,
            _directory: directory,
        }),
        Err(why) => {
            skip(&format!("{why:#}"));
            None
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a skipped test must be seen by who runs it"
)]
fn skip(why: &str) {
    println!("SKIPPED: {why}");
}

/// Names of the temporary and kept snapshots.
fn snapshots(stack: &TestStack) -> Vec<String> {
    let entries = std::fs::read_dir(stack.volumes()).expect("volumes are listed");
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("bk-")).collect()
}

fn kept_of(volume: VolumeId, backup: BackupId) -> String {
    format!("bk-kept-{volume}-{backup}")
}

#[tokio::test]
async fn an_incremental_with_a_kept_snapshot_reads_what_was_written_and_a_sample() {
    let wish = |builder: Builder| builder.set("volume_backends.main.keep_snapshot", "true");
    let Some(shared) = shared(wish).await else {
        return;
    };
    let stack = &shared.stack;
    let api = stack.api();
    let file = stack.file_to_manage("vol.raw");
    volume::write_dense(&file, 128 * MIB, 1);
    let id = api.manage_volume("vol.raw").await;
    let full = api.back_up(id).await.id;
    assert_eq!(snapshots(stack), [kept_of(id, full)]);

    for place in 0..10 {
        volume::write_at(&file, place * 12 * MIB + 5000, &noise(place, 131_072));
    }
    let changed = api.back_up_changes(id).await.id;
    assert_eq!(snapshots(stack), [kept_of(id, changed)]);
    let read_bytes = read_bytes_told(stack);
    // Five blocks for each place, and about four of the sample.
    let written: u64 = 10 * 5 * 32768;
    assert!(
        (written..written + 2 * MIB).contains(&read_bytes),
        "{read_bytes}"
    );
    let restored = api.bring_back(changed).await;
    volume::assert_same_bytes(&stack.file_of(restored), &file);

    for backup in [changed, full] {
        api.delete_backup(backup).await;
        api.until_gone(backup).await;
    }
    api.delete_volume(id).await;
    api.delete_volume(restored).await;
    stack.assert_nothing_left_behind().await;
}

/// What the worker's log says of the one backup that did not read everything.
fn read_bytes_told(stack: &TestStack) -> u64 {
    let log = stack.worker(1).log();
    let mut told = log.lines().filter(|line| line.contains("was not read"));
    let line = told.next().expect("the log tells of it");
    assert_eq!(told.next(), None);
    let (_, number) = line.split_once("read_bytes=").expect("it tells how much");
    // `unread_bytes` comes first.
    let (_, number) = number.split_once("read_bytes=").expect("it tells both");
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("it is a number")
}

#[tokio::test]
async fn a_restore_of_what_differs_leaves_the_rest_shared_with_snapshots() {
    let wish = |builder: Builder| builder.set("volume_backends.main.restore_differing", "true");
    let Some(shared) = shared(wish).await else {
        return;
    };
    let stack = &shared.stack;
    let api = stack.api();
    let file = stack.file_to_manage("vol.raw");
    volume::write_dense(&file, 64 * MIB, 1);
    let id = api.manage_volume("vol.raw").await;
    let backup = api.back_up(id).await.id;
    let original = stack.volumes().join("original");
    std::fs::copy(&file, &original).expect("it can be copied");
    let snapshot = api.take_snapshot(id).await;
    volume::write_at(&file, 10 * MIB, &noise(1, 100_000));

    let free = || {
        let stat = rustix::fs::statvfs(stack.volumes()).expect("it is mounted");
        stat.f_bfree * stat.f_frsize
    };
    let before = free();
    api.restore(backup, Some(id)).await;
    api.until_volume(id, common::domain::VolumeStatus::Available)
        .await;
    volume::assert_same_bytes(&file, &original);
    // Written anew, all of it would have needed its 64 MiB beside what the snapshot has.
    assert!(
        before.saturating_sub(free()) < 8 * MIB,
        "{before} {}",
        free()
    );
    std::fs::remove_file(original).expect("it is there");
    api.delete_snapshot(snapshot).await;
    stack.assert_nothing_left_behind().await;
}
