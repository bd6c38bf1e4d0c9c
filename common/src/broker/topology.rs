//! Exchanges and queues: their names, arguments and bindings, declared by everyone who uses them.
//!
//! ```text
//! bk.v1.jobs ──<kind>.<zone>.<backend>──► bk.v1.job.<kind>.<zone>.<backend> ──► workers
//!     └── no queue bound ──► bk.v1.unrouted ──► bk.v1.unrouted ──► api-service
//! bk.v1.rpc ──► bk.v1.rpc ──► api-service          bk.v1.dead ──#──► bk.v1.parked
//! bk.v1.events ──► queues of the listeners         bk.v1.control ──► one queue per worker
//! ```
//!
//! Arguments cannot be changed in place: a change means `bk.v2.`. Delivery limits are explicit and
//! positive everywhere, because the broker's default differs from series to series.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use uuid::Uuid;

use super::BrokerError;
use super::error::{declaring, within};
use crate::domain::{JobKind, QueueKey, Token, WorkerName};

/// Commands to workers; topic.
pub const JOBS: &str = "bk.v1.jobs";
/// Commands no queue is bound for: a fanout exchange, and its queue of the same name.
pub const UNROUTED: &str = "bk.v1.unrouted";
/// Requests to the state owner: a direct exchange, its queue of the same name, and the routing key.
pub const RPC: &str = "bk.v1.rpc";
/// Status, progress and signs of life; topic.
pub const EVENTS: &str = "bk.v1.events";
/// Broadcasts to workers; topic.
pub const CONTROL: &str = "bk.v1.control";
/// Dead letters; topic.
pub const DEAD: &str = "bk.v1.dead";
/// Where dead letters wait for the api-service, which takes them over into a table for a person.
pub const PARKED: &str = "bk.v1.parked";
/// Routing key on [`CONTROL`] that reaches every worker.
pub const CONTROL_ALL: &str = "all";

/// Doorbells come back to their queue without fault of their own: every worker gives one back once
/// when the state owner does not answer, and a lost connection returns what was out. The limit is
/// only for a message that ends its readers before they can say why, so that it is far above what
/// an outage costs a large fleet.
const JOB_DELIVERY_LIMIT: i64 = 1_000;
const RPC_DELIVERY_LIMIT: i64 = 10;
const UNROUTED_DELIVERY_LIMIT: i64 = 1_000;
/// A parked message goes nowhere else. Each look at the queue (get and requeue) counts, and so does a connection lost
/// while the api-service waits with the message for its database.
const PARKED_DELIVERY_LIMIT: i64 = 1_000_000;
/// A full queue refuses; the refused publisher keeps its message and tries later.
const JOB_QUEUE_LENGTH: i64 = 100_000;
/// A listener that does not keep up loses the oldest progress, not its memory.
const PROGRESS_QUEUE_LENGTH: i64 = 10_000;
/// Broadcasts repeat what the next renewal says anyway.
const CONTROL_QUEUE_LENGTH: i64 = 1_000;
/// The part of a worker's name that goes into a queue's name, whose limit is 255 bytes.
const WORKER_NAME_BYTES: usize = 120;
/// The part of a login that goes into a routing key, whose limit is 255 bytes.
const LOGIN_BYTES: usize = 200;

/// The queue for one key.
#[must_use]
pub fn job_queue(key: &QueueKey) -> String {
    format!("bk.v1.job.{key}")
}

/// Routing key of a status event.
#[must_use]
pub fn status_key(kind: JobKind, zone: &Token) -> String {
    format!("status.{kind}.{zone}")
}

/// Routing key of a progress event.
#[must_use]
pub fn progress_key(kind: JobKind, zone: &Token) -> String {
    format!("progress.{kind}.{zone}")
}

/// Routing key of a worker's sign of life.
#[must_use]
pub fn worker_key(worker: &WorkerName) -> String {
    format!("worker.{worker}")
}

/// Routing key of the event that a publisher's request was rejected. A login too long for a key is cut.
#[must_use]
pub fn rejected_key(login: &str) -> String {
    format!(
        "rejected.{}",
        &login[..login.floor_char_boundary(LOGIN_BYTES)]
    )
}

