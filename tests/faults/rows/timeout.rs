//! A job that takes longer than the broker waits for an acknowledgement.

use async_trait::async_trait;
use rand::rngs::SmallRng;

use super::{Strike, times};
use crate::points::{Deed, Side};
use crate::scene::Scene;

#[derive(Debug, Clone)]
struct Outlasts;

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    times(if full { 5 } else { 1 }, Outlasts)
}

#[async_trait(?Send)]
impl Strike for Outlasts {
    fn what(&self) -> String {
        "a job outlasts the broker's consumer_timeout".to_owned()
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let prepared = scene.prepare(Deed::Backup, random).await;
        let mut workers = scene.stack.listen("worker.#").await;
        // Three batches of six seconds each, where the broker waits for five.
        scene
            .arm(Side::Worker, "backup.segment.before=sleep(6000)")
            .await;
        let begun = scene.begin(Deed::Backup, prepared).await;
        workers
            .hear("the worker to take the job", |event| {
                event.data["running"] != serde_json::json!([])
            })
            .await;
        scene.comes_true(&begun).await;
        let log = scene.stack.worker(1).log();
        assert!(
            !log.contains("PRECONDITION_FAILED"),
            "the broker closed a channel of the worker"
        );
    }
}
