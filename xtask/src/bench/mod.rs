//! `bench`: our worker beside others, on the same generated volumes, in one run.
//!
//! ```text
//! for each image:   make it by seed, and a copy with 1 % changed
//!   for each round:   for each peer:   prepare · full ● · incremental ● · restore ● and compare the bytes
//! costs of the engine's parts, with the same image ──► the limit
//! with --memory:    for each size of a sparse volume:   prepare · full ● · restore ●
//! ──► benchmarks.md and a plot for each image
//! ```
//!
//! With `--scale` it is the whole that is measured, not the engine: `scale`.
//!
//! Rounds go through all peers before the next begins, so that a slow minute of the machine meets all alike; what is
//! told is the median. Each ● begins with the volume in the page cache and nothing left to be written.
//! Only ratios within one run mean anything; the report says machine and seed.

mod image;
mod limit;
mod memory;
mod peer;
mod plot;
mod report;
mod scale;
mod usage;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

pub use self::image::Image;
use self::limit::Costs;
pub use self::peer::Peer;
use self::peer::{Place, Step};
use self::report::{Report, Row};
use self::usage::{measure, stored_bytes};
use crate::files::{self, ScratchDir};
use crate::install::{self, Need};
use crate::stage::succeed;
use crate::{build, python, say};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Small images, one round, the build of the tests, and a report below the target folder, not in docs: to see that
    /// the measuring works
    #[arg(long)]
    quick: bool,
    /// Only these volumes
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Image::Ext4, Image::Random, Image::Sparse])]
    images: Vec<Image>,
    /// Only these rows of the tables
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Peer>,
    /// How often everything is measured
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Size of an image; a sparse one has sixteen times as much, mostly holes
    #[arg(long, value_name = "MIB")]
    size_mib: Option<u64>,
    /// Also measure the memory that sparse volumes of up to 1 TiB take, which needs 10 GB of disk and some minutes
    #[arg(long)]
    memory: bool,
    /// What the images are made of
    #[arg(long, value_name = "N", default_value_t = 20_261_122)]
    seed: u64,
    /// Folder for the report and its plots
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Not the engine but the whole: how many jobs it does, what a long queue costs, and where the next limit is; writes
    /// docs/scale.md
    #[arg(long, conflicts_with_all = ["images", "rows", "rounds", "size_mib"])]
    scale: bool,
    #[command(flatten)]
    wishes: scale::Wishes,
}

impl Options {
    fn peers(&self) -> Vec<Peer> {
        if self.rows.is_empty() {
            use clap::ValueEnum as _;
            Peer::value_variants().to_vec()
        } else {
            self.rows.clone()
        }
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Bytes of an image without holes.
    fn size_bytes(&self) -> u64 {
        self.size_mib.unwrap_or(if self.quick { 32 } else { 1024 }) << 20
    }

    /// Where the report goes: what is quick is nothing to be kept.
    fn output_folder(&self, target: &Path) -> PathBuf {
        match (&self.output, self.quick) {
            (Some(output), _) => output.clone(),
            (None, true) => target.join("xtask/benchmarks"),
            (None, false) => build::workspace().join("docs"),
        }
    }

    /// Programs it needs.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::Ext4Tools];
        needs.extend(self.peers().into_iter().filter_map(Peer::need));
        needs.dedup();
        needs
    }
}

/// Measures everything and writes the report.
///
/// # Errors
/// When a command fails, or a restored volume is not what was backed up.
pub async fn run(options: &Options, install_allowed: bool) -> Result<()> {
    if options.scale {
        return scale::run(options, &options.wishes, install_allowed).await;
    }
    say::line(
        "This builds the worker for release, makes volumes, and measures backups and restores of them,",
    );
    say::line("ours and those of other programs. Nothing else should run meanwhile.");
    install::ensure(&options.needs(), install_allowed).await?;
    let peers = options.peers();
    let python = if peers
        .iter()
        .any(|peer| peer.need() == Some(Need::PythonVenv))
    {
        Some(PathBuf::from(
            python::CLIENTS.ensure(install_allowed).await?,
        ))
    } else {
        None
    };
    let target = build::target_dir().await?;
    let mut arguments = vec!["build", "-p", "backup-worker"];
    arguments.extend(["--bin", "backup-worker", "--example", "costs"]);
    if !options.quick {
        arguments.push("--release");
    }
    succeed(build::cargo(&arguments)).await?;
    let built = target.join(if options.quick { "debug" } else { "release" });
    let scratch = ScratchDir::new(&target, "bench")?;
    let place_in = |folder: &Path| Place {
        volume: folder.join("volume.raw"),
        repository: folder.join("repository"),
        scratch: folder.join("scratch"),
        output: folder.join("restored.raw"),
        worker: built.join("backup-worker"),
        python: python.clone(),
        cinder_driver: build::workspace().join("tests/clients/cinder_driver.py"),
    };
    let mut report = Report::new(options.seed, options.rounds(), options.quick);
    for image in &options.images {
        let folder = scratch.path().join(image.name());
        files::make_private_dir(&folder)?;
        let bench = Bench {
            original: folder.join("original.raw"),
            changed: folder.join("changed.raw"),
            place: place_in(&folder),
            folder,
        };
        image.make(
            &bench.original,
            &bench.folder,
            options.size_bytes(),
            options.seed,
        )?;
        image::change(&bench.original, &bench.changed, options.seed)?;
        let rows = bench.rounds(&peers, options.rounds()).await?;
        let costs = Costs::measure(
            &built.join("examples/costs"),
            &bench.original,
            &bench.folder,
        )
        .await?;
        let size_bytes = bench.original.metadata().context("look at an image")?.len();
        report.add(*image, size_bytes, rows, costs);
        std::fs::remove_dir_all(&bench.folder).context("remove an image")?;
    }
    if options.memory {
        let place = place_in(scratch.path());
        report.set_memory(memory::rows(&place, options.quick, options.seed).await?);
    }
    let written = report.write(&options.output_folder(&target))?;
    say::good(format_args!("The report is {}", written.display()));
    Ok(())
}

