//! `backup`: a file becomes a backup, by the steps of a job without the state owner between them.
//!
//! ```text
//! freeze ──► engine: objects, segments ●, closing files ●   ──► snapshot (unless it is kept) and scratch place removed
//!              ├─ a block is not what it counted as ────────► all of it removed; once more, trusting nothing
//!              ╰─ whatever fails, Ctrl-C too ───────────────► all of it removed, metadata file first
//! ```

use std::fmt;
use std::sync::Arc;

use common::config::{Auth, Backup as BackupSettings};
use common::domain::{
    AttemptNames, BackupId, ByteCount, Clock, Compression, ContainerName, ProjectId, SystemClock,
    Token, UserId, VolumeId, VolumeSource,
};
use common::messages::sheet::{BackupRecord, BackupSheet, StoreOptions, StoredBackup, VolumeRef};
use jiff::ToSpan as _;
use serde::Serialize;

use super::failure::Failure;
use super::repository::Repository;
use super::watch::Watch;
use crate::cli;
use crate::engine::{self, BackupTask, CloseTask, EngineError, Monitor, Throttle};
use crate::format::metadata::MetadataHead;
use crate::format::sha256file;
use crate::jobs::erase;
use crate::store::{BackupStore, StoreError, posix};
use crate::volume::{BackedUp, FrozenVolume, VolumeDriver};

/// What was backed up.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    backup_id: BackupId,
    volume_id: VolumeId,
    parent_id: Option<BackupId>,
    container: ContainerName,
    prefix: String,
    compression: Compression,
    volume_bytes: u64,
    object_count: u64,
    /// Bytes read of the volume, stored, and not stored because they were holes or unchanged.
    read_bytes: u64,
    stored_bytes: u64,
    skipped_bytes: u64,
    /// Of those, bytes that a kept snapshot told to be unchanged, and that were not read for it.
    unread_bytes: u64,
    warnings: Vec<String>,
    #[serde(skip)]
    identity: String,
}

/// The volume's file and its driver.
struct Source {
    driver: Arc<dyn VolumeDriver>,
    volume: VolumeRef,
}

pub(super) fn run(options: &cli::Backup, watch: &Arc<Watch>) -> Result<Report, Failure> {
    if options.init {
        posix::init_target(&options.repository)?;
    }
    let repository = Repository::open(&options.repository)?;
    let store = repository.store();
    store.check_marker()?;

    let source = Source::find(options)?;
    let parent = options
        .parent
        .map(|id| Parent::find(&repository, id, options, watch));
    let parent = parent.transpose()?;
    let backup_id = options.backup.unwrap_or_else(BackupId::new);
    if options.backup.is_some() {
        refuse_if_stored(&repository, backup_id, watch)?;
    }
    let mut sheet = sheet(options, backup_id, source.volume.clone(), parent)?;

    watch.begin(format!("backing up {backup_id}"));
    let throttle = super::throttle(options.rates);
    let mut made = make(&sheet, &source, &store, &throttle, watch);
    if let Err(untrue @ EngineError::Untrue { .. }) = &made {
        let warning = format!("{untrue}; the volume was read in full");
        remove_helpers(&sheet, &source, &*store, None)?;
        let volume_id = sheet.volume.volume_id;
        let later = sheet.record.created_at + 1.second();
        let container = sheet.names.container.clone();
        sheet.names = AttemptNames::new(2, container, volume_id, backup_id, later);
        made = make(&sheet, &source, &store, &throttle, watch);
        if let Ok(report) = &mut made {
            report.warnings.push(warning);
        }
    }
    watch.end();
    let identity = made.as_ref().ok().map(|report| report.identity.as_str());
    let removed = remove_helpers(&sheet, &source, &*store, identity);
    let report = made.map_err(|error| match error {
        EngineError::Store(error) => error.into(), // of what is being written: no stored data is in doubt
        other => Failure::of_engine(backup_id, other),
    });
    match (report, removed) {
        (Ok(report), Ok(())) => Ok(report),
        (Ok(_), Err(why)) => Err(Failure::CouldNot(format!(
            "backup {backup_id} is whole, but what helped to make it was not removed: {why}"
        ))),
        (Err(failure), Ok(())) => Err(failure),
        (Err(failure), Err(why)) => Err(Failure::CouldNot(format!(
            "{failure}; and what was made of backup {backup_id} was not removed: {why}"
        ))),
    }
}

