//! Messages that nobody could handle, until a person decides about them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::outbox::OutboxRow;
use super::row::{Columns, json_text, micros, plain};
use super::{Store, StoreError, Tx, failed};

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedMessage {
    /// What it is called here.
    pub id: Uuid,
    /// What its publisher called it.
    pub message_id: Option<Uuid>,
    /// The exchange it was published to; empty when nobody knows any more.
    pub exchange: String,
    /// With which key.
    pub routing_key: String,
    /// What kind of message it said it is.
    pub message_type: String,
    /// How its body said to be written.
    pub content_type: String,
    /// The request it belonged to.
    pub correlation_id: Option<String>,
    /// Its text headers.
    pub headers: BTreeMap<String, String>,
    /// Its body; shown as text where it is text, else as base64.
    #[serde(serialize_with = "shown_body")]
    pub body: Vec<u8>,
    /// Why it was put aside: a word for programs.
    pub code: String,
    /// And a sentence for people.
    pub reason: String,
    /// The login that published it, if the broker had checked one.
    pub published_by: Option<String>,
    /// When it was taken over from the broker.
    pub parked_at: Timestamp,
}

/// Why a message was not sent once more.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// There is none with this id; somebody else may have decided already.
    #[error("no message {0} is parked")]
    NotFound(Uuid),
    /// Nobody could ever read it, and the outbox holds text.
    #[error("the body of message {0} is no text: no reader will ever understand it, drop it")]
    NoText(Uuid),
    /// It came without the place it was published to.
    #[error("nobody knows to which exchange message {0} was published")]
    NoExchange(Uuid),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn shown_body<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(body) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.serialize_str(&format!("base64:{}", BASE64.encode(body))),
    }
}

const COLUMNS: &str = "id, message_id, exchange, routing_key, message_type, content_type, \
    correlation_id, headers, body, code, reason, published_by, parked_at";

fn decode(row: &AnyRow) -> Result<ParkedMessage, StoreError> {
    let row = Columns(row);
    let body = BASE64
        .decode(row.text("body")?)
        .map_err(|error| StoreError::Column {
            column: "body",
            source: error.into(),
        })?;
    Ok(ParkedMessage {
        id: row.word("id")?,
        message_id: row.opt_word("message_id")?,
        exchange: row.text("exchange")?,
        routing_key: row.text("routing_key")?,
        message_type: row.text("message_type")?,
        content_type: row.text("content_type")?,
        correlation_id: row.opt_text("correlation_id")?,
        headers: row.json("headers")?,
        body,
        code: row.text("code")?,
        reason: row.text("reason")?,
        published_by: row.opt_text("published_by")?,
        parked_at: row.time("parked_at")?,
    })
}

impl Store {
    /// Every parked message, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parked_messages(&self) -> Result<Vec<ParkedMessage>, StoreError> {
        let mut conn = self.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM parked ORDER BY parked_at, id");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut *conn)
            .await
            .map_err(failed("list parked messages"))?;
        rows.iter().map(decode).collect()
    }

    /// One parked message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parked_message(&self, id: Uuid) -> Result<Option<ParkedMessage>, StoreError> {
        let mut conn = self.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM parked WHERE id = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(&mut *conn)
            .await
            .map_err(failed("load a parked message"))?;
        row.as_ref().map(decode).transpose()
    }

    /// Sends a parked message once more, through the outbox and as a new message: the broker counts its
    /// deliveries anew. It is no longer parked then.
    ///
    /// # Errors
    /// When it is not there or cannot be sent.
    pub async fn redrive_parked(&self, id: Uuid) -> Result<(), RedriveError> {
        let message = self.parked_message(id).await?;
        let message = message.ok_or(RedriveError::NotFound(id))?;
        if message.exchange.is_empty() {
            return Err(RedriveError::NoExchange(id));
        }
        let body = String::from_utf8(message.body).map_err(|_| RedriveError::NoText(id))?;
        let mut tx = self.write().await?;
        if !tx.take_parked(id).await? {
            return Err(RedriveError::NotFound(id));
        }
        let traceparent = message.headers.get(common::telemetry::traces::HEADER);
        let row = OutboxRow {
            id: Uuid::now_v7(),
            exchange: message.exchange,
            routing_key: message.routing_key,
            message_type: message.message_type,
            content_type: message.content_type,
            correlation_id: message.correlation_id,
            traceparent: traceparent.and_then(|place| place.parse().ok()),
            body,
            job_id: None,
            tries: 0,
        };
        let now = tx.now;
        tx.send(&row, now).await?;
        Ok(tx.commit().await?)
    }

    /// Forgets a parked message; false when it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_parked(&self, id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let was_there = tx.take_parked(id).await?;
        tx.commit().await?;
        Ok(was_there)
    }
}

impl Tx {
    /// Takes a message over from the broker. One that is delivered again, because the broker never
    /// heard that it was taken, is not kept twice.
    pub(crate) async fn keep_parked(
        &mut self,
        message: &ParkedMessage,
        is_redelivered: bool,
    ) -> Result<(), StoreError> {
        let body = BASE64.encode(&message.body);
        let message_id = message.message_id.map(|id| id.to_string());
        if is_redelivered && self.is_parked(message, &body).await? {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO parked (id, message_id, exchange, routing_key, message_type, \
             content_type, correlation_id, headers, body, code, reason, published_by, parked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(message.id.to_string())
        .bind(message_id)
        .bind(plain(&message.exchange))
        .bind(plain(&message.routing_key))
        .bind(plain(&message.message_type))
        .bind(plain(&message.content_type))
        .bind(message.correlation_id.as_deref().map(plain))
        .bind(json_text(&message.headers))
        .bind(body)
        .bind(plain(&message.code))
        .bind(plain(&message.reason))
        .bind(message.published_by.as_deref().map(plain))
        .bind(micros(message.parked_at))
        .execute(self.conn())
        .await
        .map_err(failed("keep a parked message"))?;
        Ok(())
    }

    async fn is_parked(&mut self, message: &ParkedMessage, body: &str) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM parked WHERE COALESCE(message_id, '') = $1 \
             AND routing_key = $2 AND code = $3 AND body = $4",
        )
        .bind(
            message
                .message_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
        )
        .bind(plain(&message.routing_key))
        .bind(plain(&message.code))
        .bind(body.to_owned())
        .fetch_one(self.conn())
        .await
        .map_err(failed("look for a parked message"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    async fn take_parked(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let taken = sqlx::query("DELETE FROM parked WHERE id = $1")
            .bind(id.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("take a parked message out"))?
            .rows_affected();
        Ok(taken == 1)
    }
}
