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

    /// Restores backups, each onto a file of 0xff, whose paths it gives, or what the driver said.
    fn restore(&self, driver: &str, backups: &[BackupId]) -> Result<Vec<PathBuf>, String> {
        let mut arguments = vec!["restore".to_owned()];
        let mut targets = Vec::new();
        for id in backups {
            let target = self.scratch.path().join(format!("{id}-{driver}"));
            std::fs::write(&target, vec![0xff; LENGTH]).expect("a file can be written");
            let path = target.to_string_lossy().into_owned();
            arguments.extend(["--backup-id".to_owned(), id.to_string()]);
            arguments.extend(["--target".to_owned(), path]);
            targets.push(target);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = self.run(driver, &arguments);
        if output.status.success() {
            Ok(targets)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Restores backups and compares each.
    #[track_caller]
    fn assert_restores(&self, driver: &str, made: &[(BackupId, Vec<u8>)]) {
        let ids: Vec<_> = made.iter().map(|(id, _)| *id).collect();
        match self.restore(driver, &ids) {
            Ok(targets) => {
                for (target, (_, bytes)) in targets.iter().zip(made) {
                    volume::assert_holds(target, bytes);
                }
            }
            Err(said) => panic!("the {driver} driver does not restore {ids:?}: {said}"),
        }
    }

    /// Backs up a volume of these bytes, whole or on top of another, and gives the record.
    fn back_up(
        &self,
        driver: &str,
        volume: VolumeId,
        parent: Option<BackupId>,
        bytes: &[u8],
    ) -> Record {
        let source = self.scratch.path().join("source");
        std::fs::write(&source, bytes).expect("a file can be written");
        let source = source.to_string_lossy();
        let id = BackupId::new().to_string();
        let volume = volume.to_string();
        let parent = parent.map(|parent| parent.to_string());
        let mut arguments = vec!["--object-size", "524288", "backup", "--volume", &source];
        arguments.extend(["--volume-id", &volume, "--backup-id", &id]);
        if let Some(parent) = &parent {
            arguments.extend(["--parent", parent]);
        }
        let output = self.run(driver, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cinder makes no backup: {said}");
        let made: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let class = match driver {
            "nfs" => "cinder.backup.drivers.nfs.NFSBackupDriver",
            _ => "cinder.backup.drivers.posix.PosixBackupDriver",
        };
        Record {
            service: class.to_owned(),
            columns: json!({
                "id": id, "volume_id": volume, "parent_id": parent, "size": 1,
                "container": made["container"], "service_metadata": made["service_metadata"],
                "object_count": made["object_count"], "display_name": "made by cinder",
                "display_description": null, "metadata": {},
            }),
        }
    }
}

/// Both of Cinder's drivers that store what we store.
const DRIVERS: [&str; 2] = ["posix", "nfs"];

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
    let bin = programs();
    let stack = TestStack::build()
        .set("backup.compression", compression)
        .start()
        .await;
    let reference = Reference::on(&bin, &stack);
    let (volume, made) = make_chain(&stack).await;
    for driver in DRIVERS {
        reference.assert_restores(driver, &made);
    }
    // Cinder goes on where we stopped, and we where it stopped.
    let (mut newest, mut bytes) = made.last().expect("a chain").clone();
    let mut grown = Vec::new();
    for (seed, driver) in (3..).zip(DRIVERS) {
        bytes[300_000..400_000].copy_from_slice(&noise(seed, 100_000));
        bytes[0..50_000].fill(0);
        let record = reference.back_up(driver, volume, Some(newest), &bytes);
        let theirs = stack.api().import(&record).await;
        let restored = stack.api().bring_back(theirs).await;
        volume::assert_holds(&stack.file_of(restored), &bytes);
        newest = assert_we_go_on(&stack, volume, theirs, &mut bytes).await;
        grown.push((newest, bytes.clone()));
    }
    for driver in DRIVERS {
        reference.assert_restores(driver, &grown);
    }
    stack.assert_nothing_left_behind().await;
}

/// Makes an increment on top of a backup of Cinder's, which we restore.
async fn assert_we_go_on(
    stack: &TestStack,
    volume: VolumeId,
    theirs: BackupId,
    bytes: &mut [u8],
) -> BackupId {
    let was = bytes[1_500_000];
    bytes[1_500_000..1_500_100].fill(was.wrapping_add(1));
    volume::write_at(&stack.volumes().join("v.raw"), 0, bytes);
    let ours = stack.api().back_up_changes(volume).await;
    assert!(ours.is_incremental);
    assert!(stack.api().backup(theirs).await.has_dependent_backups);
    let restored = stack.api().bring_back(ours.id).await;
    volume::assert_holds(&stack.file_of(restored), bytes);
    ours.id
}

/// The chain is Cinder's from its first backup on; what we add to it restores in both.
async fn we_go_on_with_a_chain_made_by(driver: &str) {
    let bin = programs();
    let stack = TestStack::build()
        .set("backup.compression", "zstd")
        .start()
        .await;
    let reference = Reference::on(&bin, &stack);
    let mut bytes = text(6, LENGTH);
    let volume = stack.managed_volume("v.raw", &bytes).await;
    let record = reference.back_up(driver, volume, None, &bytes);
    let full = stack.api().import(&record).await;
    let mut made = vec![(full, bytes.clone())];
    bytes[700_000..800_000].fill(0);
    let record = reference.back_up(driver, volume, Some(full), &bytes);
    let increment = stack.api().import(&record).await;
    made.push((increment, bytes.clone()));
    let ours = assert_we_go_on(&stack, volume, increment, &mut bytes).await;
    made.push((ours, bytes));
    for driver in DRIVERS {
        reference.assert_restores(driver, &made);
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn an_increment_of_ours_on_a_chain_of_cinders_posix_driver_restores_in_both() {
    we_go_on_with_a_chain_made_by("posix").await;
}

#[tokio::test]
async fn an_increment_of_ours_on_a_chain_of_cinders_nfs_driver_restores_in_both() {
    we_go_on_with_a_chain_made_by("nfs").await;
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
    let bin = programs();
    let stack = TestStack::build()
        .set("backup.compression", "lz4")
        .start()
        .await;
    let reference = Reference::on(&bin, &stack);
    // Words drawn at random do not shrink in LZ4, and what does not shrink is stored plain; these do.
    let bytes = b"the same words again and again\n".repeat(40_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let backup = stack.api().back_up(id).await.id;
    for driver in DRIVERS {
        let said = reference.restore(driver, &[backup]);
        let said = said.expect_err("it cannot");
        assert!(said.contains("lz4"), "{said}");
    }
    let row = stack.api().backup(backup).await;
    assert_eq!(row.status, BackupStatus::Available);
}
