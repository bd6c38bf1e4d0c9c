//! What was measured with an image, and its tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Image;
use super::limit::Costs;
use super::machine::cores;
use super::peer::{Peer, Step};
use super::usage::{Usage, median, seconds};

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

    /// Cores that were at work on average.
    pub(super) fn busy_cores(&self, step: Step) -> Option<f64> {
        let used = self.used.get(&step)?.iter();
        Some(median(used.map(|usage| usage.cpu_s / usage.wall_s)))
    }

    pub(super) fn has_slower_step(&self, than: Duration) -> bool {
        let mut all = self.used.values().flatten();
        all.any(|usage| usage.wall_s > than.as_secs_f64())
    }

    fn rounds(&self) -> usize {
        self.used.values().map(Vec::len).max().unwrap_or(0)
    }
}

/// One image and its table.
pub(super) struct Measured {
    pub(super) image: Image,
    pub(super) size_bytes: u64,
    pub(super) rows: BTreeMap<Peer, Row>,
    pub(super) costs: Option<Costs>,
}

impl Measured {
    pub(super) fn section(&self) -> String {
        let mut text = format!(
            "## {} volume, {} MiB\n\n![]({})\n\n",
            self.image.name(),
            self.size_bytes >> 20,
            plot_name(self.image)
        );
        text.push_str("| | full: wall / CPU / RSS | nothing changed | 1 % changed | restore | stored MB: full → after |\n|---|---|---|---|---|---|\n");
        let rounds = self.rows.values().map(Row::rounds).max();
        for (peer, row) in &self.rows {
            let cell = |step| {
                row.used
                    .get(&step)
                    .map_or("–".to_owned(), |used| cell(used))
            };
            let after = row.stored_after.map_or("–".to_owned(), megabytes);
            let _ = writeln!(
                text,
                "| {}{} | {} | {} | {} | {} | {} → {after} |",
                peer.name(),
                if Some(row.rounds()) < rounds {
                    " ¹"
                } else {
                    ""
                },
                cell(Step::Full),
                cell(Step::Unchanged),
                cell(Step::Incremental),
                cell(Step::Restore),
                megabytes(row.stored_full),
            );
        }
        text
    }

    /// What part of the limit a row of ours reached in its best round.
    pub(super) fn share(&self, peer: Peer, step: Step) -> Option<f64> {
        Some(self.wall_at_limit(peer, step)? / self.rows.get(&peer)?.best(step)?)
    }

    /// Seconds that a step of ours takes at the limit.
    pub(super) fn wall_at_limit(&self, peer: Peer, step: Step) -> Option<f64> {
        let costs = self.costs.as_ref()?;
        let limit = costs.limit(step, peer.ours()?, cores().into())?;
        Some(self.gigabytes() / limit)
    }

    /// GB/s in the best round.
    fn best_rate(&self, peer: Peer, step: Step) -> Option<f64> {
        Some(self.gigabytes() / self.rows.get(&peer)?.best(step)?)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn gigabytes(&self) -> f64 {
        self.size_bytes as f64 / 1e9
    }

    pub(super) fn limit(&self) -> Option<String> {
        let costs = self.costs.as_ref()?;
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
        for peer in self.rows.keys() {
            let Some((algorithm, codec)) = peer
                .ours()
                .and_then(|name| Some((name, costs.algorithms.get(name)?)))
            else {
                continue;
            };
            for step in [
                Step::Full,
                Step::Unchanged,
                Step::Incremental,
                Step::Restore,
            ] {
                if let Some(limit) = costs.limit(step, algorithm, cores().into())
                    && let Some(reached) = self.best_rate(*peer, step)
                {
                    let _ = writeln!(
                        text,
                        "| {algorithm} | {:.2} | {:.2} | {:.2} | {} | {limit:.2} | {reached:.2} | {:.2} |",
                        codec.compress,
                        codec.decompress,
                        codec.ratio,
                        step_name(step),
                        reached / limit,
                    );
                }
            }
        }
        Some(text)
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

pub(super) fn plot_name(image: Image) -> String {
    format!("benchmarks-{}.svg", image.name().replace(' ', "-"))
}

pub(super) fn step_name(step: Step) -> &'static str {
    match step {
        Step::Prepare => "prepare",
        Step::Full => "full backup",
        Step::Unchanged => "nothing changed",
        Step::Incremental => "1 % changed",
        Step::Restore => "restore",
    }
}
