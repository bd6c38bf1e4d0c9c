//! `restore`: a backup and its parents become a volume again.
//!
//! ```text
//! chain, by parent ids ──► measure: how long is the volume? ──► output: made new, or opened in place ──► engine
//! ```
//!
//! A new output that could not be filled is removed, unless stored data is damaged: then all that
//! could be had is in it, and every extent that could not is named.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use common::domain::{BackupId, ByteCount};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::repository::Repository;
use super::watch::Watch;
use crate::cli;
use crate::engine::{self, RestoreTask, TargetHolds};
use crate::volume::TargetVolume;

/// What was restored.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    backup_id: BackupId,
    /// The backup and its parents, newest first.
    chain: Vec<BackupId>,
    output: String,
    output_is_new: bool,
    volume_bytes: u64,
    /// Bytes that came out of objects, and that were written.
    read_bytes: u64,
    written_bytes: u64,
    warnings: Vec<String>,
}

pub(super) fn run(options: &cli::Restore, watch: &Arc<Watch>) -> Result<Report, Failure> {
    let wanted = options.backup;
    let repository = Repository::open(&options.repository)?;
    Output::check(&options.output, options.force)?;
    refuse_own_tree(repository.path(), &options.output)?;

    let chain = repository.chain(wanted, watch)?;
    let store = repository.store();
    let measured =
        engine::measure(&*store, &chain).map_err(|error| Failure::of_engine(wanted, error))?;

    let output = Output::open(&options.output, options.force, measured.volume_bytes)?;
    let output = Arc::new(output);
    watch.begin(format!("restoring {wanted}"));
    let restored = engine::restore(&RestoreTask {
        chain: &chain,
        backup_size_gib: measured.size_gib,
        target: Arc::clone(&output) as Arc<dyn TargetVolume>,
        target_holds: match output.is_new() {
            true => TargetHolds::Zeros,
            false if options.differing => TargetHolds::Similar,
            false => TargetHolds::Anything,
        },
        mark: 0,
        store,
        limits: super::limits(),
        throttle: super::throttle(options.rates),
        monitor: Arc::clone(watch) as Arc<dyn engine::Monitor>,
    });
    watch.end();
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => return Err(give_up(Failure::of_engine(wanted, error), &output)),
    };
    output.keep()?;
    Ok(Report {
        backup_id: wanted,
        chain: chain.iter().map(|backup| backup.backup_id).collect(),
        output: options.output.display().to_string(),
        output_is_new: output.is_new(),
        volume_bytes: measured.volume_bytes,
        read_bytes: restored.totals.read.0,
        written_bytes: restored.totals.written.0,
        warnings: restored.warnings,
    })
}

/// What is worth something stays: all that could be had of a damaged backup.
fn give_up(mut failure: Failure, output: &Output) -> Failure {
    match &mut failure {
        Failure::Damaged(found) if output.is_written() => {
            found.note = Some("All that is not named was written to the output.".to_owned());
        }
        _ => output.discard(),
    }
    failure
}

/// An output among the stored objects would write over what is to be read.
fn refuse_own_tree(repository: &Path, output: &Path) -> Result<(), Failure> {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Ok(repository), Ok(parent)) = (repository.canonicalize(), parent.canonicalize()) else {
        return Ok(()); // whoever opens them says what is wrong
    };
    let target = output.canonicalize().unwrap_or(parent);
    if target.starts_with(&repository) {
        return Err(Failure::Usage(format!(
            "{} lies in the repository itself",
            output.display()
        )));
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backup {} restored to {}: {} bytes ({}), from {} backup(s)",
            self.backup_id,
            self.output,
            self.volume_bytes,
            ByteCount(self.volume_bytes),
            self.chain.len(),
        )?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
