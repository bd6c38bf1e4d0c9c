//! Requests that other services published: taken in once each, and answered.
//!
//! One transaction makes a request a job, remembers it, and leaves the answer in the outbox. A repeat finds the row
//! and is answered from it.

use common::domain::{BackupId, JobId, JobState, VolumeId};
use common::messages::events::CloudEvent;
use common::messages::published::{
    PublishedReply, REPLY_SCHEMA, REQUEST_REJECTED, RejectedData, Rejection, Verdict,
};
use uuid::Uuid;

use super::outbox::{OutboxRow, SOURCE, event_row};
use super::row::{Columns, json_text, micros};
use super::{
    Caller, NewBackup, Origin, RequestError, RestoreRequest, Scope, Store, StoreError, Tx, failed,
};

/// What is asked for, checked as far as that needs no rows.
#[derive(Debug)]
pub(crate) enum Published {
    Backup(NewBackup),
    Restore(BackupId, RestoreRequest),
    Delete(BackupId),
}

/// Who asked, and under which id.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) job_id: JobId,
    pub(crate) login: &'a str,
    /// The request as it is remembered.
    pub(crate) text: &'a str,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    pub(crate) queue: String,
    pub(crate) correlation_id: Option<String>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is a job now, or was one before.
    Accepted,
    /// It was rejected before.
    Rejected(Rejection),
    /// Another request or job has its id.
    Conflict,
}

struct Remembered {
    is_the_same: bool,
    backup_id: Option<BackupId>,
    volume_id: Option<VolumeId>,
    rejection: Option<Rejection>,
}

impl Store {
    /// Takes a request in, or answers its repeat.
    ///
    /// # Errors
    /// When a rule forbids it; then nothing was done, and nothing remembered.
    pub(crate) async fn take_published(
        &self,
        request: &Request<'_>,
        caller: &Caller,
        work: Published,
        reply_to: Option<&ReplyTo>,
    ) -> Result<Taken, RequestError> {
        let mut tx = self.write().await?;
        if let Some(before) = tx.remembered(request).await? {
            let taken = tx.answer_repeat(request, before, reply_to).await?;
            tx.commit().await?;
            return Ok(taken);
        }
        if tx.job(request.job_id).await?.is_some() {
            return Ok(Taken::Conflict);
        }
        let (backup, volume) = tx.carry_out(request.job_id, caller, work).await?;
        tx.remember(request, Some(backup), volume, None).await?;
        if let Some(to) = reply_to {
            let reply = PublishedReply {
                backup_id: Some(backup),
                volume_id: volume,
                ..tx.reply_about(request.job_id, Verdict::Accepted).await?
            };
            tx.reply(to, &reply).await?;
        }
        tx.commit().await?;
        Ok(Taken::Accepted)
    }

    /// Tells everybody that a request was rejected: an event, the answer, and a row for its repeats if it came from
    /// somebody who may ask.
    pub(crate) async fn reject_published(
        &self,
        request: Option<&Request<'_>>,
        data: &RejectedData,
        reply_to: Option<&ReplyTo>,
    ) -> Result<(), StoreError> {
        let rejection = Rejection {
            code: data.code.clone(),
            message: data.message.clone(),
        };
        let mut tx = self.write().await?;
        let mut is_repeat = false;
        if let Some(request) = request {
            // Two copies may be looked at side by side, and a worker asks again: the first counts.
            match tx.remembered(request).await? {
                Some(before) => is_repeat = before.is_the_same && before.rejection.is_some(),
                None => tx.remember(request, None, None, Some(&rejection)).await?,
            }
        }
        if !is_repeat {
            tx.announce_rejection(data).await?;
        }
        if let Some(to) = reply_to {
            let reply = PublishedReply {
                job_id: data.job_id,
                ..rejected(rejection)
            };
            tx.reply(to, &reply).await?;
        }
        tx.commit().await
    }
}

fn rejected(rejection: Rejection) -> PublishedReply {
    PublishedReply {
        schema: REPLY_SCHEMA.to_owned(),
        verdict: Verdict::Rejected,
        job_id: None,
        backup_id: None,
        volume_id: None,
        state: None,
        outcome: None,
        fail_reason: None,
        rejection: Some(rejection),
    }
}

impl Tx {
    async fn carry_out(
        &mut self,
        job_id: JobId,
        caller: &Caller,
        work: Published,
    ) -> Result<(BackupId, Option<VolumeId>), RequestError> {
        self.job_id = Some(job_id);
        let scope = Scope::Project(caller.project_id.clone());
        let about = match work {
            Published::Backup(new) => {
                let backup = self.create_backup(caller, new).await?;
                (backup.id, Some(backup.volume_id))
            }
            Published::Restore(backup, to) => {
                let started = self.restore_backup(caller, &scope, backup, to).await?;
                (backup, Some(started.volume_id))
            }
            Published::Delete(backup) => {
                self.delete_backup(caller, &scope, backup, false).await?;
                (backup, None)
            }
        };
        Ok(about)
    }