/// Steps 4 to 8 of *Create*.
fn make(
    sheet: &BackupSheet,
    Source { driver, volume }: &Source,
    store: &Arc<dyn BackupStore>,
    throttle: &Throttle,
    watch: &Arc<Watch>,
) -> Result<Report, EngineError> {
    let monitor = Arc::clone(watch) as Arc<dyn Monitor>;
    let snapshot = sheet.names.snapshot.as_deref().unwrap_or_default();
    let frozen: Arc<dyn FrozenVolume> = driver
        .freeze(volume, snapshot, GENERATION, sheet.in_use)?
        .into();
    let frozen_at = SystemClock.now();
    let sealed = engine::backup(&BackupTask {
        sheet,
        generation: GENERATION,
        source: Arc::clone(&frozen),
        store: Arc::clone(store),
        limits: super::limits(),
        throttle: throttle.clone(),
        monitor: Arc::clone(&monitor),
    })?;
    frozen.check_unchanged()?;
    let closed = engine::close_backup(&CloseTask {
        sheet,
        volume_bytes: frozen.size_bytes(),
        frozen_at,
        store: Arc::clone(store),
        monitor,
    })?;
    let totals = sealed.totals;
    Ok(Report {
        backup_id: sheet.backup_id,
        volume_id: volume.volume_id,
        parent_id: sheet.parent.as_ref().map(|parent| parent.backup_id),
        container: sheet.names.container.clone(),
        prefix: sheet.names.prefix.to_string(),
        compression: sheet.options.compression,
        volume_bytes: frozen.size_bytes(),
        object_count: closed.object_count,
        read_bytes: totals.read.0,
        stored_bytes: totals.written.0,
        skipped_bytes: totals.skipped.0,
        unread_bytes: sealed.unread_bytes.unwrap_or(0),
        warnings: Vec::new(),
        identity: frozen.identity().to_owned(),
    })
}

/// There is one execution, and no other takes over.
const GENERATION: u64 = 1;

/// Removes the snapshot and the scratch place, and unless the backup is whole all that was stored. Whole it is if there is
/// the `identity` of what it was read from.
fn remove_helpers(
    sheet: &BackupSheet,
    Source { driver, volume }: &Source,
    store: &dyn BackupStore,
    identity: Option<&str>,
) -> Result<(), Failure> {
    let names = &sheet.names;
    let stored = match &names.scratch {
        Some(scratch) if identity.is_some() => store.remove_scratch(&names.container, scratch),
        _ => erase::remove_stored::<StoreError>(store, names, &|| Ok(())),
    };
    let snapshot = names.snapshot.as_deref().unwrap_or_default();
    if identity.is_some() {
        let backup_id = sheet.backup_id;
        let backup = BackedUp {
            backup_id,
            identity,
        };
        driver.retire_snapshot(volume, snapshot, &backup)?;
    } else {
        driver.remove_snapshot(volume, snapshot)?;
    }
    Ok(stored?)
}

fn sheet(
    options: &cli::Backup,
    backup_id: BackupId,
    volume: VolumeRef,
    parent: Option<Parent>,
) -> Result<BackupSheet, Failure> {
    let defaults = Auth::default();
    let now = SystemClock.now();
    let block_size = parent.as_ref().map(|parent| parent.block_size);
    let ours = parent
        .as_ref()
        .and_then(|parent| parent.head.emberkeep.as_ref());
    let project_id = match (&options.project, ours) {
        (Some(project), _) => ProjectId::from(project.as_str()),
        (None, Some(ours)) => ours.project_id.clone(),
        (None, None) => ProjectId::from(defaults.default_project),
    };
    let user_id = ours.map_or_else(
        || UserId::from(defaults.default_user),
        |ours| ours.user_id.clone(),
    );
    let record = BackupRecord {
        name: options.name.clone(),
        description: options.description.clone(),
        created_at: now,
        project_id,
        user_id,
        size_gib: volume.size_gib,
        data_timestamp: None,
        snapshot_id: None,
        availability_zone: ours.and_then(|ours| ours.availability_zone.clone()),
        metadata: std::collections::BTreeMap::new(),
        volume_meta: None,
    };
    let container = ContainerName::from_backup_id(backup_id);
    Ok(BackupSheet {
        backup_id,
        names: AttemptNames::new(1, container, volume.volume_id, backup_id, now),
        source_snapshot: None,
        in_use: options.in_use,
        options: store_options(options, block_size)?,
        parent: parent.map(|parent| parent.stored),
        committed: false,
        frozen: None,
        mark: 0,
        record,
        volume,
    })
}