/// One image and all that is done with it.
struct Bench {
    folder: PathBuf,
    original: PathBuf,
    changed: PathBuf,
    place: Place,
}

impl Bench {
    async fn rounds(&self, peers: &[Peer], rounds: u32) -> Result<BTreeMap<Peer, Row>> {
        let mut rows: BTreeMap<Peer, Row> = BTreeMap::new();
        for round in 1..=rounds {
            for peer in peers {
                say::line(format_args!("Round {round} of {rounds}: {}", peer.name()));
                let row = rows.entry(*peer).or_default();
                self.round(*peer, row)
                    .await
                    .with_context(|| format!("measure {}", peer.name()))?;
            }
        }
        Ok(rows)
    }

    /// All steps of one peer, with a repository of its own.
    async fn round(&self, peer: Peer, row: &mut Row) -> Result<()> {
        let place = &self.place;
        for folder in [&place.repository, &place.scratch] {
            files::make_private_dir(folder)?;
        }
        self.present(&self.original)?;
        let mut newest = &self.original;
        for step in [Step::Prepare, Step::Full, Step::Incremental, Step::Restore] {
            let Some(run) = peer.run(step, place) else {
                continue;
            };
            match step {
                Step::Incremental => {
                    self.present(&self.changed)?;
                    newest = &self.changed;
                }
                // Some restore over a file that is there.
                Step::Restore if matches!(peer, Peer::CinderZlib | Peer::CinderZstd) => {
                    let length = newest.metadata().context("look at an image")?.len();
                    let made = File::create(&place.output).and_then(|file| file.set_len(length));
                    made.context("make the file to restore to")?;
                }
                Step::Prepare | Step::Full | Step::Restore => {}
            }
            if step != Step::Restore {
                warm(&place.volume)?;
            }
            rustix::fs::sync();
            let log = self.folder.join("log");
            let usage = measure(run.command, run.output.as_deref(), &log).await?;
            match step {
                Step::Prepare => {}
                Step::Full => {
                    row.stored_full = stored_bytes(&place.repository)?;
                    row.used.entry(step).or_default().push(usage);
                }
                Step::Incremental => {
                    row.stored_after = Some(stored_bytes(&place.repository)?);
                    row.used.entry(step).or_default().push(usage);
                }
                Step::Restore => {
                    row.used.entry(step).or_default().push(usage);
                    anyhow::ensure!(
                        equal(newest, &place.output)?,
                        "the restored volume is another one"
                    );
                    std::fs::remove_file(&place.output).context("remove a restored volume")?;
                }
            }
        }
        for folder in [&place.repository, &place.scratch] {
            std::fs::remove_dir_all(folder).context("remove a repository")?;
        }
        Ok(())
    }

    /// Puts an image at the path that is backed up.
    fn present(&self, image: &Path) -> Result<()> {
        let path = &self.place.volume;
        if path.exists() {
            std::fs::remove_file(path).context("take the volume away")?;
        }
        std::fs::hard_link(image, path).context("put a volume in its place")
    }
}

/// Reads a file once, so that it is in the page cache if that has room.
fn warm(path: &Path) -> Result<()> {
    let mut file = File::open(path).context("open the volume")?;
    std::io::copy(&mut file, &mut std::io::sink()).context("read the volume")?;
    Ok(())
}

/// Whether two files hold the same bytes.
fn equal(one: &Path, other: &Path) -> Result<bool> {
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

/// This machine in a line.
fn machine() -> String {
    let value = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let kernel = Command::new("uname")
        .arg("-sr")
        .output()
        .map(|said| said.stdout)
        .unwrap_or_default();
    format!(
        "{} core(s) of {}, {} of memory, {}",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        value("/proc/cpuinfo", "model name").unwrap_or_default(),
        value("/proc/meminfo", "MemTotal").unwrap_or_default(),
        String::from_utf8_lossy(&kernel).trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
