//! Change tracking: an incremental that reads only what was written since the snapshot its parent was read from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::image;
use super::peer::{FULL_ID, INCREMENTAL_ID, Place, Step, backup, prepare, restore};
use super::usage::{Usage, measure, median, seconds};
use crate::reflink;

/// Our default.
const ALGORITHM: &str = "lz4";
/// What keeps the snapshot for the next backup.
const KEEP: &str = "--keep-snapshot";

/// What was measured, in each round.
#[derive(Debug)]
pub(super) struct Tracking {
    /// The file system.
    kind: String,
    full: Vec<Usage>,
    incremental: Vec<Usage>,
}

impl Tracking {
    /// How fast the incremental is, if the full backup in the same place is 1.
    pub(super) fn ratio(&self) -> f64 {
        let wall = |used: &[Usage]| median(used.iter().map(|usage| usage.wall_s));
        wall(&self.full) / wall(&self.incremental)
    }

    /// The table of the report.
    pub(super) fn section(&self) -> String {
        let cells = |used: &[Usage]| {
            let of = |value: fn(&Usage) -> f64| median(used.iter().map(value));
            let (wall, cpu) = (of(|usage| usage.wall_s), of(|usage| usage.cpu_s));
            format!("{} | {}", seconds(wall), seconds(cpu))
        };
        format!(
            "## With change tracking\n\n\
             The ext4 volume as a file on {}, by Emberkeep {ALGORITHM} with `{KEEP}`: a full backup, 1 % overwritten in place, an incremental that reads what\n\
             was written since. Medians.\n\n\
             | | wall | CPU |\n|---|---|---|\n| full backup | {} |\n| 1 % changed | {} |\n\n\
             The incremental is {:.1} times as fast.\n",
            self.kind,
            cells(&self.full),
            cells(&self.incremental),
            self.ratio(),
        )
    }
}

/// Measures it on a file system that shares blocks between files; `place` tells the rest.
///
/// # Errors
/// When a command fails, or the restored volume is another one.
pub(super) async fn measured(
    mounted: &reflink::Place,
    place: Place,
    original: &Path,
    rounds: u32,
    seed: u64,
) -> Result<Tracking> {
    let place = self::place(mounted, place);
    let log = place.scratch.with_extension("log");
    let mut tracking = Tracking {
        kind: mounted.kind().to_owned(),
        full: Vec::new(),
        incremental: Vec::new(),
    };
    for _ in 0..rounds {
        let run = async |step, command| {
            let usage = measure(command, None, &log).await?;
            match step {
                Step::Full => tracking.full.push(usage),
                Step::Incremental => tracking.incremental.push(usage),
                Step::Prepare | Step::Unchanged | Step::Restore => {}
            }
            Ok(())
        };
        round(mounted, &place, original, seed, run).await?;
    }
    Ok(tracking)
}

/// The same place, with its volume on the file system that shares blocks.
pub(super) fn place(mounted: &reflink::Place, place: Place) -> Place {
    Place {
        volume: mounted.path().join("volume.raw"),
        ..place
    }
}

/// All that is done in a round; `run` runs the command of each step.
///
/// # Errors
/// When a command fails, or the restored volume is another one.
pub(super) async fn round(
    mounted: &reflink::Place,
    place: &Place,
    original: &Path,
    seed: u64,
    mut run: impl AsyncFnMut(Step, Command) -> Result<()>,
) -> Result<()> {
    place.make()?;
    image::copy(original, &place.volume)?;
    run(Step::Prepare, prepare(place)).await?;
    for (step, id, parent) in [
        (Step::Full, FULL_ID, None),
        (Step::Incremental, INCREMENTAL_ID, Some(FULL_ID)),
    ] {
        if step == Step::Incremental {
            image::overwrite(&place.volume, seed)?;
        }
        place.warm(step)?;
        rustix::fs::sync();
        let mut command = backup(ALGORITHM, id, parent, place);
        command.arg(KEEP);
        run(step, command).await?;
    }
    run(Step::Restore, restore(INCREMENTAL_ID, place)).await?;
    place.check_restored(&place.volume)?;
    for entry in mounted.path().read_dir().context("list the volumes")? {
        let path = entry.context("list the volumes")?.path();
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    place.clear()
}
