//! `verify`: reads what restores would read, and says what they could not have.
//!
//! Each backup is walked like a restore to nowhere: every object to its end with its length and MD5,
//! every block against the backup's own digest. Of one backup the parents are walked too, so that
//! their objects that a newer one covers are checked as well.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytesize::ByteSize;
use common::domain::{BackupId, ByteCount};
use common::telemetry::error_chain;
use serde::Serialize;

use super::failure::{COULD_NOT, DAMAGED, Failure, Findings};
use super::repository::Repository;
use super::watch::Watch;
use crate::cli::{self, Rates};
use crate::engine::{self, Sample, Throttle, VerifyTask};

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// Backups that were looked at, in order.
    pub backups: Vec<BackupId>,
    /// Those of them that cannot be restored in full.
    pub damaged: Vec<BackupId>,
    /// What is wrong with what is stored; each thing once, whatever number of backups it concerns.
    #[serde(flatten)]
    pub found: Findings,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
    /// What could not be checked as well as it should be.
    pub warnings: Vec<String>,
    /// Backups that were never finished. They are no damage.
    pub unfinished: Vec<BackupId>,
    /// Bytes that came out of objects.
    pub read_bytes: u64,
    /// The share that was read, and the seed that chose it.
    pub sample: Option<Chosen>,
}

/// A random share.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Chosen {
    /// From 0 to 1.
    pub share: f64,
    /// The same seed chooses the same share of the same tree.
    pub seed: u64,
}

pub(super) fn run(options: &cli::Verify, watch: &Arc<Watch>) -> Result<Verified, Failure> {
    let repository = Repository::open(&options.repository)?;
    let sample = options.sample.map(|share| Chosen {
        share,
        seed: options.seed.unwrap_or_else(rand::random),
    });
    let throttle = super::throttle(Rates {
        read_rate: options.read_rate,
        store_rate: ByteSize::b(0),
    });
    verify(&repository, options.backup, sample, &throttle, watch)
}

/// Checks one backup with its parents, or all of a tree, or a random share of that.
///
/// # Errors
/// When nothing could be looked at. What is wrong with stored data is in what comes back.
pub fn verify(
    repository: &Repository,
    wanted: Option<BackupId>,
    sample: Option<Chosen>,
    throttle: &Throttle,
    watch: &Arc<Watch>,
) -> Result<Verified, Failure> {
    let mut verified = Verified {
        sample,
        ..Verified::default()
    };
    let backups = match wanted {
        Some(id) => match repository.chain(id, watch) {
            Ok(chain) => chain.iter().rev().map(|backup| backup.backup_id).collect(),
            Err(Failure::Damaged(_)) => vec![id], // found again below, and told there
            Err(other) => return Err(other),
        },
        None => all(repository, watch, &mut verified)?,
    };
    let mut known = HashSet::new();
    for (index, id) in backups.iter().enumerate() {
        watch.check()?;
        watch.begin(format!("verifying {}/{}", index + 1, backups.len()));
        match one(repository, *id, sample, throttle, watch) {
            Ok(restorable) => verified.warnings.extend(restorable.warnings),
            Err(Failure::Damaged(Findings { findings, more, .. })) => {
                verified.damaged.push(*id);
                verified.found.more += more;
                for finding in findings {
                    if known.insert(finding.clone()) {
                        verified.found.findings.push(finding);
                    }
                }
            }
            Err(other) => {
                watch.check()?;
                verified.unchecked.push(format!("backup {id}: {other}"));
            }
        }
        verified.read_bytes += watch.read_bytes();
    }
    watch.end();
    if sample.is_some() && verified.read_bytes == 0 {
        let warning = "nothing fell into the share; a larger one, or another seed, reads something";
        verified.warnings.push(warning.to_owned());
    }
    verified.backups = backups;
    Ok(verified)
}

/// All whole backups of a tree.
fn all(
    repository: &Repository,
    watch: &Watch,
    verified: &mut Verified,
) -> Result<Vec<BackupId>, Failure> {
    let (mut whole, mut unfinished) = (Vec::new(), Vec::new());
    let closed = repository.scan(watch, &mut |stored| {
        match stored.whole() {
            Some(backup) => whole.push(backup.backup_id),
            None => unfinished.push(stored.backup_id),
        }
        Ok(())
    })?;
    let closed = closed.iter().map(|error| error_chain(error));
    verified.unchecked.extend(closed);
    whole.sort_unstable();
    whole.dedup();
    unfinished.retain(|id| whole.binary_search(id).is_err());
    verified.unfinished = unfinished;
    Ok(whole)
}

/// Walks one backup.
fn one(
    repository: &Repository,
    id: BackupId,
    sample: Option<Chosen>,
    throttle: &Throttle,
    watch: &Arc<Watch>,
) -> Result<engine::Restored, Failure> {
    let chain = repository.chain(id, watch)?;
    let store = repository.store();
    let failed = |error| Failure::of_engine(id, error);
    let measured = engine::measure(&*store, &chain).map_err(failed)?;
    engine::verify(&VerifyTask {
        chain: &chain,
        backup_size_gib: measured.size_gib,
        store,
        limits: super::limits(),
        throttle: throttle.clone(),
        monitor: Arc::clone(watch) as Arc<dyn engine::Monitor>,
        sample: sample.map(|Chosen { share, seed }| Sample { share, seed }),
    })
    .map_err(failed)
}

impl Verified {
    /// What it says to the shell.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if !self.damaged.is_empty() {
            DAMAGED
        } else if !self.unchecked.is_empty() {
            COULD_NOT
        } else {
            0
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Chosen { share, seed }) = self.sample {
            writeln!(
                f,
                "a random share of {}% was read; seed {seed}",
                share * 100.0
            )?;
        }
        for id in &self.unfinished {
            writeln!(f, "note: backup {id} was never finished")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for what in &self.unchecked {
            writeln!(f, "not checked: {what}")?;
        }
        if !self.damaged.is_empty() {
            writeln!(f, "{}", self.found)?;
            for id in &self.damaged {
                writeln!(f, "backup {id} cannot be restored in full")?;
            }
        }
        let good = self.backups.len() - self.damaged.len();
        write!(
            f,
            "{good} of {} backup(s) without a finding, {} read",
            self.backups.len(),
            ByteCount(self.read_bytes)
        )
    }
}
