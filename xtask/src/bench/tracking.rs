//! Change tracking: an incremental that reads only what was written since the snapshot its parent was read from.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::image;
use super::peer::{FULL_ID, INCREMENTAL_ID, Place, backup, prepare, restore};
use super::rounds::warm;
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
    let place = Place {
        volume: mounted.path().join("volume.raw"),
        ..place
    };
    let log = place.scratch.with_extension("log");
    let mut tracking = Tracking {
        kind: mounted.kind().to_owned(),
        full: Vec::new(),
        incremental: Vec::new(),
    };
    for _ in 0..rounds {
        place.make()?;
        image::copy(original, &place.volume)?;
        measure(prepare(&place), None, &log).await?;
        for (id, parent) in [(FULL_ID, None), (INCREMENTAL_ID, Some(FULL_ID))] {
            if parent.is_some() {
                image::overwrite(&place.volume, seed)?;
            }
            warm(&place.volume)?;
            rustix::fs::sync();
            let mut command = backup(ALGORITHM, id, parent, &place);
            command.arg(KEEP);
            let usage = measure(command, None, &log).await?;
            match parent {
                None => tracking.full.push(usage),
                Some(_) => tracking.incremental.push(usage),
            }
        }
        measure(restore(INCREMENTAL_ID, &place), None, &log).await?;
        place.check_restored(&place.volume)?;
        for entry in mounted.path().read_dir().context("list the volumes")? {
            let path = entry.context("list the volumes")?.path();
            let is_folder = path.is_dir();
            let removed = match is_folder {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            removed.with_context(|| format!("remove {}", path.display()))?;
        }
        place.clear()?;
    }
    Ok(tracking)
}
