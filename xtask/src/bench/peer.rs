//! Who is measured, and the commands that each is given.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum as _;

use super::Image;
use crate::install::Need;

const VOLUME_ID: &str = "0c1a7a52-6a3f-4a4e-9d6b-5f1d3c0e7b11";
/// Of our full backup.
pub(super) const FULL_ID: &str = "5d0f3c7e-1111-4b6e-8a52-7e9b3f2c4d01";
const UNCHANGED_ID: &str = "5d0f3c7e-3333-4b6e-8a52-7e9b3f2c4d03";
/// Of the one after it.
pub(super) const INCREMENTAL_ID: &str = "5d0f3c7e-2222-4b6e-8a52-7e9b3f2c4d02";
/// Cinder's default for `backup_file_size`.
const CINDER_OBJECT_BYTES: &str = "1999994880";

/// One that makes backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    /// Ours, our default
    EmberLz4,
    /// Ours
    EmberZstd,
    /// Ours
    EmberZlib,
    /// Ours, plain
    EmberNone,
    /// Ours
    EmberBz2,
    /// Cinder's own driver, its default
    CinderZlib,
    /// Cinder's own driver
    CinderZstd,
    /// Cinder's own driver
    CinderBz2,
    /// restic as it comes, encrypted
    Restic,
    /// borg without encryption
    BorgLz4,
    /// A whole compressed copy
    QemuImg,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// Not measured.
    Prepare,
    /// A backup of the volume.
    Full,
    /// Another of the same bytes: ours alone, which reads and hashes and stores nothing.
    Unchanged,
    /// Another after 1 % of it changed.
    Incremental,
    /// Of the newest backup.
    Restore,
}

impl Step {
    /// In the order in which they are done.
    pub(super) const ALL: [Self; 5] = [
        Self::Prepare,
        Self::Full,
        Self::Unchanged,
        Self::Incremental,
        Self::Restore,
    ];
}

/// Where it does it.
#[derive(Debug)]
pub(super) struct Place {
    /// The volume's file; the same path when its content has changed.
    pub(super) volume: PathBuf,
    /// Empty before `Prepare`; what is stored.
    pub(super) repository: PathBuf,
    /// For caches and the like, which are not what is stored.
    pub(super) scratch: PathBuf,
    /// The file that is restored.
    pub(super) output: PathBuf,
    /// Our worker.
    pub(super) worker: PathBuf,
    /// The folder of the Python clients' programs, if they are wanted.
    pub(super) python: Option<PathBuf>,
    /// `tests/clients/cinder_driver.py`.
    pub(super) cinder_driver: PathBuf,
}

/// A command, and where its standard output goes if that is the volume.
pub(super) struct Run {
    pub(super) command: Command,
    pub(super) output: Option<PathBuf>,
}

impl From<Command> for Run {
    fn from(command: Command) -> Self {
        Self {
            command,
            output: None,
        }
    }
}

impl Peer {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EmberLz4 => "Emberkeep lz4",
            Self::EmberZstd => "Emberkeep zstd",
            Self::EmberZlib => "Emberkeep zlib",
            Self::EmberNone => "Emberkeep none",
            Self::EmberBz2 => "Emberkeep bz2",
            Self::CinderZlib => "Cinder zlib (its default)",
            Self::CinderZstd => "Cinder zstd",
            Self::CinderBz2 => "Cinder bz2",
            Self::Restic => "restic",
            Self::BorgLz4 => "borg lz4",
            Self::QemuImg => "qemu-img qcow2 zstd",
        }
    }

    /// Our algorithm, of ours.
    pub(super) fn ours(self) -> Option<&'static str> {
        match self {
            Self::EmberLz4 => Some("lz4"),
            Self::EmberZstd => Some("zstd"),
            Self::EmberZlib => Some("zlib"),
            Self::EmberNone => Some("none"),
            Self::EmberBz2 => Some("bz2"),
            _ => None,
        }
    }

    /// Real Cinder, which restores over a file that is there.
    pub(super) fn is_cinder(self) -> bool {
        matches!(self, Self::CinderZlib | Self::CinderZstd | Self::CinderBz2)
    }

    /// What is measured with an image, unless rows were named. bz2 is thirty times dearer than LZ4 and has an image of its
    /// own; all that reads sixteen times the bytes of the others would take an hour.
    pub(super) fn of(image: Image) -> Vec<Self> {
        let bz2 = [Self::EmberBz2, Self::CinderBz2];
        match image {
            Image::Small => bz2.into(),
            Image::Sparse => vec![
                Self::EmberLz4,
                Self::EmberZstd,
                Self::CinderZlib,
                Self::Restic,
                Self::BorgLz4,
                Self::QemuImg,
            ],
            Image::Ext4 | Image::Random => {
                let all = Self::value_variants().iter().copied();
                all.filter(|peer| !bz2.contains(peer)).collect()
            }
        }
    }

    pub(super) fn need(self) -> Option<Need> {
        match self {
            _ if self.is_cinder() => Some(Need::PythonVenv),
            Self::Restic => Some(Need::Restic),
            Self::BorgLz4 => Some(Need::Borg),
            Self::QemuImg => Some(Need::QemuImg),
            _ => None,
        }
    }

    /// What to run; `None` where there is nothing to do, or it cannot.
    pub(super) fn run(self, step: Step, place: &Place) -> Option<Run> {
        match self {
            Self::EmberLz4
            | Self::EmberZstd
            | Self::EmberZlib
            | Self::EmberNone
            | Self::EmberBz2 => Some(ours(self.ours()?, step, place).into()),
            Self::CinderZlib => cinder("zlib", step, place).map(Run::from),
            Self::CinderZstd => cinder("zstd", step, place).map(Run::from),
            Self::CinderBz2 => cinder("bz2", step, place).map(Run::from),
            Self::Restic => restic(step, place),
            Self::BorgLz4 => borg(step, place),
            Self::QemuImg => qemu_img(step, place).map(Run::from),
        }
    }
}

