//! The broker, or the way to it, fails in the middle of a job.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Strike, times};
use crate::points::{Deed, Side};
use crate::scene::{SLOW, Scene};

/// The broker writes down late what it needs to find a new quorum queue again: killed within half a second of the
/// declaration, RabbitMQ 3.10 comes back with a queue that answers nobody for a minute and more. Here it is killed when it
/// has had its queues for a while, as brokers have.
const QUEUES_ARE_KNOWN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Killed,
    Cut,
    Swallowed,
    Alarm,
}

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let all = [
        Trouble::Killed,
        Trouble::Cut,
        Trouble::Swallowed,
        Trouble::Alarm,
    ];
    let each = if full { 25 } else { 2 };
    all.into_iter()
        .flat_map(|trouble| times(each, trouble))
        .collect()
}

#[async_trait(?Send)]
impl Strike for Trouble {
    fn what(&self) -> String {
        format!("the broker, {self:?}")
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let deeds = [Deed::Backup, Deed::Incremental, Deed::Restore, Deed::Delete];
        let deed = *deeds.choose(random).expect("there are some");
        let prepared = scene.prepare(deed, random).await;
        scene.arm(Side::Worker, SLOW).await;
        if matches!(self, Self::Killed) {
            tokio::time::sleep(QUEUES_ARE_KNOWN).await;
        }
        let begun = scene.begin(deed, prepared).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1000))).await;
        let lasts = Duration::from_millis(random.random_range(500..6000));
        match self {
            Self::Killed => {
                scene.stack.kill_broker().await;
                scene.stack.start_broker().await;
            }
            Self::Cut => {
                for proxy in scene.stack.proxies() {
                    if random.random_bool(0.7) {
                        proxy.cut();
                    }
                }
            }
            Self::Swallowed => {
                let all = scene.stack.proxies();
                let some: Vec<_> = all.iter().filter(|_| random.random_bool(0.6)).collect();
                some.iter().for_each(|proxy| proxy.swallow());
                tokio::time::sleep(lasts).await;
                some.iter().for_each(|proxy| proxy.pass());
            }
            Self::Alarm => {
                let mark = "set_vm_memory_high_watermark";
                let control = [mark, "absolute", "1"];
                scene.stack.control_broker(&control).await;
                tokio::time::sleep(lasts).await;
                let control = [mark, "absolute", "1GB"];
                scene.stack.control_broker(&control).await;
            }
        }
        scene.comes_true(&begun).await;
    }
}
