//! `kill -9` right at a durable point.

use std::fs::FileTimes;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::SmallRng;

use super::{Strike, times};
use crate::points::{Deed, POINTS, Point, Side};
use crate::scene::{SLOW, Scene};

/// Full runs do each of these so often.
const FULL: usize = 5;

/// A process dies at a point of a deed.
#[derive(Debug, Clone)]
pub(crate) struct Kill {
    pub(crate) deed: Deed,
    pub(crate) side: Side,
    /// `NAME.before` or `NAME.after`.
    pub(crate) at: String,
}

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let mut strikes = Vec::new();
    for Point { name, side, deeds } in POINTS {
        for deed in *deeds {
            let places: &[&str] = if full {
                &["before", "after"]
            } else {
                &["after"]
            };
            for place in places {
                let kill = Kill {
                    deed: *deed,
                    side: *side,
                    at: format!("{name}.{place}"),
                };
                strikes.extend(times(if full { FULL } else { 1 }, kill));
            }
        }
    }
    strikes
}

#[async_trait(?Send)]
impl Strike for Kill {
    fn what(&self) -> String {
        format!("{:?}, killed at {}", self.deed, self.at)
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let prepared = scene.prepare(self.deed, random).await;
        let fatal = format!("{}=return(kill)", self.at);
        if self.deed == Deed::Restart {
            // The first death leaves an attempt behind that cannot be gone on with.
            scene
                .arm(Side::Worker, "backup.segment.after=return(kill)")
                .await;
            let begun = scene.begin(self.deed, prepared).await;
            scene.struck("backup.segment.after").await;
            let file = scene.stack.volumes().join(&begun.prepared.source.name);
            let file = std::fs::File::options().write(true).open(file);
            let now = FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            file.and_then(|file| file.set_times(now))
                .expect("a volume can be touched");
            if self.side == Side::Api {
                scene.arm(Side::Api, &fatal).await;
                scene.arm(Side::Worker, "").await;
            } else {
                scene.arm(Side::Worker, &fatal).await;
            }
            return self.go_on(scene, begun, random).await;
        }
        let around = match self.deed {
            Deed::Release => "store.io=3*off->1*return(eio)->off",
            _ => SLOW,
        };
        let needs_time =
            matches!(self.deed, Deed::Cancel | Deed::Release) || self.at.starts_with("api.renew");
        match self.side {
            Side::Api => {
                if needs_time {
                    scene.arm(Side::Worker, around).await;
                }
                scene.arm(Side::Api, &fatal).await;
            }
            Side::Worker if needs_time => {
                scene.arm(Side::Worker, &format!("{fatal};{around}")).await
            }
            Side::Worker => scene.arm(Side::Worker, &fatal).await,
        }
        let begun = scene.begin(self.deed, prepared).await;
        if self.deed == Deed::Cancel {
            scene.in_the_middle(begun.backup).await;
            scene.cancel(begun.backup).await;
        }
        self.go_on(scene, begun, random).await;
    }
}

impl Kill {
    async fn go_on(&self, scene: &mut Scene, begun: crate::scene::Begun, random: &mut SmallRng) {
        scene.struck(&self.at).await;
        // Sometimes it is away for a while.
        if random.random_bool(0.3) {
            tokio::time::sleep(std::time::Duration::from_millis(
                random.random_range(0..1500),
            ))
            .await;
        }
        scene.revive(self.side, random).await;
        scene.comes_true(&begun).await;
    }
}