/// The form of objects, under the rules of the configuration.
fn store_options(options: &cli::Backup, block_size: Option<u64>) -> Result<StoreOptions, Failure> {
    let defaults = BackupSettings::default();
    let settings = BackupSettings {
        compression: options.compression,
        object_size: options.object_size,
        block_size: block_size.map_or(defaults.block_size, bytesize::ByteSize::b),
        ..defaults
    };
    settings
        .check()
        .map_err(|error| Failure::Usage(common::telemetry::error_chain(&error)))?;
    Ok(settings.store_options())
}

/// Another's leftovers may be another's work in progress.
fn refuse_if_stored(
    repository: &Repository,
    backup_id: BackupId,
    watch: &Watch,
) -> Result<(), Failure> {
    let stored = repository.stored_of(backup_id, watch)?;
    let Some(first) = stored.first() else {
        return Ok(());
    };
    let what = if stored.iter().any(|stored| stored.is_whole) {
        "exists already"
    } else {
        "was begun and not finished, or is being made"
    };
    Err(Failure::CouldNot(format!(
        "backup {backup_id} {what} in container {}",
        first.container
    )))
}

/// What an incremental is made on.
struct Parent {
    stored: StoredBackup,
    head: MetadataHead,
    block_size: u64,
}

impl Parent {
    fn find(
        repository: &Repository,
        id: BackupId,
        options: &cli::Backup,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        // All of the chain: on a broken one no more should be built.
        let chain = repository.chain(id, watch)?;
        let stored = chain
            .into_iter()
            .next()
            .ok_or_else(|| Failure::CouldNot(format!("there is no backup {id}")))?;
        let head = repository.head(&stored, &mut |_| Ok(()))?;
        let volume_id = options.volume_id.to_string();
        if let Some(other) = head.volume_id.as_ref().filter(|other| **other != volume_id) {
            return Err(Failure::Usage(format!(
                "backup {id} is of volume {other}, not of {volume_id}"
            )));
        }
        let store = repository.store();
        let block_size = sha256file::block_size_of(&*store, &stored.container, &stored.prefix)
            .map_err(|source| Failure::file(id, stored.prefix.sha256file(), &source))?
            .ok_or_else(|| {
                Failure::CouldNot(format!(
                    "backup {id} has no sha256 file, so no incremental can be made on it"
                ))
            })?;
        Ok(Self {
            block_size,
            stored,
            head,
        })
    }
}

impl Source {
    fn find(options: &cli::Backup) -> Result<Self, Failure> {
        let shown = options.volume.display();
        let path = options
            .volume
            .canonicalize()
            .map_err(|error| Failure::to(format!("find {shown}"), &error))?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::CouldNot(format!("{shown} is no file")));
        };
        let name = name.to_string_lossy();
        let source = VolumeSource::new(name)
            .map_err(|error| Failure::to(format!("back up {shown}"), &error))?;
        let driver = crate::files_below(directory, options.keep_snapshot);
        let mut volume = VolumeRef {
            volume_id: options.volume_id,
            backend: Token::new("file").expect("`file` is a token"),
            source,
            size_gib: 1,
        };
        volume.size_gib = ByteCount(driver.inspect(&volume)?).gib_rounded_up();
        Ok(Self { driver, volume })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.parent_id {
            Some(parent) => format!("incremental on {parent}"),
            None => "full".to_owned(),
        };
        write!(
            f,
            "backup {} ({kind}) of volume {}: {} read, {} stored in {} object(s), {} skipped",
            self.backup_id,
            self.volume_id,
            ByteCount(self.read_bytes),
            ByteCount(self.stored_bytes),
            self.object_count,
            ByteCount(self.skipped_bytes),
        )?;
        if self.unread_bytes > 0 {
            let unread = ByteCount(self.unread_bytes);
            write!(f, ", of which {unread} are shared with the kept snapshot")?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
