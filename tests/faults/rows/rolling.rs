//! Workers are restarted one after the other under load, as an upgrade does.

use async_trait::async_trait;
use common::domain::BackupStatus;
use harness::NewBackup;
use rand::rngs::SmallRng;

use super::{Strike, times};
use crate::points::Side;
use crate::scene::{Kept, SLOW, Scene};

const JOBS: usize = 30;

#[derive(Debug, Clone)]
struct Rolling;

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    times(if full { 10 } else { 1 }, Rolling)
}

#[async_trait(?Send)]
impl Strike for Rolling {
    fn what(&self) -> String {
        format!("three workers restarted under {JOBS} jobs")
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let mut sources = Vec::new();
        for _ in 0..JOBS {
            sources.push(scene.volume(random).await);
        }
        for number in 1..=3 {
            let worker = scene.stack.worker(number);
            worker.set("worker.drain_timeout", "300ms");
        }
        scene.arm(Side::Worker, SLOW).await;
        scene.start_worker(2, SLOW);
        scene.start_worker(3, SLOW);
        let api = scene.stack.api();
        let mut kept = Vec::new();
        for source in &sources {
            let id = api.create_backup(&NewBackup::of(source.id)).await;
            let bytes = source.bytes.clone();
            kept.push(Kept { id, bytes });
        }
        for number in 1..=3 {
            let worker = scene.stack.worker(number);
            worker.ask_to_stop();
            assert!(worker.ended().await.success(), "a worker drains well");
            worker.start();
        }
        let mut made = Vec::new();
        for kept in &kept {
            api.until_backup(kept.id, BackupStatus::Available).await;
            made.push(scene.restores(kept).await);
        }
        scene.stack.assert_nothing_left_behind().await;
        for kept in &kept {
            api.delete_backup(kept.id).await;
        }
        for kept in &kept {
            api.until_gone(kept.id).await;
        }
        let volumes = made
            .into_iter()
            .chain(sources.iter().map(|source| source.id));
        for volume in volumes {
            api.delete_volume(volume).await;
        }
        for number in 1..=3 {
            scene
                .stack
                .worker(number)
                .set("worker.drain_timeout", "10m");
        }
    }
}
