//! What must be reached, and whether it is.

use std::fmt::Write as _;

use super::Image;
use super::memory::LIMIT_MIB;
use super::peer::{Peer, Step};
use super::profile::Subject;
use super::report::Report;
use super::table::step_name;

/// Gibibytes of the volumes whose memory is asked for.
const MEMORY_GIB: [u64; 2] = [64, 1024];

/// How a figure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Times,
    Share,
    MiB,
}

impl Unit {
    fn tell(self, value: f64) -> String {
        match self {
            Self::Times if value < 9.95 => format!("{value:.2} ×"),
            Self::Times => format!("{value:.0} ×"),
            Self::Share => format!("{value:.2}"),
            Self::MiB => format!("{value:.0} MiB"),
        }
    }
}

/// One thing that is asked for.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) what: String,
    unit: Unit,
    measured: Option<f64>,
    bound: f64,
    /// It must not be more, instead of not less.
    is_ceiling: bool,
    /// Better still.
    goal: Option<f64>,
    /// What may tell what bounds it.
    about: Option<About>,
}

/// What a target is about.
#[derive(Debug, Clone, PartialEq)]
enum About {
    /// A row of ours by itself.
    Row(Image, Peer, Step),
    /// Our row beside that of another program, which took so many seconds.
    Against(Image, Peer, Step, f64),
    /// A full backup through the whole service, beside another program that took so many seconds.
    Service(f64),
    /// The incremental with change tracking.
    Tracked,
    /// Two figures of which it is the ratio, in words.
    Figures(String),
}

impl Target {
    fn new(what: impl Into<String>, unit: Unit, measured: Option<f64>, bound: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            measured,
            bound,
            is_ceiling: false,
            goal: None,
            about: None,
        }
    }

    fn at_most(self) -> Self {
        Self {
            is_ceiling: true,
            ..self
        }
    }

    fn about(self, about: impl Into<Option<About>>) -> Self {
        Self {
            about: about.into(),
            ..self
        }
    }

    /// 1 where it is just reached, more where it is passed.
    pub(super) fn margin(&self) -> Option<f64> {
        let measured = self.measured?;
        Some(match self.is_ceiling {
            true => self.bound / measured,
            false => measured / self.bound,
        })
    }

    pub(super) fn told(&self) -> String {
        match self.measured {
            Some(measured) => self.unit.tell(measured),
            None => "–".to_owned(),
        }
    }

    fn asked(&self) -> String {
        let sign = if self.is_ceiling { "≤" } else { "≥" };
        let goal = self.goal.map_or(String::new(), |goal| {
            format!(", goal {}", self.unit.tell(goal))
        });
        format!("{sign} {}{goal}", self.unit.tell(self.bound))
    }

    fn verdict(&self) -> &'static str {
        let passes = |goal| self.measured.is_some_and(|measured| measured >= goal);
        match self.margin() {
            None => "not measured",
            Some(margin) if margin < 1.0 => "**not reached**",
            Some(_) if self.goal.is_some_and(passes) => "reached, and the goal",
            Some(_) => "reached",
        }
    }
}

