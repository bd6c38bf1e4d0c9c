//! The report: tables for each image, the ratios that are asked for, the limit and how near we are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::limit::Costs;
use super::memory::{self, Memory};
use super::peer::{Peer, Step};
use super::usage::{Usage, median, seconds};
use super::{Image, machine, plot};

/// What one peer did with one image, in all rounds.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) used: BTreeMap<Step, Vec<Usage>>,
    pub(super) stored_full: u64,
    pub(super) stored_after: Option<u64>,
}

impl Row {
    /// The median of the rounds in seconds, if the peer does this.
    pub(super) fn wall(&self, step: Step) -> Option<f64> {
        Some(median(
            self.used.get(&step)?.iter().map(|usage| usage.wall_s),
        ))
    }

    fn best(&self, step: Step) -> Option<f64> {
        let walls = self.used.get(&step)?.iter().map(|usage| usage.wall_s);
        walls.min_by(f64::total_cmp)
    }
}

/// What the ratio of two rows must be at least.
struct Goal {
    image: Image,
    step: Step,
    ours: Peer,
    theirs: Peer,
    at_least: f64,
}

const fn goal(image: Image, step: Step, ours: Peer, theirs: Peer, at_least: f64) -> Goal {
    Goal {
        image,
        step,
        ours,
        theirs,
        at_least,
    }
}

const GOALS: [Goal; 10] = [
    goal(
        Image::Ext4,
        Step::Full,
        Peer::EmberLz4,
        Peer::CinderZlib,
        25.0,
    ),
    goal(
        Image::Ext4,
        Step::Full,
        Peer::EmberZstd,
        Peer::CinderZstd,
        3.5,
    ),
    goal(
        Image::Ext4,
        Step::Full,
        Peer::EmberZlib,
        Peer::CinderZlib,
        6.0,
    ),
    goal(Image::Ext4, Step::Full, Peer::EmberLz4, Peer::Restic, 6.0),
    goal(Image::Ext4, Step::Full, Peer::EmberLz4, Peer::BorgLz4, 4.0),
    goal(
        Image::Sparse,
        Step::Full,
        Peer::EmberLz4,
        Peer::CinderZlib,
        60.0,
    ),
    goal(
        Image::Ext4,
        Step::Incremental,
        Peer::EmberZlib,
        Peer::CinderZlib,
        8.0,
    ),
    goal(
        Image::Ext4,
        Step::Incremental,
        Peer::EmberZstd,
        Peer::CinderZstd,
        8.0,
    ),
    goal(
        Image::Ext4,
        Step::Restore,
        Peer::EmberZlib,
        Peer::CinderZlib,
        4.0,
    ),
    goal(
        Image::Ext4,
        Step::Restore,
        Peer::EmberZstd,
        Peer::CinderZstd,
        4.0,
    ),
];

/// Our share of the limit must be at least this.
const SHARE_GOAL: f64 = 0.75;

struct Measured {
    image: Image,
    size_bytes: u64,
    rows: BTreeMap<Peer, Row>,
    costs: Costs,
}

/// All that was measured in a run.
pub(super) struct Report {
    seed: u64,
    rounds: u32,
    quick: bool,
    images: Vec<Measured>,
    memory: Vec<Memory>,
}

impl Report {
    pub(super) fn new(seed: u64, rounds: u32, quick: bool) -> Self {
        Self {
            seed,
            rounds,
            quick,
            images: Vec::new(),
            memory: Vec::new(),
        }
    }

    pub(super) fn set_memory(&mut self, rows: Vec<Memory>) {
        self.memory = rows;
    }

    pub(super) fn add(
        &mut self,
        image: Image,
        size_bytes: u64,
        rows: BTreeMap<Peer, Row>,
        costs: Costs,
    ) {
        self.images.push(Measured {
            image,
            size_bytes,
            rows,
            costs,
        });
    }

