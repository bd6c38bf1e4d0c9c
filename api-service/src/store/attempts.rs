//! Attempts: the names a backup's data may have, written before any of them exists.

use common::domain::{AttemptNames, BackupId, ContainerName};
use common::messages::sheet::{Frozen, StoreOptions};
use jiff::{Timestamp, ToSpan};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::backups::BackupRow;
use super::row::{Columns, json_text, micros, plain, stored};
use super::{StoreError, Tx, failed};

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    /// Being written, or waiting for it.
    Live,
    /// The commit gate was passed: this is the backup.
    Committed,
    /// A later attempt took over.
    Abandoned,
    /// Ended without a backup: its names may be removed.
    GivenUp,
    /// It was the backup, and the backup was deleted.
    Deleted,
}

impl AttemptState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Committed => "committed",
            Self::Abandoned => "abandoned",
            Self::GivenUp => "given_up",
            Self::Deleted => "deleted",
        }
    }
}

impl std::str::FromStr for AttemptState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "live" => Ok(Self::Live),
            "committed" => Ok(Self::Committed),
            "abandoned" => Ok(Self::Abandoned),
            "given_up" => Ok(Self::GivenUp),
            "deleted" => Ok(Self::Deleted),
            other => Err(format!("`{other}` is no state of an attempt")),
        }
    }
}

/// One lineage of data of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Whose.
    pub backup_id: BackupId,
    /// All its names, and its number.
    pub names: AttemptNames,
    /// The time in its prefix.
    pub prefix_time: Timestamp,
    /// How its objects are made.
    pub options: StoreOptions,
    /// Which snapshot it reads, once a worker froze it.
    pub frozen: Option<Frozen>,
    /// Where it stands.
    pub state: AttemptState,
    /// The generation that was granted it first. Without one no name of it ever existed.
    pub first_generation: Option<u64>,
    /// Whether others followed.
    pub two_generations: bool,
}

const COLUMNS: &str = "backup_id, number, container, prefix, prefix_time, snapshot, scratch, \
    options, identity, taken_at, codec_fingerprint, state, first_generation, two_generations";

fn decode(row: &AnyRow) -> Result<AttemptRow, StoreError> {
    let row = Columns(row);
    let frozen = match (row.opt_text("identity")?, row.opt_time("taken_at")?) {
        (Some(identity), Some(taken_at)) => Some(Frozen {
            identity,
            taken_at,
            codec_fingerprint: row.text("codec_fingerprint")?,
        }),
        _ => None,
    };
    Ok(AttemptRow {
        backup_id: row.word("backup_id")?,
        names: AttemptNames {
            number: row.small("number")?,
            container: row.name("container")?,
            prefix: row.name("prefix")?,
            snapshot: row.opt_text("snapshot")?,
            scratch: row.opt_text("scratch")?,
        },
        prefix_time: row.time("prefix_time")?,
        options: row.json("options")?,
        frozen,
        state: row.word("state")?,
        first_generation: row.opt_int("first_generation")?.map(i64::unsigned_abs),
        two_generations: row.flag("two_generations")?,
    })
}

