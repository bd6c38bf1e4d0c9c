//! A chain of ten: what its restore takes beside that of a full backup of the same bytes.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::image;
use super::peer::{Place, Step, backup, prepare, restore};
use super::rounds::warm;
use super::usage::{Usage, measure, median, seconds};

/// Backups in the chain, the full one included.
const LENGTH: u32 = 10;
/// Our default.
const ALGORITHM: &str = "lz4";

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) full: Option<Usage>,
    /// Of each backup that follows.
    pub(super) incrementals: Vec<Usage>,
    /// Of each turn.
    pub(super) chain: Vec<Usage>,
    pub(super) single: Vec<Usage>,
}

impl Chain {
    /// How fast the chain's restore is, if that of the full backup is 1.
    pub(super) fn ratio(&self) -> f64 {
        wall(&self.single) / wall(&self.chain)
    }

    /// The table of the report.
    pub(super) fn section(&self) -> String {
        format!(
            "## A chain of {LENGTH}\n\n\
             A full backup of the ext4 volume and {} incrementals after it, 1 % overwritten before each in places of its own, by Emberkeep {ALGORITHM}; then, in turns,\n\
             the newest restored with all its parents, and a full backup of the same bytes. Medians.\n\n\
             | | wall | CPU |\n|---|---|---|\n\
             | full backup | {} |\n| an incremental | {} |\n| restore of the {LENGTH}th | {} |\n| restore of a full of the same bytes | {} |\n\n\
             The chain is restored at {:.2} times the speed.\n",
            LENGTH - 1,
            cells(self.full.as_slice()),
            cells(&self.incrementals),
            cells(&self.chain),
            cells(&self.single),
            self.ratio(),
        )
    }
}

fn wall(used: &[Usage]) -> f64 {
    median(used.iter().map(|usage| usage.wall_s))
}

fn cells(used: &[Usage]) -> String {
    let cpu = median(used.iter().map(|usage| usage.cpu_s));
    format!("{} | {}", seconds(wall(used)), seconds(cpu))
}

fn id(number: u32) -> String {
    format!("5d0f3c7e-4444-4b6e-8a52-7e9b3f2c4d{number:02}")
}

/// Makes the chain once, and restores it in each turn.
///
/// # Errors
/// When a command fails, or a restored volume is another one.
pub(super) async fn measured(
    place: &Place,
    original: &Path,
    turns: u32,
    seed: u64,
) -> Result<Chain> {
    let log = place.scratch.with_extension("log");
    place.make()?;
    image::copy(original, &place.volume)?;
    measure(prepare(place), None, &log).await?;
    let mut chain = Chain::default();
    for number in 1..=LENGTH {
        let parent = (number > 1).then(|| id(number - 1));
        if number > 1 {
            image::overwrite(&place.volume, seed + u64::from(number))?;
        }
        warm(&place.volume)?;
        rustix::fs::sync();
        let command = backup(ALGORITHM, &id(number), parent.as_deref(), place);
        let usage = measure(command, None, &log).await;
        let usage = usage.with_context(|| format!("back up number {number} of a chain"))?;
        match parent {
            None => chain.full = Some(usage),
            Some(_) => chain.incrementals.push(usage),
        }
    }
    let single = id(LENGTH + 1);
    measure(backup(ALGORITHM, &single, None, place), None, &log).await?;
    for turn in 0..turns {
        // Neither is always the first.
        let chained_first = turn % 2 == 0;
        for is_chain in [chained_first, !chained_first] {
            let (id, used) = match is_chain {
                true => (&id(LENGTH), &mut chain.chain),
                false => (&single, &mut chain.single),
            };
            place.warm(Step::Restore)?;
            rustix::fs::sync();
            used.push(measure(restore(id, place), None, &log).await?);
            place.check_restored(&place.volume)?;
        }
    }
    std::fs::remove_file(&place.volume).context("remove a volume")?;
    place.clear()?;
    Ok(chain)
}
