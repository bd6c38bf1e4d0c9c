//! The command line: what can be asked of the binary. What is done about it is elsewhere.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use common::config::check_rate;
use common::domain::{BackupId, Compression, VolumeId};

/// What the exit status of the commands for a stored tree means.
const EXIT_CODES: &str = "\
Exit status:
  0  done, and all that was read is what was stored
  1  could not run, or was interrupted; the error says what and why
  2  wrong usage
  3  damaged: stored data is not what was stored; backup, object, volume offset and length are named";

/// Takes backup jobs from the broker and moves volume data. With a command: works on a stored tree
/// alone, without broker, api-service or database.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Configuration file (TOML). Without it: defaults and environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Without one: take jobs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// All but taking jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepares a backup target and prints its id; one that is prepared keeps it.
    InitTarget(InitTarget),
    /// Looks for what would be in the way of this worker, and prints it: opens each volume backend and the target,
    /// where it writes, reads and removes a probe, and logs in to the broker. Ends with 1 when there is something.
    CheckConfig,
    /// Works on a stored tree alone; needs no configuration.
    #[command(flatten)]
    Standalone(Standalone),
}

/// Arguments of `init-target`.
#[derive(Debug, Args)]
pub struct InitTarget {
    /// The directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

/// The commands for a stored tree.
#[derive(Debug, Subcommand)]
pub enum Standalone {
    /// Restores a backup, with its parents, to a file or block device.
    #[command(after_help = EXIT_CODES)]
    Restore(Restore),
    /// Reads backups as a restore would, and checks every object and every block.
    #[command(after_help = EXIT_CODES)]
    Verify(Verify),
    /// Lists all backups of a tree, and what is broken about them.
    #[command(after_help = EXIT_CODES)]
    List(List),
    /// Backs up a file.
    #[command(after_help = EXIT_CODES)]
    Backup(Backup),
}

/// Limits, so that others on the machine have their share too.
#[derive(Debug, Clone, Copy, Args)]
pub struct Rates {
    /// Read no more than so many bytes a second, such as 50MiB: of the volume, or of stored objects.
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = rate)]
    pub read_rate: ByteSize,
    /// Store no more than so many bytes a second: of objects as they are stored, or of the restored volume.
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = rate)]
    pub store_rate: ByteSize,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The directory backups are stored in.
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// The backup; its parents are found by themselves.
    #[arg(long, value_name = "ID")]
    pub backup: BackupId,
    /// Where to: a file, made new, or with `--force` an existing file or block device.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over an existing FILE in place. It has to be large enough.
    #[arg(long)]
    pub force: bool,
    /// Read what an existing FILE has, and write only what differs: blocks that it shares with snapshots stay shared.
    #[arg(long, requires = "force")]
    pub differing: bool,
    #[command(flatten)]
    pub rates: Rates,
    /// Print the outcome as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The directory backups are stored in.
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Only this backup and its parents.
    #[arg(long, value_name = "ID")]
    pub backup: Option<BackupId>,
    /// Read only a random share of the volume, such as 10%.
    #[arg(long, value_name = "P%", value_parser = percent)]
    pub sample: Option<f64>,
    /// Take the same share as a run that told this seed.
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    /// Read no more than so many bytes of stored objects a second, such as 50MiB.
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = rate)]
    pub read_rate: ByteSize,
    /// Print the outcome as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// The directory backups are stored in.
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Also name what lies in the containers and belongs to no whole backup. Nothing is removed.
    #[arg(long)]
    pub strays: bool,
    /// Print the list as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The directory backups are stored in. It has to be prepared: by `init-target`, or `--init`.
    #[arg(long, value_name = "DIR")]
    pub repository: PathBuf,
    /// Prepare the directory first, if it is not.
    #[arg(long)]
    pub init: bool,
    /// The file to back up. It is frozen by sharing its blocks where the file system can; elsewhere it is read in
    /// place, and the backup fails if it changes meanwhile.
    #[arg(long, value_name = "FILE")]
    pub volume: PathBuf,
    /// FILE may be written meanwhile: where blocks cannot be shared, copy it first.
    #[arg(long)]
    pub in_use: bool,
    /// Keep the snapshot FILE was read from, beside it, in place of the one that was kept last; and where the one of the
    /// parent is kept, read only what was written since. Needs XFS with reflink, or Btrfs.
    #[arg(long)]
    pub keep_snapshot: bool,
    /// The volume's id: that of the parent, if there is one.
    #[arg(long, value_name = "ID")]
    pub volume_id: VolumeId,
    /// The backup's id; without it a new one.
    #[arg(long, value_name = "ID")]
    pub backup: Option<BackupId>,
    /// Store only what differs from this backup.
    #[arg(long, value_name = "ID")]
    pub parent: Option<BackupId>,
    /// A name to show.
    #[arg(long)]
    pub name: Option<String>,
    /// A description to show.
    #[arg(long)]
    pub description: Option<String>,
    /// The project that owns it; without it the parent's, or the one of an API without authentication.
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// lz4, zstd, zlib, bz2 or none; all but lz4 can be restored by Cinder.
    #[arg(long, value_name = "ALG", default_value = "lz4")]
    pub compression: Compression,
    /// Bytes of the volume in one object, a multiple of the block size (32KiB, or the parent's), at most 50MiB.
    #[arg(long, value_name = "N", default_value = "8MiB")]
    pub object_size: ByteSize,
    #[command(flatten)]
    pub rates: Rates,
    /// Print the outcome as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<ByteSize, String> {
    let rate = text.parse()?;
    check_rate(rate)?;
    Ok(rate)
}

/// Reads `10%` or `10` as 0.1.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("a share is more than 0% and at most 100%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_rate_is_a_size_and_no_trickle() {
        assert_eq!(rate("50MiB"), Ok(ByteSize::mib(50)));
        assert_eq!(rate("0"), Ok(ByteSize::b(0)));
        for bad in ["1000", "1000KiB", "fast", "-1MiB"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_is_written_in_percent() {
        assert_eq!(percent("10%"), Ok(0.1));
        assert_eq!(percent("100"), Ok(1.0));
        for bad in ["0%", "101%", "ten", "", "-1%", "nan"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
