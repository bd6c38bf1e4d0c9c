//! Messages that come again, are lost, or come in the wrong order.

use async_trait::async_trait;
use common::domain::BackupStatus;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Strike, times};
use crate::points::{Deed, Side};
use crate::scene::{Begun, SLOW, Scene};

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Each job message comes two to ten times.
    Duplicated,
    /// The answer to one request is lost, after it was carried out.
    AnswerLost,
    /// Progress comes again and backwards.
    Reordered,
}

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let count = if full { 500 } else { 20 };
    let all = [Trouble::Duplicated, Trouble::AnswerLost, Trouble::Reordered];
    let shares = (0..3).map(|index| (count + index) / 3);
    all.into_iter()
        .zip(shares)
        .flat_map(|(trouble, share)| times(share, trouble))
        .collect()
}

#[async_trait(?Send)]
impl Strike for Trouble {
    fn what(&self) -> String {
        format!("messages, {self:?}")
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let deeds: &[Deed] = match self {
            Self::Reordered => &[Deed::Backup, Deed::Restore],
            Self::Duplicated | Self::AnswerLost => {
                &[Deed::Backup, Deed::Incremental, Deed::Restore, Deed::Delete]
            }
        };
        let deed = *deeds.choose(random).expect("there are some");
        let prepared = scene.prepare(deed, random).await;
        let repeater = match self {
            Self::Duplicated => {
                let more = random.random_range(1..10);
                scene.start_worker(2, "");
                Some(scene.stack.repeat("bk.v1.jobs", "#", more, 0).await)
            }
            Self::Reordered => {
                scene.arm(Side::Worker, SLOW).await;
                Some(scene.stack.repeat("bk.v1.events", "progress.#", 2, 4).await)
            }
            Self::AnswerLost => {
                let answered = random.random_range(0..8);
                let lost = format!("rpc.answer={answered}*off->1*return(skip)->off");
                scene.arm(Side::Api, &lost).await;
                None
            }
        };
        let begun = scene.begin(deed, prepared).await;
        let Some(repeater) = repeater else {
            scene.comes_true(&begun).await;
            return;
        };
        let check = async {
            if matches!(self, Self::Reordered) {
                never_goes_back(scene, &begun).await;
            }
            scene.ends_well(&begun).await;
        };
        tokio::select! {
            () = check => {}
            () = repeater.run() => {}
        }
        scene.comes_true(&begun).await;
    }
}

/// Follows a job's progress to its end: within one execution it only grows.
async fn never_goes_back(scene: &Scene, begun: &Begun) {
    let api = scene.stack.api();
    let mut last = (0, 0);
    loop {
        let status = api.backup(begun.backup).await.status;
        if status == BackupStatus::Available {
            return;
        }
        if let Some(progress) = api.progress(begun.backup).await {
            let now = (progress.generation, progress.done_bytes);
            assert!(now >= last, "progress went from {last:?} to {now:?}");
            last = now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
