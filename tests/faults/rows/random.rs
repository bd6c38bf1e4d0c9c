//! `kill -9` at any time, and again while the system recovers.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Strike, times};
use crate::points::{Deed, Side};
use crate::scene::{SLOW, Scene};

/// Kills of one case, at most: below the failures after which a job is given up.
const KILLS_MAX: u32 = 3;

#[derive(Debug, Clone)]
struct AnyTime;

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    times(if full { 500 } else { 20 }, AnyTime)
}

#[async_trait(?Send)]
impl Strike for AnyTime {
    fn what(&self) -> String {
        "killed at any time, and again".to_owned()
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let deeds = [Deed::Backup, Deed::Incremental, Deed::Restore, Deed::Delete];
        let deed = *deeds.choose(random).expect("there are some");
        let prepared = scene.prepare(deed, random).await;
        scene.arm(Side::Worker, SLOW).await;
        let begun = scene.begin(deed, prepared).await;
        for _ in 0..random.random_range(1..=KILLS_MAX) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
            let side = *[Side::Api, Side::Worker, Side::Worker]
                .choose(random)
                .expect("there are some");
            scene.process(side).end();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
            scene.revive(side, random).await;
        }
        scene.comes_true(&begun).await;
    }
}