    /// Writes `benchmarks.md` and its plots into a folder, and tells the page's path.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        for measured in &self.images {
            let path = folder.join(plot_name(measured.image));
            std::fs::write(&path, plot::bars(measured.image.name(), &measured.rows))
                .with_context(|| format!("write {}", path.display()))?;
        }
        let page = folder.join("benchmarks.md");
        std::fs::write(&page, self.page()).with_context(|| format!("write {}", page.display()))?;
        Ok(page)
    }

    fn page(&self) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line("# Benchmarks\n");
        line("Written by `cargo xtask bench`; all numbers of this page are of one run.\n");
        if self.quick {
            line(
                "**A quick run, of small images and a build for tests: it shows that the measuring works, and nothing else.**\n",
            );
        }
        line(&format!(
            "Machine: {}. Seed {}, median of {} round(s), seconds.\n",
            machine(),
            self.seed,
            self.rounds
        ));
        line(
            "Read ratios, not seconds: machines differ, and so do minutes of one machine. Each round goes through all rows before the",
        );
        line(
            "next begins. The volume is in the page cache, and everything was written out, before each step. `CPU` is user and system time of",
        );
        line(
            "all threads, `RSS` the most memory of one process (what takes less than this program itself shows as much as it). Every restored volume was",
        );
        line(
            "compared with what had been backed up. Cinder is its driver without its service, with its start of Python; restic encrypts and deduplicates, as",
        );
        line("it comes; borg deduplicates.\n");
        for measured in &self.images {
            line(&measured.section());
        }
        if !self.memory.is_empty() {
            line(&memory::section(&self.memory));
        }
        line(&self.goals());
        line("## The limit\n");
        line(
            "Costs of the engine's parts, in seconds of one core for a GB (10⁹ bytes), by `backup-worker/examples/costs.rs` in the same run. Of them follows what",
        );
        line("the processor allows, disks and networks aside:\n");
        line("```text");
        line(
            "full        = read + zero + (1-z) sha256 + (1-Z) (md5 + compress + r write)         z: share of zero blocks",
        );
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
        for measured in &self.images {
            line(&measured.limit());
        }
        line("Kernels by themselves: `cargo bench -p backup-worker`.");
        text
    }

    fn goals(&self) -> String {
        let mut text = String::from(
            "## Ratios\n\n| volume | step | | times as fast | asked for |\n|---|---|---|---|---|\n",
        );
        for goal in GOALS {
            let Some(measured) = self
                .images
                .iter()
                .find(|measured| measured.image == goal.image)
            else {
                continue;
            };
            let wall = |peer| {
                measured
                    .rows
                    .get(&peer)
                    .and_then(|row: &Row| row.wall(goal.step))
            };
            if let (Some(ours), Some(theirs)) = (wall(goal.ours), wall(goal.theirs)) {
                let ratio = theirs / ours;
                let mark = if ratio >= goal.at_least {
                    ""
                } else {
                    ", **missed**"
                };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} against {} | {ratio:.1} | {}{mark} |",
                    goal.image.name(),
                    step_name(goal.step),
                    goal.ours.name(),
                    goal.theirs.name(),
                    goal.at_least,
                );
            }
        }
        text
    }
}