fn ours(algorithm: &str, step: Step, place: &Place) -> Command {
    match step {
        Step::Prepare => prepare(place),
        Step::Full => backup(algorithm, FULL_ID, None, place),
        Step::Unchanged => backup(algorithm, UNCHANGED_ID, Some(FULL_ID), place),
        Step::Incremental => backup(algorithm, INCREMENTAL_ID, Some(FULL_ID), place),
        Step::Restore => restore(INCREMENTAL_ID, place),
    }
}

/// Makes the folder a target of ours.
pub(super) fn prepare(place: &Place) -> Command {
    let mut command = Command::new(&place.worker);
    command
        .args(["init-target", "--path"])
        .arg(&place.repository);
    command
}

/// A backup of ours.
pub(super) fn backup(algorithm: &str, id: &str, parent: Option<&str>, place: &Place) -> Command {
    let mut command = Command::new(&place.worker);
    command
        .arg("backup")
        .arg("--repository")
        .arg(&place.repository);
    command.arg("--volume").arg(&place.volume);
    command.args(["--volume-id", VOLUME_ID, "--compression", algorithm]);
    command.args(["--json", "--backup", id]);
    if let Some(parent) = parent {
        command.args(["--parent", parent]);
    }
    command
}

/// A restore of a backup of ours.
pub(super) fn restore(id: &str, place: &Place) -> Command {
    let mut command = Command::new(&place.worker);
    command
        .arg("restore")
        .arg("--repository")
        .arg(&place.repository);
    command
        .args(["--backup", id, "--json", "--output"])
        .arg(&place.output);
    command
}

fn cinder(algorithm: &str, step: Step, place: &Place) -> Option<Command> {
    let mut command = Command::new(place.python.as_ref()?.join("python"));
    command
        .arg(&place.cinder_driver)
        .arg("--repository")
        .arg(&place.repository);
    command.args([
        "--compression",
        algorithm,
        "--object-size",
        CINDER_OBJECT_BYTES,
    ]);
    match step {
        Step::Prepare | Step::Unchanged => return None,
        Step::Full | Step::Incremental => {
            command
                .arg("backup")
                .arg("--volume")
                .arg(&place.volume)
                .args(["--volume-id", VOLUME_ID]);
            command.args(match step {
                Step::Incremental => &["--backup-id", INCREMENTAL_ID, "--parent", FULL_ID][..],
                _ => &["--backup-id", FULL_ID],
            });
        }
        Step::Restore => {
            command.args([
                "restore",
                "--backup-id",
                INCREMENTAL_ID,
                "--new",
                "--target",
            ]);
            command.arg(&place.output);
        }
    }
    Some(command)
}

fn restic(step: Step, place: &Place) -> Option<Run> {
    let mut command = Command::new("restic");
    command
        .env("RESTIC_PASSWORD", "bench")
        .env("RESTIC_CACHE_DIR", place.scratch.join("restic"));
    command.arg("--repo").arg(&place.repository).arg("--quiet");
    let mut output = None;
    match step {
        Step::Unchanged => return None,
        Step::Prepare => command.arg("init"),
        Step::Full | Step::Incremental => command.arg("backup").arg(&place.volume),
        Step::Restore => {
            output = Some(place.output.clone());
            command.args(["dump", "latest"]).arg(&place.volume)
        }
    };
    Some(Run { command, output })
}

fn borg(step: Step, place: &Place) -> Option<Run> {
    let archive = |name: &str| {
        let mut text = place.repository.as_os_str().to_owned();
        text.push(format!("::{name}"));
        text
    };
    let volume = place.volume.file_name()?;
    let mut command = Command::new("borg");
    command.env("BORG_BASE_DIR", place.scratch.join("borg"));
    command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    command.current_dir(place.volume.parent().unwrap_or(Path::new("/")));
    let mut output = None;
    match step {
        Step::Unchanged => return None,
        Step::Prepare => command
            .args(["init", "--encryption", "none"])
            .arg(&place.repository),
        Step::Full => command
            .args(["create", "--compression", "lz4"])
            .arg(archive("full"))
            .arg(volume),
        Step::Incremental => command
            .args(["create", "--compression", "lz4"])
            .arg(archive("changed"))
            .arg(volume),
        Step::Restore => {
            output = Some(place.output.clone());
            command
                .args(["extract", "--stdout"])
                .arg(archive("changed"))
                .arg(volume)
        }
    };
    Some(Run { command, output })
}

fn qemu_img(step: Step, place: &Place) -> Option<Command> {
    let copy = place.repository.join("copy.qcow2");
    let mut command = Command::new("qemu-img");
    match step {
        Step::Prepare | Step::Unchanged | Step::Incremental => return None,
        Step::Full => {
            command.args([
                "convert",
                "-c",
                "-m",
                "2",
                "-f",
                "raw",
                "-O",
                "qcow2",
                "-o",
                "compression_type=zstd",
            ]);
            command.arg(&place.volume).arg(copy);
        }
        Step::Restore => {
            command
                .args(["convert", "-m", "2", "-f", "qcow2", "-O", "raw"])
                .arg(copy)
                .arg(&place.output);
        }
    }
    Some(command)
}
