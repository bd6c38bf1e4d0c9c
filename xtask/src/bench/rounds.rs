//! One image, and all that every row of its table does with it, round after round.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::limit::Costs;
use super::pace::minutes;
use super::peer::{Peer, Place, Step};
use super::table::Row;
use super::usage::{measure, stored_bytes};
use crate::{files, say};

/// A row of another program is measured once, if one step of it took longer than this in the first round.
pub(super) const SLOW: Duration = Duration::from_secs(60);

/// One image and all that is done with it.
pub(super) struct Bench<'a> {
    pub(super) folder: &'a Path,
    pub(super) original: &'a Path,
    pub(super) changed: &'a Path,
    pub(super) place: &'a Place,
    /// `costs` of the worker's examples; `None` for an image whose limit is not asked for.
    pub(super) costs: Option<PathBuf>,
}

impl Bench<'_> {
    /// All rounds, and the least of what the engine's parts cost in each of them.
    pub(super) async fn rounds(
        &self,
        peers: &[Peer],
        rounds: u32,
    ) -> Result<(BTreeMap<Peer, Row>, Option<Costs>)> {
        let mut rows: BTreeMap<Peer, Row> = BTreeMap::new();
        let mut least: Option<Costs> = None;
        // How long the rows took that are measured in every round.
        let mut again: BTreeMap<Peer, Duration> = BTreeMap::new();
        for round in 1..=rounds {
            for peer in peers {
                if round > 1 && !again.contains_key(peer) {
                    continue;
                }
                let left = left(&again, *peer, round, rounds);
                say::line(format_args!(
                    "Round {round} of {rounds}: {}{left}",
                    peer.name()
                ));
                let began = Instant::now();
                let row = rows.entry(*peer).or_default();
                self.round(*peer, row)
                    .await
                    .with_context(|| format!("measure {}", peer.name()))?;
                if peer.ours().is_some() || !row.has_slower_step(SLOW) {
                    again.insert(*peer, began.elapsed());
                }
            }
            if let Some(program) = &self.costs {
                let costs = Costs::measure(program, self.original, self.folder).await?;
                least = Some(match least {
                    Some(before) => before.least(&costs),
                    None => costs,
                });
            }
        }
        Ok((rows, least))
    }

    /// All steps of one peer, with a repository of its own.
    async fn round(&self, peer: Peer, row: &mut Row) -> Result<()> {
        let place = self.place;
        place.make()?;
        place.present(self.original)?;
        let mut newest = self.original;
        for step in Step::ALL {
            let Some(run) = peer.run(step, place) else {
                continue;
            };
            let before = match step {
                Step::Incremental => {
                    place.present(self.changed)?;
                    newest = self.changed;
                    stored_bytes(&place.repository)?
                }
                Step::Restore if peer.is_cinder() => {
                    let length = newest.metadata().context("look at an image")?.len();
                    let made = File::create(&place.output).and_then(|file| file.set_len(length));
                    made.context("make the file to restore to")?;
                    0
                }
                Step::Prepare | Step::Full | Step::Unchanged | Step::Restore => 0,
            };
            place.warm(step)?;
            rustix::fs::sync();
            let log = self.folder.join("log");
            let usage = measure(run.command, run.output.as_deref(), &log).await?;
            if step != Step::Prepare {
                row.used.entry(step).or_default().push(usage);
            }
            match step {
                Step::Prepare | Step::Unchanged => {}
                Step::Full => row.stored_full = stored_bytes(&place.repository)?,
                Step::Incremental => {
                    let stored = stored_bytes(&place.repository)? - before;
                    row.stored_after = Some(row.stored_full + stored);
                }
                Step::Restore => place.check_restored(newest)?,
            }
        }
        place.clear()
    }
}

/// About how long the rounds of this image still take, once the first has told.
fn left(again: &BTreeMap<Peer, Duration>, peer: Peer, round: u32, rounds: u32) -> String {
    if round == 1 {
        return String::new();
    }
    let this_round: Duration = again.range(peer..).map(|(_, time)| *time).sum();
    let all: Duration = again.values().sum();
    let left = this_round + all * (rounds - round);
    format!(", about {} for this volume", minutes(left))
}

impl Place {
    /// Empty folders for what is stored.
    pub(super) fn make(&self) -> Result<()> {
        for folder in [&self.repository, &self.scratch] {
            files::make_private_dir(folder)?;
        }
        Ok(())
    }

    /// Removes what was stored.
    pub(super) fn clear(&self) -> Result<()> {
        for folder in [&self.repository, &self.scratch] {
            std::fs::remove_dir_all(folder).context("remove a repository")?;
        }
        Ok(())
    }

