//! The report: tables for each image, the ratios that are asked for, the limit and how near we are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::chain::Chain;
use super::machine::{hashing, machine};
use super::memory::{self, Memory};
use super::peer::{Peer, Step};
use super::profile::Profile;
use super::rounds::SLOW;
use super::service::Service;
use super::table::{Measured, plot_name};
use super::tracking::Tracking;
use super::{Image, charts, plot, targets};

const TARGETS_PLOT: &str = "benchmarks-targets.svg";
const PROFILE_PLOT: &str = "benchmarks-profile.svg";

/// All that was measured in a run; what is `None` was not asked for.
#[derive(Default)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) rounds: u32,
    pub(super) is_quick: bool,
    pub(super) took: Duration,
    pub(super) hashlib: Option<f64>,
    pub(super) images: Vec<Measured>,
    pub(super) chain: Option<Chain>,
    pub(super) service: Option<Service>,
    pub(super) tracking: Option<Result<Tracking>>,
    pub(super) memory: Option<Memory>,
    pub(super) profile: Option<Result<Profile>>,
}

impl Report {
    pub(super) fn image(&self, image: Image) -> Option<&Measured> {
        self.images.iter().find(|measured| measured.image == image)
    }

    /// The median of a step, in seconds.
    pub(super) fn wall(&self, image: Image, step: Step, peer: Peer) -> Option<f64> {
        self.image(image)?.rows.get(&peer)?.wall(step)
    }

    /// How many times as fast one is as the other.
    pub(super) fn ratio(&self, image: Image, step: Step, ours: Peer, theirs: Peer) -> Option<f64> {
        Some(self.wall(image, step, theirs)? / self.wall(image, step, ours)?)
    }

