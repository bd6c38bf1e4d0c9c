//! `list`: what is in a tree, and what is broken about it. Data objects are counted, not read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use common::domain::{BackupId, ByteCount, ContainerName};
use common::messages::sheet::StoredBackup;
use common::telemetry::error_chain;
use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;
use super::repository::{Repository, Stored};
use super::strays::{self, Stray};
use super::watch::Watch;
use crate::cli;
use crate::format::metadata::MetadataHead;
use crate::store::StoreError;

/// All backups of a tree.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    backups: Vec<Row>,
    /// Directories that could not be looked into.
    unreadable: Vec<String>,
    /// Names that no whole backup accounts for, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    strays: Option<Vec<Stray>>,
}

/// One backup.
#[derive(Debug, Serialize)]
struct Row {
    backup_id: BackupId,
    volume_id: Option<String>,
    created_at: Option<Timestamp>,
    /// None for a full backup.
    parent_id: Option<String>,
    state: State,
    size_gib: Option<u64>,
    object_count: u64,
    stored_bytes: u64,
    compressions: BTreeSet<&'static str>,
    name: Option<String>,
    container: ContainerName,
    prefix: Option<String>,
    /// What is wrong with it, or its parents.
    problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Whole,
    Unfinished,
    Unreadable,
}

pub(super) fn run(options: &cli::List, watch: &Arc<Watch>) -> Result<Listing, Failure> {
    let repository = Repository::open(&options.repository)?;
    let mut rows = Vec::new();
    let closed = repository.scan(watch, &mut |stored| {
        rows.push(row(&repository, stored)?);
        Ok(())
    })?;
    look_at_parents(&mut rows);
    rows.sort_by_key(|row| (row.created_at, row.backup_id));
    Ok(Listing {
        backups: rows,
        unreadable: closed.iter().map(|error| error_chain(error)).collect(),
        strays: options
            .strays
            .then(|| strays::find(&repository, watch))
            .transpose()?,
    })
}

fn row(repository: &Repository, stored: Stored) -> Result<Row, Failure> {
    let backup = stored.whole();
    let mut row = Row {
        backup_id: stored.backup_id,
        volume_id: None,
        created_at: None,
        parent_id: None,
        state: State::Unfinished,
        size_gib: None,
        object_count: 0,
        stored_bytes: 0,
        compressions: BTreeSet::new(),
        name: None,
        container: stored.container,
        prefix: stored.prefix.map(String::from),
        problems: Vec::new(),
    };
    match backup {
        Some(backup) => read(repository, &backup, &mut row)?,
        None => row.problems.push("unfinished: no metadata file".to_owned()),
    }
    for scratch in stored.scratch {
        row.problems
            .push(format!("scratch place `{scratch}` is left"));
    }
    Ok(row)
}

/// Fills in what the metadata file tells, and what is there of the objects.
fn read(repository: &Repository, backup: &StoredBackup, row: &mut Row) -> Result<(), Failure> {
    let store = repository.store();
    let (mut missing, mut end) = (0_u64, 0);
    let head = repository.head(backup, &mut |object| {
        row.object_count += 1;
        row.compressions.insert(object.compression.as_str());
        end = end.max(object.offset.saturating_add(object.length.unwrap_or(0)));
        match store.open(&backup.container, &object.name) {
            Ok((_, bytes)) => row.stored_bytes += bytes,
            Err(StoreError::NoSuchObject { .. } | StoreError::Refused { .. }) => missing += 1,
            Err(error) => row.problems.push(error_chain(&error)),
        }
        Ok(())
    });
    let head = match head {
        Ok(head) => head,
        Err(Failure::Damaged(found)) => {
            row.state = State::Unreadable;
            let why = found.findings.into_iter().map(|finding| finding.why);
            row.problems.extend(why);
            return Ok(());
        }
        Err(other) => return Err(other),
    };
    if missing > 0 {
        row.problems.push(format!("{missing} object(s) missing"));
    }
    if head
        .backup_id
        .as_ref()
        .is_some_and(|id| *id != backup.backup_id.to_string())
    {
        row.problems
            .push("the metadata file is of another backup".to_owned());
    }
    row.state = State::Whole;
    row.size_gib = size_gib(&head).or_else(|| {
        let is_full = head.parent_id.is_none();
        is_full.then(|| ByteCount(end).gib_rounded_up().into())
    });
    row.volume_id = head.volume_id;
    row.created_at = head.created_at;
    row.parent_id = head.parent_id;
    row.name = head.backup_name;
    Ok(())
}