    /// Puts an image at the path that is backed up.
    pub(super) fn present(&self, image: &Path) -> Result<()> {
        let path = &self.volume;
        if path.exists() {
            std::fs::remove_file(path).context("take the volume away")?;
        }
        std::fs::hard_link(image, path).context("put a volume in its place")
    }

    /// Brings into the page cache what a step will read. A program that drops what it stored from there would else
    /// restore from the disk, and one that leaves it there from memory.
    pub(super) fn warm(&self, step: Step) -> Result<u64> {
        warm(match step {
            Step::Restore => &self.repository,
            Step::Prepare | Step::Full | Step::Unchanged | Step::Incremental => &self.volume,
        })
    }

    /// Compares what was restored, and removes it.
    pub(super) fn check_restored(&self, expected: &Path) -> Result<()> {
        anyhow::ensure!(
            equal(expected, &self.output)?,
            "the restored volume is another one"
        );
        std::fs::remove_file(&self.output).context("remove a restored volume")
    }
}

/// Reads a file, or all files below a folder, so that they are in the page cache if that has room. Tells how many bytes that were.
pub(super) fn warm(path: &Path) -> Result<u64> {
    let read = || -> Result<u64> {
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            let mut bytes = 0;
            for entry in path.read_dir()? {
                bytes += warm(&entry?.path())?;
            }
            return Ok(bytes);
        }
        if !kind.is_file() {
            return Ok(0);
        }
        Ok(std::io::copy(&mut File::open(path)?, &mut std::io::sink())?)
    };
    read().with_context(|| format!("read {}", path.display()))
}

/// Whether two files hold the same bytes.
pub(super) fn equal(one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
    let (mut one, mut other) = (open(one)?, open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let got = one.read(&mut left).context("read a volume")?;
        other
            .read_exact(&mut right[..got])
            .context("read a restored volume")?;
        if got == 0 || left[..got] != right[..got] {
            return Ok(got == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_are_the_rows_to_come_of_this_round_and_all_of_the_others() {
        let seconds = Duration::from_secs;
        let again = [
            (Peer::EmberLz4, seconds(30)),
            (Peer::EmberZstd, seconds(60)),
            (Peer::Restic, seconds(90)),
        ];
        let left = |peer, round| left(&again.into(), peer, round, 3);
        assert_eq!(left(Peer::EmberLz4, 1), "");
        assert_eq!(
            left(Peer::EmberZstd, 2),
            ", about 6 min for this volume",
            "150 s and 180 s"
        );
        assert_eq!(left(Peer::Restic, 3), ", about 2 min for this volume");
    }

    #[test]
    fn all_files_below_a_folder_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(folder.path().join("one"), [1; 10]).unwrap();
        std::fs::write(folder.path().join("a/two"), [2; 200]).unwrap();
        std::fs::write(deep.join("three"), [3; 3000]).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert_eq!(warm(folder.path()).unwrap(), 3210);
        assert_eq!(warm(&deep.join("three")).unwrap(), 3000);
        assert!(warm(&folder.path().join("four")).is_err());
    }

    #[test]
    fn a_restore_reads_what_is_stored_and_all_else_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let place = Place {
            volume: at("volume"),
            repository: at("repository"),
            scratch: at("scratch"),
            output: at("output"),
            worker: at("worker"),
            python: None,
            cinder_driver: at("driver"),
        };
        place.make().unwrap();
        std::fs::write(place.repository.join("object"), [1; 10]).unwrap();
        std::fs::write(&place.volume, [2; 200]).unwrap();
        for (step, bytes) in [
            (Step::Full, 200),
            (Step::Unchanged, 200),
            (Step::Incremental, 200),
            (Step::Restore, 10),
        ] {
            assert_eq!(place.warm(step).unwrap(), bytes, "{step:?}");
        }
    }

    #[test]
    fn files_are_equal_if_every_byte_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut bytes = vec![7; (1 << 20) + 3];
        std::fs::write(at("a"), &bytes).unwrap();
        std::fs::write(at("b"), &bytes).unwrap();
        assert!(equal(&at("a"), &at("b")).unwrap());
        bytes[1 << 20] = 8;
        std::fs::write(at("b"), &bytes).unwrap();
        assert!(!equal(&at("a"), &at("b")).unwrap());
        bytes.pop();
        std::fs::write(at("b"), &bytes).unwrap();
        assert!(!equal(&at("a"), &at("b")).unwrap());
    }
}
