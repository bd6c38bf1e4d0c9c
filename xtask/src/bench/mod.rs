//! `bench`: our worker beside others, on the same generated volumes, in one run.
//!
//! ```text
//! rounds.rs     for each image:   make it by seed, and a copy with 1 % changed
//!                 for each round:   for each peer:   prepare · full ● · unchanged ● · incremental ● · restore ● and compare
//!                                   costs of the engine's parts, with the same image ──► the limit
//! chain.rs      a chain of ten, restored beside a full backup
//! service.rs    the same volume through broker, api-service and worker
//! tracking.rs   an incremental that reads only what was written since, on XFS
//! memory.rs     for each size of a sparse volume:   prepare · full ● · restore ●
//! perf.rs       our default under perf, and what else is slower than asked for ──► profile.rs
//! targets.rs    what is asked for, and whether it is reached ──► report.rs ──► benchmarks.md and plots
//! ```
//!
//! With `--scale` it is jobs that are measured, not bytes: `scale`.
//!
//! Rounds go through all peers before the next begins, so that a slow minute of the machine meets all alike; what is
//! told is the median. Each ● begins with what it reads in the page cache and nothing left to be written.
//! Only ratios within one run mean anything; the report says machine and seed.

mod chain;
mod charts;
mod clock;
mod image;
mod limit;
mod machine;
mod memory;
mod options;
mod pace;
mod peer;
mod perf;
mod plot;
mod processes;
mod profile;
mod report;
mod rounds;
mod scale;
mod service;
mod table;
mod targets;
mod tracking;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

pub use self::image::Image;
use self::machine::machine;
pub use self::options::{Options, Part};
use self::pace::Pace;
pub use self::peer::Peer;
use self::peer::Place;
use self::report::Report;
use self::rounds::Bench;
use self::table::Measured;
use crate::build::{self, Binaries, SERVICES};
use crate::files::{self, ScratchDir};
use crate::install::{self, Need};
use crate::{python, reflink, say};

/// Measures everything and writes the report.
///
/// # Errors
/// When a command fails, or a restored volume is not what was backed up.
pub async fn run(options: &Options, install_allowed: bool) -> Result<()> {
    if options.scale {
        return scale::run(options, &options.wishes, install_allowed).await;
    }
    say::line(
        "This builds for release, makes volumes, and measures backups and restores of them, ours and those of other programs.",
    );
    say::line("Nothing else should run meanwhile.");
    install::ensure(&options.needs(), install_allowed).await?;
    let python = match options.needs().contains(&Need::PythonVenv) {
        true => Some(PathBuf::from(
            python::CLIENTS.ensure(install_allowed).await?,
        )),
        false => None,
    };
    let target = build::target_dir().await?;
    let built = Built::new(options.quick).await?;
    let scratch = ScratchDir::new(&target, "bench")?;
    let began = Instant::now();
    let run = Run {
        options,
        install_allowed,
        scratch: scratch.path(),
        built,
        python,
    };
    let mut report = run.measure().await?;
    report.took = began.elapsed();
    let written = report.write(&options.output_folder(&target))?;
    say::good(format_args!("The report is {}", written.display()));
    Ok(())
}

/// The programs that are measured.
struct Built {
    services: Binaries,
    costs: PathBuf,
}

impl Built {
    async fn new(is_quick: bool) -> Result<Self> {
        let mut arguments = SERVICES.to_vec();
        arguments.extend(["--example", "costs"]);
        if !is_quick {
            arguments.push("--release");
        }
        let mut built = build::build_programs(&arguments).await?;
        let mut take = |name: &str| {
            let program = built.remove(name);
            program.with_context(|| format!("cargo built no {name}"))
        };
        Ok(Self {
            services: Binaries {
                api_service: take("api-service")?,
                backup_worker: take("backup-worker")?,
            },
            costs: take("costs")?,
        })
    }
}

/// An image, and the same with 1 % changed.
struct Pair {
    folder: PathBuf,
    original: PathBuf,
    changed: PathBuf,
}

struct Run<'a> {
    options: &'a Options,
    install_allowed: bool,
    scratch: &'a Path,
    built: Built,
    python: Option<PathBuf>,
}

