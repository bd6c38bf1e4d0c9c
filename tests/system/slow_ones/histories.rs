//! Any history of writes, backups, restores and deletions equals a model in memory.

use std::cell::Cell;
use std::collections::BTreeMap;

use common::domain::{BackupId, BackupStatus, Compression, VolumeId, VolumeStatus};
use harness::volume::{self, noise, text};
use harness::{NewBackup, TestStack};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;

/// Histories for each algorithm.
const HISTORIES: u32 = 3;

/// Longest volume: several objects of 64 KiB.
const LENGTH_MAX: usize = 300_000;

#[derive(Debug, Clone)]
enum Step {
    /// Data at a place, both as parts of a thousand of the volume.
    Write { at: usize, length: usize, seed: u64 },
    /// Zeros at a place.
    Clear { at: usize, length: usize },
    /// A full backup.
    Full,
    /// An incremental one; refused where there is none to build on.
    Incremental,
    /// One of the backups into a new volume.
    BringBack(usize),
    /// One of the backups over the volume itself.
    Overwrite(usize),
    /// One of the backups goes; refused where others build on it.
    Delete(usize),
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let place = || (0..1000_usize, 0..400_usize);
    let step = prop_oneof![
        3 => (place(), any::<u64>())
            .prop_map(|((at, length), seed)| Step::Write { at, length, seed }),
        1 => place().prop_map(|(at, length)| Step::Clear { at, length }),
        1 => Just(Step::Full),
        3 => Just(Step::Incremental),
        2 => any::<usize>().prop_map(Step::BringBack),
        1 => any::<usize>().prop_map(Step::Overwrite),
        1 => any::<usize>().prop_map(Step::Delete),
    ];
    (1..LENGTH_MAX, proptest::collection::vec(step, 4..14))
}

#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    parent: Option<BackupId>,
}

/// The volume under test and what should be true of it.
struct World<'a> {
    stack: &'a TestStack,
    volume: VolumeId,
    name: String,
    bytes: Vec<u8>,
    kept: BTreeMap<BackupId, Kept>,
    /// The available backups, oldest first.
    order: Vec<BackupId>,
}

impl World<'_> {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Write { at, length, seed } => {
                let data = if seed % 2 == 0 { noise } else { text };
                self.write(*at, *length, |length| data(*seed, length));
            }
            Step::Clear { at, length } => self.write(*at, *length, |length| vec![0; length]),
            Step::Full => self.back_up(None).await,
            Step::Incremental => match self.order.last() {
                Some(parent) => self.back_up(Some(*parent)).await,
                None => {
                    let wanted = NewBackup::incremental(self.volume);
                    let answer = self.stack.api().ask_for_backup(&wanted).await;
                    answer.refused(400, "badRequest", "No backups available");
                }
            },
            Step::BringBack(which) => {
                if let Some(id) = self.pick(*which) {
                    let restored = self.stack.api().bring_back(id).await;
                    let file = self.stack.file_of(restored);
                    volume::assert_holds(&file, &self.kept[&id].bytes);
                    self.stack.api().delete_volume(restored).await;
                }
            }
            Step::Overwrite(which) => {
                if let Some(id) = self.pick(*which) {
                    let api = self.stack.api();
                    api.restore(id, Some(self.volume)).await;
                    api.until_volume(self.volume, VolumeStatus::Available).await;
                    api.until_backup(id, BackupStatus::Available).await;
                    self.bytes.clone_from(&self.kept[&id].bytes);
                    let file = self.stack.volumes().join(&self.name);
                    assert_eq!(volume::length(&file), self.bytes.len() as u64);
                    volume::assert_holds(&file, &self.bytes);
                }
            }
            Step::Delete(which) => {
                if let Some(id) = self.pick(*which) {
                    self.delete(id).await;
                }
            }
        }
    }

    fn pick(&self, which: usize) -> Option<BackupId> {
        let count = self.order.len();
        (count > 0).then(|| self.order[which % count])
    }

    fn write(&mut self, at: usize, length: usize, data: impl Fn(usize) -> Vec<u8>) {
        let at = self.bytes.len() * at / 1000;
        let length = (self.bytes.len() * length / 1000).min(self.bytes.len() - at);
        let data = data(length);
        self.bytes[at..at + length].copy_from_slice(&data);
        let file = self.stack.volumes().join(&self.name);
        volume::write_at(&file, at as u64, &data);
    }

    async fn back_up(&mut self, parent: Option<BackupId>) {
        let api = self.stack.api();
        let backup = match parent {
            Some(_) => api.back_up_changes(self.volume).await,
            None => api.back_up(self.volume).await,
        };
        let bytes = self.bytes.clone();
        self.kept.insert(backup.id, Kept { bytes, parent });
        self.order.push(backup.id);
    }

    async fn delete(&mut self, id: BackupId) {
        let api = self.stack.api();
        if self.kept.values().any(|kept| kept.parent == Some(id)) {
            let path = format!("/v3/backups/{id}");
            let answer = api.send(Method::DELETE, &path, None).await;
            answer.refused(400, "badRequest", "Incremental backups exist");
            return;
        }
        api.delete_backup(id).await;
        api.until_gone(id).await;
        self.kept.remove(&id);
        self.order.retain(|kept| *kept != id);
    }
}

async fn live_through(stack: &TestStack, name: String, length: usize, steps: &[Step]) {
    let bytes = text(length as u64, length);
    let volume = stack.managed_volume(&name, &bytes).await;
    let mut world = World {
        stack,
        volume,
        name,
        bytes,
        kept: BTreeMap::new(),
        order: Vec::new(),
    };
    for step in steps {
        world.take(step).await;
    }
    // Whatever is left still comes back, and can go, newest first.
    for id in world.order.clone().into_iter().rev() {
        world.take(&Step::BringBack(world.order.len() - 1)).await;
        world.delete(id).await;
    }
    assert!(world.order.is_empty(), "a chain goes from its end");
}

fn histories_equal_the_model(algorithm: Compression) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let stack = runtime.block_on(
        TestStack::build()
            .set("backup.compression", algorithm.as_str())
            .set("backup.object_size", "64KiB")
            .set("backup.block_size", "4KiB")
            .set("worker.seal_size", "128KiB")
            .start(),
    );
    let config = Config {
        cases: HISTORIES,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let number = Cell::new(0);
    let outcome = TestRunner::new(config).run(&steps(), |(length, steps)| {
        number.set(number.get() + 1);
        let name = format!("history-{}.raw", number.get());
        runtime.block_on(live_through(&stack, name, length, &steps));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{algorithm}: {failure}");
    }
    runtime.block_on(stack.assert_nothing_left_behind());
}

#[test]
fn histories_equal_the_model_without_compression() {
    histories_equal_the_model(Compression::None);
}

#[test]
fn histories_equal_the_model_with_lz4() {
    histories_equal_the_model(Compression::Lz4);
}

#[test]
fn histories_equal_the_model_with_zstd() {
    histories_equal_the_model(Compression::Zstd);
}

#[test]
fn histories_equal_the_model_with_zlib() {
    histories_equal_the_model(Compression::Zlib);
}

#[test]
fn histories_equal_the_model_with_bz2() {
    histories_equal_the_model(Compression::Bz2);
}
