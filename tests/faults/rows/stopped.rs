//! A worker stands still for two leases, and then goes on as if nothing had been.

use async_trait::async_trait;
use common::domain::{BackupStatus, VolumeStatus};
use harness::{until, volume};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::Strike;
use crate::points::{Deed, Side};
use crate::scene::{Kept, SLOW, Scene};

#[derive(Debug, Clone)]
pub(crate) struct Stopped {
    pub(crate) deed: Deed,
    /// Where it may stop.
    pub(crate) at: &'static [&'static str],
}

const BACKUP: Stopped = Stopped {
    deed: Deed::Backup,
    at: &[
        "backup.parts.before",
        "backup.segment.after",
        "worker.commit.before",
        "worker.commit.after",
        "backup.sha256file.after",
        "worker.finish.before",
    ],
};

/// The second worker has the lock, or was refused it.
const TRIED: &str = "restore.lock.after";

/// Between asking whether it may write and writing: the worst place.
pub(crate) const RESTORE: Stopped = Stopped {
    deed: Deed::Restore,
    at: &["volume.write"],
};

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let each = if full { 25 } else { 2 };
    let mut strikes = super::times(each, BACKUP);
    strikes.extend(super::times(each, RESTORE));
    strikes
}

#[async_trait(?Send)]
impl Strike for Stopped {
    fn what(&self) -> String {
        format!("{:?}, its worker stopped for two leases", self.deed)
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let at = *self.at.choose(random).expect("there are places");
        let prepared = scene.prepare(self.deed, random).await;
        // What comes by more than once has its middle.
        let passes = match at {
            "backup.parts.before" | "backup.segment.after" | "volume.write" => "1*off->",
            _ => "",
        };
        let stops = format!("{at}={passes}return(stop);{SLOW}");
        scene.arm(Side::Worker, &stops).await;
        let begun = scene.begin(self.deed, prepared).await;
        scene.struck(at).await;
        tokio::time::sleep(2 * scene.lease()).await;
        let mut zombie = scene.stack.listen("worker.#").await;
        scene.start_worker(2, &format!("{TRIED}=return(trace)"));
        let api = scene.stack.api();
        let source = &begun.prepared.source;
        let mut made = Vec::new();
        // A restore cannot end before its zombie lets the volume go; a backup must.
        if let Some(target) = begun.target {
            let is_available = async || {
                let volume = api.volume(target).await;
                (volume.status == VolumeStatus::Available).then_some(())
            };
            // It waits for the lock for two leases. Who did not have to wait ends soon after.
            until("the second worker to have tried the lock", async || {
                let trace = scene.stack.trace();
                trace.iter().any(|line| line == TRIED).then_some(())
            })
            .await;
            let soon = until("the volume to be available", is_available);
            drop(tokio::time::timeout(2 * scene.lease(), soon).await);
            let early = is_available().await.is_some();
            let mut bytes = source.bytes.clone();
            if early {
                scene.scribble(target, &mut bytes, random);
            }
            scene.stack.worker(1).thaw();
            if !early {
                api.until_volume(target, VolumeStatus::Available).await;
                volume::assert_holds(&scene.stack.file_of(target), &bytes);
                scene.scribble(target, &mut bytes, random);
            }
            scene.zombie_gave_up(&mut zombie).await;
            volume::assert_holds(&scene.stack.file_of(target), &bytes);
            api.until_backup(begun.backup, BackupStatus::Available)
                .await;
            made.push(target);
        } else {
            api.until_backup(begun.backup, BackupStatus::Available)
                .await;
            let tree = scene.stack.target().tree_of(begun.backup);
            let kept = Kept {
                id: begun.backup,
                bytes: source.bytes.clone(),
            };
            let restored = scene.restores(&kept).await;
            let mut bytes = source.bytes.clone();
            scene.scribble(restored, &mut bytes, random);
            zombie.forget().await;
            scene.stack.worker(1).thaw();
            scene.zombie_gave_up(&mut zombie).await;
            assert_eq!(scene.stack.target().tree_of(begun.backup), tree);
            volume::assert_holds(&scene.stack.file_of(restored), &bytes);
            made.push(restored);
        }
        for kept in &begun.prepared.kept {
            made.push(scene.restores(kept).await);
        }
        scene.stack.assert_nothing_left_behind().await;
        scene.clear(&begun, made).await;
    }
}
