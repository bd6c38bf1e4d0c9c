//! Requests of other services, which came as messages in place of a doorbell.
//!
//! ```text
//! message ─► worker (or `unrouted`) ─► submit ─► readable? may this login act for the project? the body: as over HTTP
//!                                                   │ yes                                  │ no
//!                                                   ▼                                      ▼
//!                            rows, job and doorbell, as over HTTP            event, answer; the message is parked
//! ```
//!
//! **Invariant.** Nothing is decided here that HTTP would decide otherwise: `http::published` checks the body, and the
//! store's own transactions do the deed. The login counts only as the broker checked it.

use async_trait::async_trait;
use common::domain::{JobId, ProjectId, UserId};
use common::messages::published::{REQUEST_SCHEMA, RejectedData, Rejection};
use common::messages::rpc::{Submit, Submitted};
use common::metrics::PUBLISHED_REQUESTS;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::published as checked;
use crate::jobs::Intake;
use crate::store::{Caller, Published, PublishedRequest, ReplyTo, Store, StoreError, Taken};

/// Longest user id, in characters.
const USER_ID_MAX: usize = 255;

/// Takes requests in.
#[derive(Debug)]
pub(crate) struct Desk {
    store: Store,
}

/// The part of a request that is not an object of the API.
#[derive(Debug, Deserialize)]
struct Envelope {
    job_id: JobId,
    project_id: ProjectId,
    user_id: Option<UserId>,
    kind: Kind,
    backup_id: Option<String>,
    #[serde(default)]
    backup: Value,
    #[serde(default)]
    restore: Value,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Backup,
    Restore,
    Delete,
}

impl Desk {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    async fn reject(
        &self,
        submit: &Submit,
        job_id: Option<JobId>,
        request: Option<&PublishedRequest<'_>>,
        rejection: Rejection,
    ) -> Result<Submitted, StoreError> {
        let Rejection { code, message } = rejection;
        let data = RejectedData {
            login: submit.login.clone(),
            message_id: submit.message_id,
            job_id,
            code: code.clone(),
            message: message.clone(),
        };
        let reply_to = reply_to(submit);
        let store = &self.store;
        store
            .reject_published(request, &data, reply_to.as_ref())
            .await?;
        Ok(Submitted::Rejected { code, message })
    }
}

#[async_trait]
impl Intake for Desk {
    async fn take(&self, submit: &Submit) -> Result<Submitted, StoreError> {
        let submitted = self.take_in(submit).await?;
        let verdict = match submitted {
            Submitted::Accepted { .. } => "accepted",
            Submitted::Rejected { .. } => "rejected",
        };
        metrics::counter!(PUBLISHED_REQUESTS, "verdict" => verdict).increment(1);
        Ok(submitted)
    }
}

impl Desk {
    async fn take_in(&self, submit: &Submit) -> Result<Submitted, StoreError> {
        let value = match read(submit) {
            Ok(value) => value,
            Err(rejection) => return self.reject(submit, None, None, rejection).await,
        };
        let claimed_id = value["job_id"].as_str().and_then(|id| id.parse().ok());
        let (login, envelope) = match self.admit(submit, &value) {
            Ok(admitted) => admitted,
            Err(rejection) => return self.reject(submit, claimed_id, None, rejection).await,
        };
        let text = value.to_string();
        let job_id = envelope.job_id;
        let request = PublishedRequest {
            job_id,
            login,
            text: &text,
        };
        let caller = Caller {
            user_id: envelope.user_id.clone().unwrap_or_else(|| login.into()),
            project_id: envelope.project_id.clone(),
            is_admin: false,
            request_id: format!("req-{job_id}"),
            traceparent: submit.traceparent,
        };
        let work = match work(&envelope) {
            Ok(work) => work,
            Err(rejection) => {
                return self
                    .reject(submit, Some(job_id), Some(&request), rejection)
                    .await;
            }
        };
        let reply_to = reply_to(submit);
        let taken = self
            .store
            .take_published(&request, &caller, work, reply_to.as_ref())
            .await;
        let rejection = match taken {
            Ok(Taken::Accepted) => {
                tracing::info!(job.id = %job_id, login, "a publisher's request was taken in");
                return Ok(Submitted::Accepted { job_id });
            }
            Ok(Taken::Rejected(Rejection { code, message })) => {
                return Ok(Submitted::Rejected { code, message });
            }
            Ok(Taken::Conflict) => {
                let why = format!("another request has the job_id {job_id}");
                return self
                    .reject(submit, Some(job_id), None, because("id_conflict", why))
                    .await;
            }
            Err(error) => checked::refusal(error)?,
        };
        self.reject(submit, Some(job_id), Some(&request), rejection)
            .await
    }