/// All of them, with what this run measured.
pub(super) fn targets(report: &Report) -> Vec<Target> {
    let mut all = Vec::new();
    let mut against = |image: Image, step, ours: Peer, theirs: Peer, at_least| {
        let ratio = report.ratio(image, step, ours, theirs);
        let what = format!(
            "{}, {} volume: {} against {}",
            step_name(step),
            image.name(),
            ours.name(),
            theirs.name()
        );
        let target = Target::new(what, Unit::Times, ratio, at_least);
        let theirs = report.wall(image, step, theirs);
        all.push(target.about(theirs.map(|theirs| About::Against(image, ours, step, theirs))));
    };
    let (full, changed, restore) = (Step::Full, Step::Incremental, Step::Restore);
    let ext4 = Image::Ext4;
    against(ext4, full, Peer::EmberLz4, Peer::CinderZlib, 25.0);
    against(ext4, full, Peer::EmberZstd, Peer::CinderZstd, 3.5);
    against(ext4, full, Peer::EmberZlib, Peer::CinderZlib, 6.0);
    against(ext4, full, Peer::EmberLz4, Peer::Restic, 6.0);
    against(ext4, full, Peer::EmberLz4, Peer::BorgLz4, 4.0);
    against(Image::Sparse, full, Peer::EmberLz4, Peer::CinderZlib, 60.0);
    against(ext4, changed, Peer::EmberZlib, Peer::CinderZlib, 8.0);
    against(ext4, changed, Peer::EmberZstd, Peer::CinderZstd, 8.0);
    against(ext4, restore, Peer::EmberZlib, Peer::CinderZlib, 4.0);
    against(ext4, restore, Peer::EmberZstd, Peer::CinderZstd, 4.0);
    all.extend(whole(report));
    for (peer, step) in [
        (Peer::EmberLz4, full),
        (Peer::EmberZstd, full),
        (Peer::EmberZlib, full),
        (Peer::EmberLz4, Step::Unchanged),
        (Peer::EmberLz4, restore),
        (Peer::EmberZstd, restore),
        (Peer::EmberZlib, restore),
    ] {
        let share = report.image(ext4).and_then(|image| image.share(peer, step));
        let what = format!("share of the limit, {}: {}", step_name(step), peer.name());
        let target = Target::new(what, Unit::Share, share, 0.75);
        all.push(Target {
            goal: Some(0.85),
            ..target.about(About::Row(ext4, peer, step))
        });
    }
    let tracked = report.tracking.as_ref();
    let tracked = tracked.and_then(|tracking| Some(tracking.as_ref().ok()?.ratio()));
    let what = "1 % changed, ext4 volume, with change tracking, against our own full backup";
    all.push(Target::new(what, Unit::Times, tracked, 15.0).about(About::Tracked));
    let chain = report.chain.as_ref().map(|chain| chain.ratio());
    let what = "restore of a chain of 10 against that of a full backup";
    let about = About::Row(ext4, Peer::EmberLz4, restore);
    all.push(Target::new(what, Unit::Times, chain, 0.8).about(about));
    all.extend(memory(report));
    all
}

/// The whole service against Cinder's bare driver.
fn whole(report: &Report) -> Option<Target> {
    let ours = report.service.as_ref()?.wall(Step::Full)?;
    let theirs = report.wall(Image::Ext4, Step::Full, Peer::CinderZlib);
    let what = "full backup, ext4 volume, through the whole service: our default against the bare driver of Cinder, its default";
    let ratio = theirs.map(|theirs| theirs / ours);
    Some(Target::new(what, Unit::Times, ratio, 25.0).about(theirs.map(About::Service)))
}

fn memory(report: &Report) -> Vec<Target> {
    let mut all = Vec::new();
    for (step, is_restore) in [("backup", false), ("restore", true)] {
        let peak = |size_gib| {
            let mut rows = report.memory.as_ref()?.rows.iter();
            let row = rows.find(|row| row.size_gib == size_gib)?;
            let usage = if is_restore { row.restore } else { row.full };
            let mib = u32::try_from(usage.rss_bytes >> 20).ok()?;
            Some(f64::from(mib))
        };
        for size_gib in MEMORY_GIB {
            let what = format!("peak RSS, {step} of a sparse volume of {size_gib} GiB");
            all.push(Target::new(what, Unit::MiB, peak(size_gib), LIMIT_MIB.into()).at_most());
        }
        let [small, large] = MEMORY_GIB.map(peak);
        let figures = small.zip(large).map(|(small, large)| {
            let [one, other] = MEMORY_GIB;
            About::Figures(format!(
                "it is {small:.0} MiB with {one} GiB and {large:.0} MiB with {other} GiB"
            ))
        });
        let ratio = small.zip(large).map(|(small, large)| {
            let (least, most) = (small.min(large), small.max(large));
            most / least
        });
        let what = format!("peak RSS, {step}: the larger of the two beside the smaller");
        let target = Target::new(what, Unit::Times, ratio, 1.1).at_most();
        all.push(target.about(figures));
    }
    all
}

