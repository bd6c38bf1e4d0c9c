//! What the machine allows: the costs of the engine's parts, measured in the same run, and what follows from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::peer::Step;

/// What `backup-worker/examples/costs.rs` prints: seconds of one core for a GB; shares of the volume.
#[derive(Debug, Deserialize)]
pub(super) struct Costs {
    pub(super) sha256_path: String,
    pub(super) md5_path: String,
    pub(super) zero_blocks: f64,
    pub(super) zero_objects: f64,
    pub(super) read: f64,
    pub(super) zero: f64,
    pub(super) sha256: f64,
    pub(super) md5_lanes: f64,
    pub(super) md5_stream: f64,
    pub(super) write: f64,
    pub(super) algorithms: BTreeMap<String, CodecCosts>,
}

/// Of one algorithm.
#[derive(Debug, Deserialize)]
pub(super) struct CodecCosts {
    pub(super) compress: f64,
    pub(super) decompress: f64,
    pub(super) ratio: f64,
}

impl Costs {
    /// Measures them with this volume.
    ///
    /// # Errors
    /// When the program fails.
    pub(super) async fn measure(program: &Path, volume: &Path, scratch: &Path) -> Result<Self> {
        let printed = scratch.join("costs.json");
        let mut command = Command::new(program);
        command.arg(volume).arg(scratch.join("costs"));
        super::usage::measure(command, Some(&printed), &scratch.join("log")).await?;
        let text = std::fs::read_to_string(&printed).context("read the costs")?;
        serde_json::from_str(&text).context("understand the costs")
    }

    /// The least of each cost in both: what the best minute of either showed.
    #[must_use]
    pub(super) fn least(mut self, other: &Self) -> Self {
        let pairs = [
            (&mut self.read, other.read),
            (&mut self.zero, other.zero),
            (&mut self.sha256, other.sha256),
            (&mut self.md5_lanes, other.md5_lanes),
            (&mut self.md5_stream, other.md5_stream),
            (&mut self.write, other.write),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.min(theirs);
        }
        for (name, codec) in &mut self.algorithms {
            if let Some(other) = other.algorithms.get(name) {
                codec.compress = codec.compress.min(other.compress);
                codec.decompress = codec.decompress.min(other.decompress);
            }
        }
        self
    }

    /// GB/s of volume that `threads` cores can do at most with this algorithm; `None` for another step or an unknown algorithm.
    /// Disks and networks bound it besides.
    pub(super) fn limit(&self, step: Step, algorithm: &str, threads: f64) -> Option<f64> {
        let codec = self.algorithms.get(algorithm)?;
        let (data, objects) = (1.0 - self.zero_blocks, 1.0 - self.zero_objects);
        let scan = self.read + self.zero + data * self.sha256;
        let cost = match step {
            Step::Prepare => return None,
            Step::Full => {
                scan + objects * (self.md5_lanes + codec.compress + codec.ratio * self.write)
            }
            Step::Unchanged => scan,
            Step::Incremental => {
                scan + 0.01 * (self.md5_lanes + codec.compress + codec.ratio * self.write)
            }
            Step::Restore => {
                let object =
                    codec.ratio * self.read + codec.decompress + self.md5_lanes + self.write;
                objects * object + data * self.sha256 + self.zero
            }
        };
        Some(threads / cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        let codec = CodecCosts {
            compress: 2.0,
            decompress: 0.6,
            ratio: 0.5,
        };
        Costs {
            sha256_path: String::new(),
            md5_path: String::new(),
            zero_blocks: 0.5,
            zero_objects: 0.25,
            read: 0.1,
            zero: 0.1,
            sha256: 0.4,
            md5_lanes: 0.2,
            md5_stream: 1.6,
            write: 0.6,
            algorithms: [("lz4".to_owned(), codec)].into(),
        }
    }

    #[test]
    fn of_two_rounds_the_lesser_cost_counts() {
        let mut other = costs();
        (other.read, other.write) = (0.05, 0.7);
        other.algorithms.get_mut("lz4").unwrap().compress = 1.5;
        let least = costs().least(&other);
        assert_eq!((least.read, least.write), (0.05, 0.6));
        assert_eq!(least.algorithms["lz4"].compress, 1.5);
        assert_eq!(least.algorithms["lz4"].decompress, 0.6);
    }

    #[test]
    fn the_limit_is_the_sum_of_what_has_to_be_done() {
        let costs = costs();
        let close = |step, expected: f64| {
            let limit = costs.limit(step, "lz4", 2.0).unwrap();
            assert!((limit - 2.0 / expected).abs() < 1e-9, "{step:?}: {limit}");
        };
        close(Step::Full, 0.1 + 0.1 + 0.2 + 0.75 * (0.2 + 2.0 + 0.3));
        close(
            Step::Incremental,
            0.1 + 0.1 + 0.2 + 0.01 * (0.2 + 2.0 + 0.3),
        );
        close(Step::Unchanged, 0.1 + 0.1 + 0.2);
        close(Step::Restore, 0.75 * (0.05 + 0.6 + 0.2 + 0.6) + 0.2 + 0.1);
        assert!(costs.limit(Step::Full, "bz2", 2.0).is_none());
    }
}