    /// Writes `benchmarks.md` and its plots into a folder, and tells the page's path.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            Ok(path)
        };
        for measured in &self.images {
            let bars = plot::bars(measured.image.name(), &measured.rows);
            write(&plot_name(measured.image), bars)?;
        }
        write(TARGETS_PLOT, charts::targets(&targets::targets(self)))?;
        if let Some(Ok(profile)) = &self.profile {
            write(PROFILE_PLOT, charts::profile(profile))?;
        }
        write("benchmarks.md", self.page())
    }

    fn page(&self) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line("# Benchmarks\n");
        line("Written by `cargo xtask bench`; all numbers of this page are of one run.\n");
        if self.is_quick {
            line(
                "**A quick run, of small images and a build for tests: it shows that the measuring works, and nothing else.**\n",
            );
        }
        line(&format!(
            "Machine: {}. Seed {}, median of {} round(s), seconds. The whole run took {} min.\n",
            machine(),
            self.seed,
            self.rounds,
            self.took.as_secs().div_ceil(60),
        ));
        let costs = self.images.iter().find_map(|image| image.costs.as_ref());
        let ours = costs.map(|costs| (costs.sha256, costs.sha256_path.as_str()));
        line(&hashing(self.hashlib, ours));
        line("");
        line(&targets::section(
            self,
            &targets::targets(self),
            TARGETS_PLOT,
        ));
        line("## How it is measured\n");
        line(
            "Read ratios, not seconds: machines differ, and so do minutes of one machine. Each round goes through all rows before the",
        );
        line(
            "next begins. Before each step of a row everything was written out, and the volume, or for a restore what is stored, is in the page cache, whatever",
        );
        line(
            "the program leaves there itself. `CPU` is user and system time of all threads, `RSS` the most memory of one process (what takes less than this",
        );
        line("program itself shows as much as it). Every restored volume was");
        line(
            "compared with what had been backed up. Cinder is its driver without its service, with its start of Python; restic encrypts and deduplicates, as",
        );
        line(&format!(
            "it comes; borg deduplicates. A row of another program of which a step takes more than {} s in the first round is not repeated: `¹` means measured once.",
            SLOW.as_secs()
        ));
        line(
            "bz2 has a small volume of its own, because it is thirty times dearer than LZ4; the sparse volume has fewer rows.\n",
        );
        for measured in &self.images {
            line(&measured.section());
        }
        if let Some(chain) = &self.chain {
            line(&chain.section());
        }
        if let Some(service) = &self.service {
            line(&service.section());
        }
        match &self.tracking {
            Some(Ok(tracking)) => line(&tracking.section()),
            Some(Err(error)) => line(&format!(
                "## With change tracking\n\nNot measured, for there is no place for it: {error:#}.\n"
            )),
            None => {}
        }
        if let Some(memory) = &self.memory {
            line(&memory::section(memory));
        }
        line(&self.ratios());
        match &self.profile {
            Some(Ok(profile)) => line(&profile.section(PROFILE_PLOT)),
            Some(Err(error)) => line(&format!(
                "## Where the time goes\n\nNot measured, for `perf` could not look: {error:#}.\n"
            )),
            None => {}
        }
        line("## The limit\n");
        line(
            "Costs of the engine's parts, in seconds of one core for a GB (10⁹ bytes), by `backup-worker/examples/costs.rs` after each round, the least of all rounds. Of them follows what",
        );
        line("the processor allows, disks and networks aside:\n");
        line("```text");
        line(
            "full        = read + zero + (1-z) sha256 + (1-Z) (md5 + compress + r write)         z: share of zero blocks",
        );
        line("unchanged   = read + zero + (1-z) sha256");
        line(
            "incremental = read + zero + (1-z) sha256 + d (md5 + compress + r write)             Z: share of zero objects",
        );
        line(
            "restore     = (1-Z) (r read + decompress + md5 + write) + (1-z) sha256 + zero       r: stored for each byte; d: 0.01",
        );
        line(
            "limit GB/s  = cores / cost                                                          md5: in lanes over objects",
        );
        line("```\n");
        for limit in self.images.iter().filter_map(Measured::limit) {
            line(&limit);
        }
        line("Kernels by themselves: `cargo bench -p backup-worker`.");
        text
    }

    /// What is told beside the targets.
    fn ratios(&self) -> String {
        let mut text = String::new();
        let mut row = |what: &str, ratio: Option<f64>| {
            if let Some(ratio) = ratio {
                let _ = writeln!(text, "| {what} | {ratio:.2} |");
            }
        };
        let (small, ext4) = (Image::Small, Image::Ext4);
        for (what, step) in [
            ("full backup", Step::Full),
            ("1 % changed", Step::Incremental),
            ("restore", Step::Restore),
        ] {
            let (ours, theirs) = (Peer::EmberBz2, Peer::CinderBz2);
            row(
                &format!("{what}, bz2 against Cinder's bz2, small ext4 volume"),
                self.ratio(small, step, ours, theirs),
            );
            let bare = self.wall(ext4, step, Peer::EmberLz4);
            let cinder = self.wall(ext4, step, Peer::CinderZlib);
            if let Some(service) = &self.service {
                let whole = service.wall(step);
                row(
                    &format!(
                        "{what} through the whole service, against the bare driver of Cinder, its default"
                    ),
                    cinder.zip(whole).map(|(theirs, ours)| theirs / ours),
                );
                row(
                    &format!("{what} through the whole service, against the worker alone"),
                    bare.zip(whole).map(|(bare, whole)| bare / whole),
                );
            }
        }
        match text.is_empty() {
            true => text,
            false => format!("## Other ratios\n\n| | times as fast |\n|---|---|\n{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Row;
    use super::super::usage::Usage;
    use super::*;

    #[test]
    fn the_page_has_every_row_and_says_which_goal_was_missed() {
        let used = |wall_s| {
            vec![Usage {
                wall_s,
                cpu_s: 1.0,
                rss_bytes: 50_000_000,
            }]
        };
        let row = |wall| Row {
            used: [(Step::Full, used(wall))].into(),
            stored_full: 1_500_000,
            stored_after: None,
        };
        let costs = serde_json::from_str(
            r#"{"sha256_path": "AVX2", "md5_path": "AVX2", "zero_blocks": 0.1, "zero_objects": 0.1, "read": 0.1, "zero": 0.1,
                "sha256": 0.4, "md5_lanes": 0.2, "md5_stream": 1.6, "write": 0.6,
                "algorithms": {"lz4": {"compress": 2, "decompress": 1, "ratio": 0.4}}}"#,
        )
        .unwrap();
        let mut twice = row(1.0);
        twice
            .used
            .insert(Step::Full, [used(1.0), used(1.0)].concat());
        let rows = [
            (Peer::EmberLz4, twice),
            (Peer::CinderZlib, row(30.0)),
            (Peer::Restic, row(2.0)),
            (Peer::QemuImg, row(3.0)),
        ];
        let report = Report {
            seed: 7,
            rounds: 1,
            is_quick: true,
            images: vec![Measured {
                image: Image::Ext4,
                size_bytes: 1 << 30,
                rows: rows.into(),
                costs: Some(costs),
            }],
            profile: Some(Err(anyhow::anyhow!("it is forbidden"))),
            ..Report::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let page = std::fs::read_to_string(report.write(folder.path()).unwrap()).unwrap();
        for expected in [
            "Seed 7",
            "| Emberkeep lz4 | 1.00 / 1.00 / 50 MB | – | – | – | 1.5 → – |",
            "| Cinder zlib (its default) ¹ | 30 /",
            "| full backup, ext4 volume: Emberkeep lz4 against Cinder zlib (its default) | ≥ 25 × | 30 × | reached |",
            "| full backup, ext4 volume: Emberkeep lz4 against restic | ≥ 6.00 × | 2.00 × | **not reached** |",
            "- full backup, ext4 volume: Emberkeep lz4 against restic: 1.00 of ",
            "| peak RSS, backup of a sparse volume of 1024 GiB | ≤ 320 MiB | – | not measured |",
            "could not look: it is forbidden",
            "| lz4 | 2.00 | 1.00 | 0.40 | full backup |",
            "A quick run",
        ] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        let plot = std::fs::read_to_string(folder.path().join("benchmarks-ext4.svg")).unwrap();
        assert!(plot.starts_with("<svg") && plot.contains("qemu-img"));
        let plot = folder.path().join("benchmarks-targets.svg");
        assert!(std::fs::read_to_string(plot).unwrap().contains("30 ×"));
    }
}