/// The table, and what bounds those that are missed.
pub(super) fn section(report: &Report, targets: &[Target], plot: &str) -> String {
    let mut text = format!(
        "## What is asked for\n\n![]({plot})\n\n| what | asked for | measured | |\n|---|---|---|---|\n"
    );
    for target in targets {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            target.what,
            target.asked(),
            target.told(),
            target.verdict()
        );
    }
    let is_missed = |target: &&Target| target.margin().is_some_and(|margin| margin < 1.0);
    let missed: Vec<_> = targets.iter().filter(is_missed).collect();
    if !missed.is_empty() {
        text.push_str("\nWhat bounds those that are not reached:\n\n");
    }
    for target in missed {
        let _ = writeln!(text, "- {}: {}.", target.what, bounds(report, target));
    }
    text
}

fn bounds(report: &Report, target: &Target) -> String {
    let reasons = match &target.about {
        None => Vec::new(),
        Some(About::Figures(figures)) => vec![figures.clone()],
        Some(About::Tracked) => vec![profiled(report, Subject::Tracked)],
        Some(About::Row(image, peer, step)) => of_row(report, *image, *peer, *step),
        Some(About::Against(image, peer, step, theirs_s)) => {
            let mut reasons = of_row(report, *image, *peer, *step);
            reasons.extend(at_limit(report, *image, *peer, *step, *theirs_s));
            reasons
        }
        Some(About::Service(theirs_s)) => {
            let (image, peer, step) = (Image::Ext4, Peer::EmberLz4, Step::Full);
            let mut reasons = vec![format!(
                "its worker runs what {} runs alone: {}",
                peer.name(),
                profiled(report, Subject::Row(peer, step))
            )];
            reasons.extend(at_limit(report, image, peer, step, *theirs_s));
            reasons
        }
    };
    match reasons.is_empty() {
        true => "its table below has what was measured".to_owned(),
        false => reasons.join("; "),
    }
}

/// How busy the cores were with a row of ours, how near the limit it was, and its profile.
fn of_row(report: &Report, image: Image, peer: Peer, step: Step) -> Vec<String> {
    let mut reasons = Vec::new();
    let measured = report.image(image);
    let row = measured.and_then(|measured| measured.rows.get(&peer));
    if let Some(busy) = row.and_then(|row| row.busy_cores(step)) {
        reasons.push(format!(
            "{busy:.2} of {} core(s) were busy in {}'s {}",
            super::machine::cores(),
            peer.name(),
            step_name(step)
        ));
    }
    if let Some(share) = measured.and_then(|measured| measured.share(peer, step)) {
        reasons.push(format!(
            "it ran at {share:.2} of what the costs of its parts allow"
        ));
    }
    reasons.push(profiled(report, Subject::Row(peer, step)));
    reasons
}

/// How a full backup would compare at the limit. Of other steps the compressor is not what decides.
fn at_limit(
    report: &Report,
    image: Image,
    peer: Peer,
    step: Step,
    theirs_s: f64,
) -> Option<String> {
    if step != Step::Full {
        return None;
    }
    let ours_s = report.image(image)?.wall_at_limit(peer, step)?;
    Some(format!(
        "at the limit itself, which this processor does not go beyond with this compressor, it would be {}",
        Unit::Times.tell(theirs_s / ours_s)
    ))
}

fn profiled(report: &Report, subject: Subject) -> String {
    let profile = report
        .profile
        .as_ref()
        .and_then(|taken| taken.as_ref().ok());
    let dearest = profile.and_then(|profile| profile.dearest(subject));
    match dearest {
        Some(dearest) => format!("the profile of {}: {dearest}", subject.name()),
        None => format!("no profile was taken of {}", subject.name()),
    }
}

#[cfg(test)]
mod tests;