impl Measured {
    fn section(&self) -> String {
        let mut text = format!(
            "## {} volume, {} MiB\n\n![]({})\n\n",
            self.image.name(),
            self.size_bytes >> 20,
            plot_name(self.image)
        );
        text.push_str("| | full: wall / CPU / RSS | 1 % changed | restore | stored MB: full → after |\n|---|---|---|---|---|\n");
        for (peer, row) in &self.rows {
            let cell = |step| {
                row.used
                    .get(&step)
                    .map_or("–".to_owned(), |used| cell(used))
            };
            let after = row.stored_after.map_or("–".to_owned(), megabytes);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} → {after} |",
                peer.name(),
                cell(Step::Full),
                cell(Step::Incremental),
                cell(Step::Restore),
                megabytes(row.stored_full),
            );
        }
        text
    }

    fn limit(&self) -> String {
        let costs = &self.costs;
        let mut text = format!(
            "**{}**: z {:.2}, Z {:.2}; read {:.2}, zero {:.2}, sha256 {:.2} ({}), md5 {:.2} ({}) or {:.2} in one stream, write {:.2}.\n\n",
            self.image.name(),
            costs.zero_blocks,
            costs.zero_objects,
            costs.read,
            costs.zero,
            costs.sha256,
            costs.sha256_path,
            costs.md5_lanes,
            costs.md5_path,
            costs.md5_stream,
            costs.write,
        );
        text.push_str("| | compress | decompress | r | step | limit GB/s | reached, best | share |\n|---|---|---|---|---|---|---|---|\n");
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = f64::from(u16::try_from(threads).unwrap_or(u16::MAX));
        for (peer, row) in &self.rows {
            let Some(algorithm) = peer.ours() else {
                continue;
            };
            let Some(codec) = costs.algorithms.get(algorithm) else {
                continue;
            };
            for step in [Step::Full, Step::Incremental, Step::Restore] {
                let (Some(limit), Some(best)) =
                    (costs.limit(step, algorithm, threads), row.best(step))
                else {
                    continue;
                };
                #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                let reached = self.size_bytes as f64 / 1e9 / best;
                let share = reached / limit;
                let mark = if share < SHARE_GOAL {
                    " (0.75 is asked for)"
                } else {
                    ""
                };
                let _ = writeln!(
                    text,
                    "| {algorithm} | {:.2} | {:.2} | {:.2} | {} | {limit:.2} | {reached:.2} | {share:.2}{mark} |",
                    codec.compress,
                    codec.decompress,
                    codec.ratio,
                    step_name(step),
                );
            }
        }
        text
    }
}

fn cell(used: &[Usage]) -> String {
    let of = |value: fn(&Usage) -> f64| median(used.iter().map(value));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let memory = of(|usage| usage.rss_bytes as f64);
    format!(
        "{} / {} / {:.0} MB",
        seconds(of(|usage| usage.wall_s)),
        seconds(of(|usage| usage.cpu_s)),
        memory / 1e6
    )
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1}")
}

fn plot_name(image: Image) -> String {
    format!("benchmarks-{}.svg", image.name())
}

pub(super) fn step_name(step: Step) -> &'static str {
    match step {
        Step::Prepare => "prepare",
        Step::Full => "full backup",
        Step::Incremental => "1 % changed",
        Step::Restore => "restore",
    }
}

#[cfg(test)]
mod tests {
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
        let mut report = Report::new(7, 1, true);
        let rows = [
            (Peer::EmberLz4, row(1.0)),
            (Peer::CinderZlib, row(30.0)),
            (Peer::Restic, row(2.0)),
            (Peer::QemuImg, row(3.0)),
        ];
        report.add(Image::Ext4, 1 << 30, rows.into(), costs);
        let folder = tempfile::tempdir().unwrap();
        let page = std::fs::read_to_string(report.write(folder.path()).unwrap()).unwrap();
        for expected in [
            "Seed 7",
            "| Emberkeep lz4 | 1.00 / 1.00 / 50 MB | – | – | 1.5 → – |",
            "| ext4 | full backup | Emberkeep lz4 against Cinder zlib (its default) | 30.0 | 25 |",
            "| ext4 | full backup | Emberkeep lz4 against restic | 2.0 | 6, **missed** |",
            "| lz4 | 2.00 | 1.00 | 0.40 | full backup |",
            "A quick run",
        ] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        let plot = std::fs::read_to_string(folder.path().join("benchmarks-ext4.svg")).unwrap();
        assert!(plot.starts_with("<svg") && plot.contains("qemu-img"));
    }
}