/// Declares every exchange and every queue with a fixed name. Doing so twice is fine.
///
/// # Errors
/// [`BrokerError::Mismatch`] names the queue or exchange, and the argument, that exist differently.
pub async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    // The place for dead letters comes first: at-least-once dead-lettering holds messages back
    // when it is not there.
    exchange(channel, DEAD, ExchangeKind::Topic, &[]).await?;
    durable_queue(channel, PARKED, &[delivery_limit(PARKED_DELIVERY_LIMIT)]).await?;
    bind(channel, PARKED, DEAD, "#").await?;

    exchange(channel, UNROUTED, ExchangeKind::Fanout, &[]).await?;
    let mut arguments = dead_lettering();
    arguments.push(delivery_limit(UNROUTED_DELIVERY_LIMIT));
    durable_queue(channel, UNROUTED, &arguments).await?;
    bind(channel, UNROUTED, UNROUTED, "").await?;

    let alternate = ("alternate-exchange", text(UNROUTED));
    exchange(channel, JOBS, ExchangeKind::Topic, &[alternate]).await?;

    // No dead-lettering here: an expired request would be parked, one per try of every worker
    // while the state owner is away. The one who asked repeats it; nothing is lost.
    exchange(channel, RPC, ExchangeKind::Direct, &[]).await?;
    durable_queue(channel, RPC, &[delivery_limit(RPC_DELIVERY_LIMIT)]).await?;
    bind(channel, RPC, RPC, RPC).await?;

    exchange(channel, EVENTS, ExchangeKind::Topic, &[]).await?;
    exchange(channel, CONTROL, ExchangeKind::Topic, &[]).await
}

/// Declares the queue for one key and binds it. Whoever publishes or consumes there does this first.
///
/// # Errors
/// [`BrokerError::Mismatch`] when it exists with other arguments.
pub async fn declare_job_queue(channel: &Channel, key: &QueueKey) -> Result<(), BrokerError> {
    let name = job_queue(key);
    let mut arguments = dead_lettering();
    arguments.push(delivery_limit(JOB_DELIVERY_LIMIT));
    arguments.push(("x-max-length", AMQPValue::LongLongInt(JOB_QUEUE_LENGTH)));
    durable_queue(channel, &name, &arguments).await?;
    bind(channel, &name, JOBS, &key.to_string()).await
}

/// Makes this connection's own queue for progress and for workers' signs of life; its name.
///
/// # Errors
/// When the broker refuses or does not answer.
pub async fn progress_queue(channel: &Channel) -> Result<String, BrokerError> {
    let name = format!("bk.v1.progress.{}", Uuid::now_v7());
    own_queue(channel, &name, PROGRESS_QUEUE_LENGTH).await?;
    bind(channel, &name, EVENTS, "progress.#").await?;
    bind(channel, &name, EVENTS, "worker.#").await?;
    Ok(name)
}

/// Makes a worker's own queue for broadcasts; its name.
///
/// # Errors
/// When the broker refuses or does not answer.
pub async fn control_queue(channel: &Channel, worker: &WorkerName) -> Result<String, BrokerError> {
    let worker = worker.as_str();
    let end = worker.floor_char_boundary(WORKER_NAME_BYTES);
    let name = format!("bk.v1.ctl.{}.{}", &worker[..end], Uuid::now_v7());
    own_queue(channel, &name, CONTROL_QUEUE_LENGTH).await?;
    bind(channel, &name, CONTROL, CONTROL_ALL).await?;
    Ok(name)
}

/// Makes a worker's own queue for the signs of life of all who bear its name; its name.
///
/// # Errors
/// When the broker refuses or does not answer.
pub async fn namesake_queue(channel: &Channel, worker: &WorkerName) -> Result<String, BrokerError> {
    let name = format!("bk.v1.namesake.{}", Uuid::now_v7());
    own_queue(channel, &name, CONTROL_QUEUE_LENGTH).await?;
    bind(channel, &name, EVENTS, &worker_key(worker)).await?;
    Ok(name)
}

type Argument = (&'static str, AMQPValue);

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn delivery_limit(limit: i64) -> Argument {
    ("x-delivery-limit", AMQPValue::LongLongInt(limit))
}

/// Dead letters are moved with confirms. The broker wants `reject-publish` for that.
fn dead_lettering() -> Vec<Argument> {
    vec![
        ("x-dead-letter-exchange", text(DEAD)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

fn table(arguments: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: &[Argument],
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declare = channel.exchange_declare(name.into(), kind, options, table(arguments));
    declaring(format!("exchange `{name}`"), declare).await
}

async fn durable_queue(
    channel: &Channel,
    name: &str,
    arguments: &[Argument],
) -> Result<(), BrokerError> {
    let mut arguments = table(arguments);
    arguments.insert("x-queue-type".into(), text("quorum"));
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declare = channel.queue_declare(name.into(), options, arguments);
    declaring(format!("queue `{name}`"), declare)
        .await
        .map(drop)
}

/// A queue that lives as long as its connection. It gets a fresh name each time: under a fixed one
/// it would meet its own half-dead predecessor.
async fn own_queue(channel: &Channel, name: &str, length: i64) -> Result<(), BrokerError> {
    let arguments = table(&[
        ("x-max-length", AMQPValue::LongLongInt(length)),
        ("x-overflow", text("drop-head")),
    ]);
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..Default::default()
    };
    let declare = channel.queue_declare(name.into(), options, arguments);
    declaring(format!("queue `{name}`"), declare)
        .await
        .map(drop)
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), BrokerError> {
    let options = QueueBindOptions::default();
    let bind = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        FieldTable::default(),
    );
    within(
        format!("bind queue `{queue}` to `{exchange}` by `{key}`"),
        bind,
    )
    .await
}