/// The volume's size: in our own member, or in what Cinder recorded of the volume.
fn size_gib(head: &MetadataHead) -> Option<u64> {
    if let Some(ours) = &head.emberkeep {
        return Some(ours.size_gib.into());
    }
    let recorded: serde_json::Value = serde_json::from_str(head.volume_meta.as_deref()?).ok()?;
    recorded["volume-base-metadata"]["size"].as_u64()
}

/// Finds parents that are missing, broken, or go in a circle.
fn look_at_parents(rows: &mut [Row]) {
    let parents: HashMap<String, (State, Option<String>)> = rows
        .iter()
        .map(|row| {
            (
                row.backup_id.to_string(),
                (row.state, row.parent_id.clone()),
            )
        })
        .collect();
    let mut copies: BTreeMap<BackupId, u32> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.state != State::Unfinished) {
        *copies.entry(row.backup_id).or_default() += 1;
    }
    for row in rows {
        if copies.get(&row.backup_id).is_some_and(|copies| *copies > 1) {
            row.problems.push("stored more than once".to_owned());
        }
        let mut seen = HashSet::from([row.backup_id.to_string()]);
        let mut next = row.parent_id.clone();
        while let Some(parent) = next {
            let problem = match parents.get(&parent) {
                _ if !seen.insert(parent.clone()) => format!("parents in a circle at {parent}"),
                None => format!("parent {parent} is missing"),
                Some((State::Unfinished, _)) => format!("parent {parent} is unfinished"),
                Some((State::Unreadable, _)) => format!("parent {parent} is unreadable"),
                Some((State::Whole, above)) => {
                    next = above.clone();
                    continue;
                }
            };
            row.problems.push(problem);
            break;
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "BACKUP",
            "VOLUME",
            "CREATED",
            "PARENT",
            "SIZE",
            "OBJECTS",
            "STORED",
            "COMPRESSION",
            "NAME",
        ];
        let rows: Vec<[String; 9]> = self.backups.iter().map(Row::cells).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.chain([heads[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let mut line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths);
            let padded: Vec<_> = padded
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", padded.join("  ").trim_end())
        };
        line(&heads.map(str::to_owned))?;
        for (row, cells) in self.backups.iter().zip(&rows) {
            line(cells)?;
            for problem in &row.problems {
                line(&[format!("  ! {}", plain(problem))])?;
            }
        }
        for what in &self.unreadable {
            writeln!(f, "! {what}")?;
        }
        for stray in self.strays.iter().flatten() {
            writeln!(f, "? {}: {}", plain(&stray.path), stray.why)?;
        }
        let broken = self.backups.iter().filter(|row| !row.problems.is_empty());
        let broken = broken.count();
        write!(
            f,
            "{} backup(s), {broken} with a problem",
            self.backups.len()
        )?;
        match &self.strays {
            Some(strays) => write!(f, ", {} stray(s)", strays.len()),
            None => Ok(()),
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 9] {
        let or_dash =
            |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| plain(&text));
        let parent = match (&self.parent_id, self.state) {
            (Some(parent), _) => Some(parent.clone()),
            (None, State::Whole) => Some("full".to_owned()),
            (None, State::Unfinished | State::Unreadable) => None,
        };
        let compressions: Vec<_> = self.compressions.iter().copied().collect();
        [
            self.backup_id.to_string(),
            or_dash(self.volume_id.clone()),
            or_dash(
                self.created_at
                    .map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            ),
            or_dash(parent),
            or_dash(self.size_gib.map(|gib| format!("{gib} GiB"))),
            self.object_count.to_string(),
            ByteCount(self.stored_bytes).to_string(),
            or_dash((!compressions.is_empty()).then(|| compressions.join(","))),
            or_dash(self.name.clone()),
        ]
    }
}

/// Text of whoever wrote the tree, without what a terminal would obey.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}