    async fn answer_repeat(
        &mut self,
        request: &Request<'_>,
        before: Remembered,
        reply_to: Option<&ReplyTo>,
    ) -> Result<Taken, StoreError> {
        if !before.is_the_same {
            return Ok(Taken::Conflict);
        }
        let reply = match &before.rejection {
            Some(rejection) => PublishedReply {
                job_id: Some(request.job_id),
                ..rejected(rejection.clone())
            },
            None => PublishedReply {
                backup_id: before.backup_id,
                volume_id: before.volume_id,
                ..self.reply_about(request.job_id, Verdict::Duplicate).await?
            },
        };
        if let Some(to) = reply_to {
            self.reply(to, &reply).await?;
        }
        Ok(before.rejection.map_or(Taken::Accepted, Taken::Rejected))
    }

    async fn remembered(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Option<Remembered>, StoreError> {
        let row = sqlx::query(
            "SELECT login, request, backup_id, volume_id, code, message FROM publisher_requests \
             WHERE job_id = $1",
        )
        .bind(request.job_id.to_string())
        .fetch_optional(self.conn())
        .await
        .map_err(failed("look for a publisher's request"))?;
        let Some(row) = row else { return Ok(None) };
        let row = Columns(&row);
        let rejection = match (row.opt_text("code")?, row.opt_text("message")?) {
            (Some(code), Some(message)) => Some(Rejection { code, message }),
            _ => None,
        };
        Ok(Some(Remembered {
            is_the_same: row.text("login")? == request.login
                && row.text("request")? == request.text,
            backup_id: row.opt_word("backup_id")?,
            volume_id: row.opt_word("volume_id")?,
            rejection,
        }))
    }

    async fn remember(
        &mut self,
        request: &Request<'_>,
        backup: Option<BackupId>,
        volume: Option<VolumeId>,
        rejection: Option<&Rejection>,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO publisher_requests (job_id, login, request, backup_id, volume_id, code, \
             message, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(request.job_id.to_string())
        .bind(request.login.to_owned())
        .bind(request.text.to_owned())
        .bind(backup.map(|id| id.to_string()))
        .bind(volume.map(|id| id.to_string()))
        .bind(rejection.map(|rejection| rejection.code.clone()))
        .bind(rejection.map(|rejection| rejection.message.clone()))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("remember a publisher's request"))?;
        Ok(())
    }

    /// An answer that says where the job stands.
    async fn reply_about(
        &mut self,
        job: JobId,
        verdict: Verdict,
    ) -> Result<PublishedReply, StoreError> {
        let row = sqlx::query("SELECT state, outcome, fail_reason FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_optional(self.conn())
            .await
            .map_err(failed("look where a job stands"))?;
        let (state, outcome, fail_reason) = match &row {
            Some(row) => {
                let row = Columns(row);
                let state: JobState = row.word("state")?;
                (
                    Some(state),
                    row.opt_text("outcome")?,
                    row.opt_text("fail_reason")?,
                )
            }
            None => (None, None, None),
        };
        Ok(PublishedReply {
            schema: REPLY_SCHEMA.to_owned(),
            verdict,
            job_id: Some(job),
            backup_id: None,
            volume_id: None,
            state,
            outcome,
            fail_reason,
            rejection: None,
        })
    }

    /// Leaves an answer in the outbox. Nobody may be there any more to take it.
    async fn reply(&mut self, to: &ReplyTo, reply: &PublishedReply) -> Result<(), StoreError> {
        let row = OutboxRow {
            id: Uuid::now_v7(),
            exchange: String::new(),
            routing_key: to.queue.clone(),
            message_type: REPLY_SCHEMA.to_owned(),
            content_type: "application/json".to_owned(),
            correlation_id: to.correlation_id.clone(),
            traceparent: None,
            body: json_text(reply),
            job_id: None,
            tries: 0,
        };
        self.send(&row, self.now).await
    }

    async fn announce_rejection(&mut self, data: &RejectedData) -> Result<(), StoreError> {
        let login = data.login.as_deref().unwrap_or("unknown");
        let subject = data
            .job_id
            .map_or_else(|| login.to_owned(), |id| id.to_string());
        let event = CloudEvent::new(SOURCE, REQUEST_REJECTED, subject, self.now, data);
        let key = common::broker::topology::rejected_key(login);
        let row = event_row(&event, key, Origin::default());
        self.send(&row, self.now).await
    }
}
