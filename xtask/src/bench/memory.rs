//! The memory rows: what a backup and a restore of ever larger volumes hold at most.
//!
//! The volumes are sparse, so that the largest fit on a disk; each has the same data, more of it than all buffers of a
//! job hold. What grows with a volume shows all the same: objects, names, digests and segments are those of its size.
//! The kernel kills a worker that needs more than is allowed, where this machine has limits for us.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::image::Random;
use super::peer::{FULL_ID, Peer, Place, Step, restore};
use super::usage::{Usage, measure, seconds};
use crate::memory_limit::MemoryLimit;
use crate::{files, say};

/// Sizes of the volumes.
const SIZES_GIB: [u64; 4] = [1, 16, 64, 1024];
/// Of a quick run.
const QUICK_SIZES_GIB: [u64; 1] = [1];
/// What a worker may hold, with the page cache that it makes.
pub(super) const LIMIT_MIB: u32 = 320;
/// Dense data at the start of each.
const DENSE_BYTES: u64 = 256 << 20;
/// A little more at the end of each sixteenth.
const SPOT_BYTES: usize = 64 << 10;
/// Of zeros it decodes many times as much in a second as LZ4, and a sparse volume is little else.
const ROW: Peer = Peer::EmberZstd;

/// What was measured.
pub(super) struct Memory {
    /// Why the workers ran without a limit, if they did.
    pub(super) unlimited: Option<String>,
    pub(super) rows: Vec<BothWays>,
}

/// Both ways of one volume.
pub(super) struct BothWays {
    pub(super) size_gib: u64,
    pub(super) full: Usage,
    pub(super) restore: Usage,
}

/// Backs up and restores each volume once.
///
/// # Errors
/// When the system refuses, a command fails, or a restored volume is another one.
pub(super) async fn rows(place: &Place, quick: bool, seed: u64) -> Result<Memory> {
    let sizes = match quick {
        true => &QUICK_SIZES_GIB[..],
        false => &SIZES_GIB,
    };
    let (limit, unlimited) = match MemoryLimit::new(u64::from(LIMIT_MIB) << 20) {
        Ok(limit) => (Some(limit), None),
        Err(why) => (None, Some(why)),
    };
    if let Some(why) = &unlimited {
        say::line(format_args!("No limit of memory can be set: {why}"));
    }
    let mut rows = Vec::new();
    for size_gib in sizes {
        say::line(format_args!("Memory, with a volume of {size_gib} GiB"));
        let row = row(place, *size_gib, seed, limit.as_ref()).await;
        rows.push(row.with_context(|| format!("measure memory with {size_gib} GiB"))?);
    }
    Ok(Memory { unlimited, rows })
}

async fn row(
    place: &Place,
    size_gib: u64,
    seed: u64,
    limit: Option<&MemoryLimit>,
) -> Result<BothWays> {
    files::make_private_dir(&place.repository)?;
    let spots = make(&place.volume, size_gib << 30, seed).context("make a sparse volume")?;
    let log = place.repository.with_extension("log");
    let limited = async |command: Command| {
        let command = match limit {
            Some(limit) => limit.around(&command),
            None => command,
        };
        measure(command, None, &log).await
    };
    let run = async |step| {
        let run = ROW.run(step, place).context("our rows do that")?;
        limited(run.command).await
    };
    run(Step::Prepare).await?;
    rustix::fs::sync();
    let full = run(Step::Full).await?;
    rustix::fs::sync();
    let restore = limited(restore(FULL_ID, place)).await?;
    anyhow::ensure!(
        same(&place.volume, &place.output, &spots)?,
        "the restored volume is another one"
    );
    for file in [&place.volume, &place.output] {
        std::fs::remove_file(file).context("remove a volume")?;
    }
    std::fs::remove_dir_all(&place.repository).context("remove a repository")?;
    Ok(BothWays {
        size_gib,
        full,
        restore,
    })
}

/// Makes the volume, and tells where data lies in it.
fn make(path: &Path, size_bytes: u64, seed: u64) -> std::io::Result<Vec<u64>> {
    let file = File::create(path)?;
    file.set_len(size_bytes)?;
    let dense = (0..DENSE_BYTES).step_by(SPOT_BYTES);
    let sparse = (1..=16).map(|part| part * size_bytes / 16 - SPOT_BYTES as u64);
    let spots: Vec<_> = dense.chain(sparse).collect();
    let mut random = Random::new(seed);
    let mut bytes = vec![0; SPOT_BYTES];
    for spot in &spots {
        random.fill(&mut bytes);
        file.write_all_at(&bytes, *spot)?;
    }
    Ok(spots)
}

/// Whether two volumes are of one length and have the same data in these places. Of the rest the worker has
/// compared the digests.
fn same(one: &Path, other: &Path, spots: &[u64]) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
    let files = [open(one)?, open(other)?];
    let length = |file: &File| file.metadata().map(|metadata| metadata.len());
    if length(&files[0])? != length(&files[1])? {
        return Ok(false);
    }
    let mut bytes = [vec![0; SPOT_BYTES], vec![0; SPOT_BYTES]];
    for spot in spots {
        for (file, bytes) in files.iter().zip(&mut bytes) {
            file.read_exact_at(bytes, *spot).context("read a volume")?;
        }
        if bytes[0] != bytes[1] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The table of the report.
pub(super) fn section(memory: &Memory) -> String {
    let limit = match &memory.unlimited {
        None => format!(
            "They ran in a control group of {LIMIT_MIB} MiB, page cache included, without swap: the kernel kills one that needs more."
        ),
        Some(why) => format!("**They ran without a limit**, for none could be set: {why}."),
    };
    let mut text = format!(
        "## Memory\n\nSparse volumes with the same {} MiB of data, by {}, once each: the most memory the worker held, and seconds,\nof a restore with nothing stored in the page cache.\n{limit}\n\n\
         | volume | full: RSS | wall | restore: RSS | wall |\n|---|---|---|---|---|\n",
        (DENSE_BYTES + 16 * SPOT_BYTES as u64) >> 20,
        ROW.name(),
    );
    for row in &memory.rows {
        let _ = writeln!(
            text,
            "| {} GiB | {} MiB | {} | {} MiB | {} |",
            row.size_gib,
            row.full.rss_bytes >> 20,
            seconds(row.full.wall_s),
            row.restore.rss_bytes >> 20,
            seconds(row.restore.wall_s),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_says_which_limit_held_or_why_there_was_none() {
        let section = |unlimited| {
            section(&Memory {
                unlimited,
                rows: Vec::new(),
            })
        };
        assert!(section(None).contains("in a control group of 320 MiB"));
        let without = section(Some("no memory controller".to_owned()));
        assert!(
            without.contains("without a limit**, for none could be set: no memory controller.")
        );
        assert!(!without.contains("control group"));
    }

    #[test]
    fn a_volume_with_other_data_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let size_bytes = 4 * DENSE_BYTES;
        let spots = make(&at("a"), size_bytes, 7).unwrap();
        make(&at("b"), size_bytes, 7).unwrap();
        assert!(same(&at("a"), &at("b"), &spots).unwrap());
        let file = File::options().write(true).open(at("b")).unwrap();
        file.write_all_at(&[1, 2, 3], size_bytes - 3).unwrap();
        assert!(!same(&at("a"), &at("b"), &spots).unwrap());
        file.set_len(size_bytes - 1).unwrap();
        assert!(!same(&at("a"), &at("b"), &spots).unwrap());
    }
}