impl Run<'_> {
    async fn measure(&self) -> Result<Report> {
        let options = self.options;
        let parts = options.parts();
        let mut report = Report {
            seed: options.seed,
            rounds: options.rounds(),
            is_quick: options.quick,
            ..Report::default()
        };
        let mut pace = Pace::new(parts.iter().map(|part| options.expected_s(*part)).sum());
        // That of ext4 serves all parts.
        let ext4 = self.pair(Image::Ext4)?;
        if let Some(python) = &self.python {
            report.hashlib = Some(machine::hashlib(python).await?);
        }
        for image in options.images() {
            pace.begin(
                &format!("The {} volume", image.name()),
                options.image_expected_s(image),
            );
            if image == Image::Ext4 {
                report.images.push(self.image(image, &ext4).await?);
            } else {
                let pair = self.pair(image)?;
                report.images.push(self.image(image, &pair).await?);
                std::fs::remove_dir_all(&pair.folder).context("remove an image")?;
            }
        }
        let (rounds, seed) = (options.rounds(), options.seed);
        let place = self.place(self.scratch);
        // Mounted once for both that need it.
        let mut mounted = None;
        for part in parts {
            let expected_s = options.expected_s(part);
            match part {
                Part::Images => {}
                Part::Chain => {
                    pace.begin("A chain of ten", expected_s);
                    // It is short, and a ratio near 1 wants more turns than others.
                    let turns = 2 * rounds - 1;
                    let chain = chain::measured(&place, &ext4.original, turns, seed);
                    report.chain = Some(chain.await.context("measure a chain")?);
                }
                Part::Service => {
                    pace.begin("The whole service", expected_s);
                    let dir = self.scratch.join("stack");
                    let services = self.built.services.clone();
                    let service = service::measured(&dir, services, &ext4.original, rounds, seed);
                    report.service = Some(service.await.context("measure the whole service")?);
                }
                Part::Tracking => {
                    pace.begin("Change tracking", expected_s);
                    report.tracking = Some(match mounted.insert(self.reflink_place().await) {
                        Err(missing) => Err(anyhow::anyhow!("{missing:#}")),
                        Ok(mounted) => {
                            let place = self.place(self.scratch);
                            let original = &ext4.original;
                            let tracking =
                                tracking::measured(mounted, place, original, rounds, seed);
                            Ok(tracking.await.context("measure change tracking")?)
                        }
                    });
                }
                Part::Memory => {
                    pace.begin("Memory", expected_s);
                    report.memory = Some(memory::rows(&place, options.quick, seed).await?);
                }
                Part::Profile => {
                    pace.begin("Where the time goes", expected_s);
                    let mounted = match mounted.take() {
                        Some(before) => mounted.insert(before),
                        None => mounted.insert(self.reflink_place().await),
                    };
                    report.profile = Some(self.profile(&ext4, mounted).await);
                }
            }
        }
        Ok(report)
    }

    /// Not every user may mount.
    async fn reflink_place(&self) -> Result<reflink::Place> {
        install::ensure(&[Need::XfsTools], self.install_allowed).await?;
        reflink::Place::mounted(self.scratch, self.options.size_bytes())
    }

    /// Not all machines let one look.
    async fn profile(
        &self,
        ext4: &Pair,
        mounted: &Result<reflink::Place>,
    ) -> Result<profile::Profile> {
        install::ensure(&[Need::Perf], self.install_allowed).await?;
        let images = perf::Images {
            original: &ext4.original,
            changed: &ext4.changed,
            seed: self.options.seed,
        };
        perf::measured(self.place(self.scratch), &images, mounted).await
    }

    async fn image(&self, image: Image, pair: &Pair) -> Result<Measured> {
        let bench = Bench {
            folder: &pair.folder,
            original: &pair.original,
            changed: &pair.changed,
            place: &self.place(&pair.folder),
            costs: (image != Image::Small).then(|| self.built.costs.clone()),
        };
        let peers = self.options.peers(image);
        let (rows, costs) = bench.rounds(&peers, self.options.rounds()).await?;
        Ok(Measured {
            image,
            size_bytes: pair.original.metadata().context("look at an image")?.len(),
            rows,
            costs,
        })
    }

    fn pair(&self, image: Image) -> Result<Pair> {
        let folder = self.scratch.join(image.name());
        files::make_private_dir(&folder)?;
        let pair = Pair {
            original: folder.join("original.raw"),
            changed: folder.join("changed.raw"),
            folder,
        };
        let (size_bytes, seed) = (self.options.size_bytes(), self.options.seed);
        image.make(&pair.original, &pair.folder, size_bytes, seed)?;
        image::change(&pair.original, &pair.changed, seed)?;
        Ok(pair)
    }

    fn place(&self, folder: &Path) -> Place {
        Place {
            volume: folder.join("volume.raw"),
            repository: folder.join("repository"),
            scratch: folder.join("scratch"),
            output: folder.join("restored.raw"),
            worker: self.built.services.backup_worker.clone(),
            python: self.python.clone(),
            cinder_driver: build::workspace().join("tests/clients/cinder_driver.py"),
        }
    }
}