impl Tx {
    /// Writes the names of a backup's next attempt, before any of them exists. Its prefix carries
    /// now, or a second more than the attempt before, so that no two attempts share a name.
    pub(crate) async fn add_attempt(
        &mut self,
        of: &BackupRow,
        container: ContainerName,
        options: StoreOptions,
        before: Option<&AttemptRow>,
    ) -> Result<AttemptRow, StoreError> {
        let backup = of.id;
        let number = before.map_or(1, |before| before.names.number + 1);
        let later = before.map_or(self.now, |before| before.prefix_time + 1.second());
        let time = self.now.max(later);
        let mut names = AttemptNames::new(number, container, of.volume_id, backup, time);
        if of.snapshot_id.is_some() {
            names = names.without_snapshot();
        }
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO attempts (backup_id, number, container, prefix, prefix_time, snapshot, \
             scratch, options, state, two_generations, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'live', 0, $9)",
        )
        .bind(backup.to_string())
        .bind(i64::from(number))
        .bind(names.container.to_string())
        .bind(names.prefix.to_string())
        .bind(micros(time))
        .bind(names.snapshot.clone())
        .bind(names.scratch.clone())
        .bind(json_text(&options))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("write a new attempt"))?;
        Ok(AttemptRow {
            backup_id: backup,
            names,
            prefix_time: time,
            options,
            frozen: None,
            state: AttemptState::Live,
            first_generation: None,
            two_generations: false,
        })
    }

    /// Writes an attempt whose data was there before its record: an imported backup's.
    pub(super) async fn add_committed_attempt(
        &mut self,
        backup: BackupId,
        names: &AttemptNames,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        let options = self.settings().backup.store_options();
        sqlx::query(
            "INSERT INTO attempts (backup_id, number, container, prefix, prefix_time, snapshot, \
             scratch, options, state, two_generations, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'committed', 0, $5)",
        )
        .bind(backup.to_string())
        .bind(i64::from(names.number))
        .bind(names.container.to_string())
        .bind(names.prefix.to_string())
        .bind(now)
        .bind(names.snapshot.clone())
        .bind(names.scratch.clone())
        .bind(json_text(&options))
        .execute(self.conn())
        .await
        .map_err(failed("write the attempt of an imported backup"))?;
        Ok(())
    }

    /// Makes an attempt the one whose names the backup's record shows.
    pub(crate) async fn show_attempt(&mut self, attempt: &AttemptRow) -> Result<(), StoreError> {
        sqlx::query("UPDATE backups SET container = $2, prefix = $3 WHERE id = $1")
            .bind(attempt.backup_id.to_string())
            .bind(attempt.names.container.to_string())
            .bind(attempt.names.prefix.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("note the attempt that counts"))?;
        Ok(())
    }

    pub(crate) async fn attempt(
        &mut self,
        backup: BackupId,
        number: u32,
    ) -> Result<AttemptRow, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM attempts WHERE backup_id = $1 AND number = $2");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(backup.to_string())
            .bind(i64::from(number))
            .fetch_optional(self.conn())
            .await
            .map_err(failed("load an attempt"))?
            .ok_or_else(|| StoreError::Missing(format!("attempt {number} of backup {backup}")))?;
        decode(&row)
    }

    /// Every attempt of a backup, first to last.
    pub(crate) async fn attempts(
        &mut self,
        backup: BackupId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM attempts WHERE backup_id = $1 ORDER BY number");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(backup.to_string())
            .fetch_all(self.conn())
            .await
            .map_err(failed("load a backup's attempts"))?;
        rows.iter().map(decode).collect()
    }

    /// Whether the backup has whole data on the target, or is being given its closing files.
    pub(crate) async fn is_committed(&mut self, backup: BackupId) -> Result<bool, StoreError> {
        let attempts = self.attempts(backup).await?;
        Ok(attempts
            .iter()
            .any(|attempt| attempt.state == AttemptState::Committed))
    }

    /// Moves an attempt on; false when it stands elsewhere.
    pub(crate) async fn move_attempt(
        &mut self,
        backup: BackupId,
        number: u32,
        from: AttemptState,
        to: AttemptState,
    ) -> Result<bool, StoreError> {
        let moved = sqlx::query(
            "UPDATE attempts SET state = $4 WHERE backup_id = $1 AND number = $2 AND state = $3",
        )
        .bind(backup.to_string())
        .bind(i64::from(number))
        .bind(from.as_str())
        .bind(to.as_str())
        .execute(self.conn())
        .await
        .map_err(failed("change an attempt's state"))?
        .rows_affected();
        Ok(moved == 1)
    }

    /// Notes that a generation was granted the attempt: the first, or one more.
    pub(crate) async fn attempt_was_granted(
        &mut self,
        backup: BackupId,
        number: u32,
        generation: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE attempts SET \
             two_generations = CASE WHEN first_generation IS NULL OR first_generation = $3 THEN two_generations ELSE 1 END, \
             first_generation = COALESCE(first_generation, $3) \
             WHERE backup_id = $1 AND number = $2",
        )
        .bind(backup.to_string())
        .bind(i64::from(number))
        .bind(stored(generation))
        .execute(self.conn())
        .await
        .map_err(failed("note who was granted an attempt"))?;
        Ok(())
    }

    /// Notes which snapshot an attempt reads, if that is not known yet; returns what is known.
    pub(crate) async fn freeze_attempt(
        &mut self,
        backup: BackupId,
        number: u32,
        frozen: &Frozen,
        others_released: bool,
    ) -> Result<Frozen, StoreError> {
        sqlx::query(
            "UPDATE attempts SET identity = $3, taken_at = $4, codec_fingerprint = $5 \
             WHERE backup_id = $1 AND number = $2 AND identity IS NULL",
        )
        .bind(backup.to_string())
        .bind(i64::from(number))
        .bind(plain(&frozen.identity))
        .bind(micros(frozen.taken_at))
        .bind(plain(&frozen.codec_fingerprint))
        .execute(self.conn())
        .await
        .map_err(failed("note a snapshot's identity"))?;
        if others_released {
            sqlx::query(
                "UPDATE attempts SET codec_fingerprint = $3 \
                 WHERE backup_id = $1 AND number = $2 AND identity = $4",
            )
            .bind(backup.to_string())
            .bind(i64::from(number))
            .bind(plain(&frozen.codec_fingerprint))
            .bind(plain(&frozen.identity))
            .execute(self.conn())
            .await
            .map_err(failed("note whose codecs go on"))?;
        }
        self.attempt(backup, number)
            .await?
            .frozen
            .ok_or_else(|| StoreError::Missing(format!("the identity of backup {backup}")))
    }

    pub(super) async fn attempt_was_cleaned(
        &mut self,
        backup: BackupId,
        number: u32,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query("UPDATE attempts SET cleaned_at = $3 WHERE backup_id = $1 AND number = $2")
            .bind(backup.to_string())
            .bind(i64::from(number))
            .bind(now)
            .execute(self.conn())
            .await
            .map_err(failed("note that an attempt was cleaned"))?;
        Ok(())
    }
}