    /// Who published it and what it says, if they may ask for its project.
    fn admit<'s>(
        &self,
        submit: &'s Submit,
        value: &Value,
    ) -> Result<(&'s str, Envelope), Rejection> {
        let Some(login) = submit.login.as_deref() else {
            let why = "set the message's property user_id to your login: only so is it known who publishes";
            return Err(because("unknown_publisher", why));
        };
        let publishers = &self.store.settings().amqp.publishers;
        let Some(publisher) = publishers.get(login) else {
            let why = format!("the login `{login}` may not publish requests");
            return Err(because("unknown_publisher", why));
        };
        let envelope: Envelope = Envelope::deserialize(value)
            .map_err(|error| because("badRequest", format!("The request is malformed: {error}")))?;
        let project = envelope.project_id.as_str();
        if !publisher.projects.iter().any(|allowed| allowed == project) {
            let why = format!("the login `{login}` may not act for the project `{project}`");
            return Err(because("forbidden", why));
        }
        let user = envelope.user_id.as_ref().map_or("", UserId::as_str);
        if user.chars().count() > USER_ID_MAX || user.contains('\0') {
            return Err(because(
                "badRequest",
                "The user_id is too long, or has a NUL character.",
            ));
        }
        if envelope.job_id.as_uuid().is_nil() {
            return Err(because(
                "badRequest",
                "The job_id must be a UUID of your own, and not nil.",
            ));
        }
        Ok((login, envelope))
    }
}

/// The JSON of a request.
fn read(submit: &Submit) -> Result<Value, Rejection> {
    let Some(text) = &submit.body else {
        return Err(because("unreadable", "it is no text of at most 64 KiB"));
    };
    let value: Value =
        serde_json::from_str(text).map_err(|error| because("unreadable", error.to_string()))?;
    match value.get("schema").and_then(Value::as_str) {
        Some(REQUEST_SCHEMA) => Ok(value),
        Some(other) => {
            let why = format!("the schema is `{other}`, and requests have `{REQUEST_SCHEMA}`");
            Err(because("unsupported_schema", why))
        }
        None => Err(because("unreadable", "it has no `schema`")),
    }
}

fn work(envelope: &Envelope) -> Result<Published, Rejection> {
    let backup_id = || {
        let id = envelope.backup_id.as_deref();
        let id = id.ok_or_else(|| because("badRequest", "'backup_id' is a required property"))?;
        checked::backup_id(id)
    };
    match envelope.kind {
        Kind::Backup => checked::backup(&envelope.backup).map(Published::Backup),
        Kind::Restore => {
            let id = backup_id()?;
            // Nothing more needs to be said.
            let restore = match &envelope.restore {
                Value::Null => checked::restore(&json!({})),
                object => checked::restore(object),
            };
            Ok(Published::Restore(id, restore?))
        }
        Kind::Delete => backup_id().map(Published::Delete),
    }
}

/// Answers go to the publisher: to its channel, to a queue that the broker named for a connection, or to one whose
/// name begins with its login and a dot. Elsewhere they would be somebody else's messages, written with our permissions.
fn reply_to(submit: &Submit) -> Option<ReplyTo> {
    let queue = submit.reply_to.as_deref()?;
    let own = submit.login.as_deref().is_some_and(|login| {
        let rest = queue.strip_prefix(login);
        rest.is_some_and(|rest| rest.starts_with('.')) && !queue.starts_with("bk.")
    });
    let named_by_broker =
        queue.starts_with("amq.rabbitmq.reply-to.") || queue.starts_with("amq.gen-");
    if !own && !named_by_broker {
        tracing::warn!(
            login = submit.login,
            queue,
            "a publisher wants its answer in a queue of others"
        );
        return None;
    }
    let message_id = submit.message_id.map(|id| id.to_string());
    Some(ReplyTo {
        queue: queue.to_owned(),
        correlation_id: submit.correlation_id.clone().or(message_id),
    })
}

fn because(code: &str, message: impl Into<String>) -> Rejection {
    Rejection {
        code: code.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
