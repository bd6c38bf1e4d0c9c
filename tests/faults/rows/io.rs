//! The n-th I/O call of a job fails, once or from then on until somebody mends it.

use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::SmallRng;

use super::Strike;
use crate::points::{Deed, Side};
use crate::scene::Scene;

/// Calls that a backup of the volume under test makes on the target: a write and a sync for each of
/// its twelve objects, three segments, two closing files, and its removals.
const STORE_CALLS: usize = 30;
/// Calls of a restore on its volume.
const VOLUME_CALLS: usize = 15;

#[derive(Debug, Clone)]
struct Fails {
    point: &'static str,
    deed: Deed,
    /// Counted from 1.
    call: usize,
    forever: bool,
    how: &'static str,
}

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let step = if full { 1 } else { 3 };
    let mut strikes: Vec<Box<dyn Strike>> = Vec::new();
    let kinds = [
        ("store.io", Deed::Backup, STORE_CALLS),
        ("volume.io", Deed::Restore, VOLUME_CALLS),
    ];
    for (point, deed, calls) in kinds {
        for call in (1..=calls).step_by(step) {
            for forever in [false, true] {
                let how = if call % 2 == 0 { "enospc" } else { "eio" };
                strikes.push(Box::new(Fails {
                    point,
                    deed,
                    call,
                    forever,
                    how,
                }));
            }
        }
    }
    strikes
}

#[async_trait(?Send)]
impl Strike for Fails {
    fn what(&self) -> String {
        let lasts = if self.forever { "for ever" } else { "once" };
        let Self {
            point,
            deed,
            call,
            how,
            ..
        } = self;
        format!("{deed:?}, call {call} of {point} fails with {how} {lasts}")
    }

    async fn run(&self, scene: &mut Scene, random: &mut SmallRng) {
        let prepared = scene.prepare(self.deed, random).await;
        let Self { point, how, .. } = self;
        let before = match self.call - 1 {
            0 => String::new(),
            calls => format!("{calls}*off->"),
        };
        let fails = match self.forever {
            true => format!("{point}={before}return({how})"),
            false => format!("{point}={before}1*return({how})->off"),
        };
        scene.arm(Side::Worker, &fails).await;
        let begun = scene.begin(self.deed, prepared).await;
        if self.forever {
            // It tries, gives the job back, and tries again, until the disk is mended.
            tokio::time::sleep(Duration::from_secs(3)).await;
            scene.arm(Side::Worker, "").await;
        }
        scene.comes_true(&begun).await;
    }
}
