//! The real Cinder's backup drivers and ours on one target: each restores what the other made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::domain::{BackupId, BackupStatus, VolumeId};
use harness::volume::{self, noise, text};
use harness::{Record, TestStack};
use serde_json::{Value, json};

use crate::cli::programs;

/// Bytes of the volumes here: no whole number of objects or blocks.
const LENGTH: usize = 2_000_000;

/// A driver of the real Cinder on a stack's target.
struct Reference {
    python: PathBuf,
    repository: PathBuf,
    scratch: tempfile::TempDir,
}

impl Reference {
    fn on(bin: &Path, stack: &TestStack) -> Self {
        Self {
            python: bin.join("python"),
            repository: stack.target().root().to_owned(),
            scratch: tempfile::tempdir().expect("a directory can be made"),
        }
    }

    fn run(&self, driver: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/cinder_driver.py");
        Command::new(&self.python)
            .arg(script)
            .arg("--repository")
            .arg(&self.repository)
            .args(["--driver", driver])
            .args(arguments)
            .output()
            .expect("python can be run")
    }

    /// Restores a backup onto a file of 0xff, whose path it gives, or what the driver said.
    fn restore(&self, driver: &str, id: BackupId) -> Result<PathBuf, String> {
        let target = self.scratch.path().join(format!("{id}-{driver}"));
        std::fs::write(&target, vec![0xff; LENGTH]).expect("a file can be written");
        let path = target.to_string_lossy();
        let id = id.to_string();
        let output = self.run(driver, &["restore", "--backup-id", &id, "--target", &path]);
        if output.status.success() {
            Ok(target)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Restores a backup and compares it.
    #[track_caller]
    fn assert_restores(&self, driver: &str, id: BackupId, bytes: &[u8]) {
        match self.restore(driver, id) {
            Ok(target) => volume::assert_holds(&target, bytes),
            Err(said) => panic!("the {driver} driver does not restore {id}: {said}"),
        }
    }

    /// Makes an incremental of a volume of these bytes, and gives its record.
    fn back_up(&self, volume: VolumeId, parent: BackupId, bytes: &[u8]) -> Record {
        let source = self.scratch.path().join("source");
        std::fs::write(&source, bytes).expect("a file can be written");
        let id = BackupId::new().to_string();
        let (volume, parent) = (volume.to_string(), parent.to_string());
        let output = self.run(
            "posix",
            &[
                "--object-size",
                "524288",
                "backup",
                "--volume",
                &source.to_string_lossy(),
                "--volume-id",
                &volume,
                "--backup-id",
                &id,
                "--parent",
                &parent,
            ],
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cinder makes no backup: {said}");
        let made: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        Record {
            service: "cinder.backup.drivers.posix.PosixBackupDriver".to_owned(),
            columns: json!({
                "id": id, "volume_id": volume, "parent_id": parent, "size": 1,
                "container": made["container"], "service_metadata": made["service_metadata"],
                "object_count": made["object_count"], "display_name": "made by cinder",
                "display_description": null, "metadata": {},
            }),
        }
    }
}

/// A chain of ours with a fork, and what each backup holds.
async fn make_chain(stack: &TestStack) -> (VolumeId, Vec<(BackupId, Vec<u8>)>) {
    let api = stack.api();
    let mut bytes = text(1, LENGTH);
    bytes[600_000..900_000].fill(0);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let file = stack.volumes().join("v.raw");
    let mut made = vec![(api.back_up(id).await.id, bytes.clone())];
    bytes[100_000..200_000].copy_from_slice(&noise(2, 100_000));
    volume::write_at(&file, 0, &bytes);
    let second = api.back_up_changes(id).await.id;
    made.push((second, bytes.clone()));
    let before_the_fork = bytes.clone();
    bytes[1_000_000..1_700_000].fill(0);
    volume::write_at(&file, 0, &bytes);
    let third = api.back_up_changes(id).await.id;
    made.push((third, bytes));
    // The newest is out of the way for a moment, so that another grows on what was before it.
    api.act(third, json!({"os-reset_status": {"status": "error"}}))
        .await;
    let mut bytes = before_the_fork;
    bytes[LENGTH - 10..].copy_from_slice(&[7; 10]);
    volume::write_at(&file, 0, &bytes);
    made.push((api.back_up_changes(id).await.id, bytes));
    api.act(third, json!({"os-reset_status": {"status": "available"}}))
        .await;
    (id, made)
}

async fn both_ways(compression: &str) {
    let Some(bin) = programs() else { return };
    let stack = TestStack::build()
        .set("backup.compression", compression)
        .start()
        .await;
    let reference = Reference::on(&bin, &stack);
    let (volume, made) = make_chain(&stack).await;
    for (id, bytes) in &made {
        reference.assert_restores("posix", *id, bytes);
    }
    let (newest, mut bytes) = made.last().expect("a chain").clone();
    reference.assert_restores("nfs", newest, &bytes);

    // Cinder goes on where we stopped, and we where it stopped.
    bytes[300_000..400_000].copy_from_slice(&noise(3, 100_000));
    bytes[0..50_000].fill(0);
    let record = reference.back_up(volume, newest, &bytes);
    let theirs = stack.api().import(&record).await;
    let restored = stack.api().bring_back(theirs).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    bytes[1_500_000..1_500_100].fill(9);
    volume::write_at(&stack.volumes().join("v.raw"), 0, &bytes);
    let ours = stack.api().back_up_changes(volume).await;
    assert!(stack.api().backup(theirs).await.has_dependent_backups);
    let restored = stack.api().bring_back(ours.id).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    reference.assert_restores("posix", ours.id, &bytes);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn cinder_and_we_share_a_chain_of_zlib() {
    both_ways("zlib").await;
}

#[tokio::test]
async fn cinder_and_we_share_a_chain_of_bz2() {
    both_ways("bz2").await;
}

#[tokio::test]
async fn cinder_and_we_share_a_chain_of_zstd() {
    both_ways("zstd").await;
}

#[tokio::test]
async fn cinder_and_we_share_a_chain_of_plain_objects() {
    both_ways("none").await;
}

#[tokio::test]
async fn cinder_refuses_our_lz4_loudly() {
    let Some(bin) = programs() else { return };
    let stack = TestStack::build()
        .set("backup.compression", "lz4")
        .start()
        .await;
    let reference = Reference::on(&bin, &stack);
    // Words drawn at random do not shrink in LZ4, and what does not shrink is stored plain; these do.
    let bytes = b"the same words again and again\n".repeat(40_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let backup = stack.api().back_up(id).await.id;
    let said = reference.restore("posix", backup).expect_err("it cannot");
    assert!(said.contains("lz4"), "{said}");
    let row = stack.api().backup(backup).await;
    assert_eq!(row.status, BackupStatus::Available);
}
