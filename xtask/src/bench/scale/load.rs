//! Requests: as many as are wanted, by several clients at once or at a given rate, with how long each took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use super::super::clock;
use super::super::image::Random;
use crate::demo::api::Api;

/// Clients that ask at once.
pub(super) const CLIENTS: usize = 16;
/// How long a client waits that was told to come again.
const AGAIN: Duration = Duration::from_millis(200);

/// A request that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    /// Id of what was made.
    pub(super) id: String,
    /// When it was sent, in seconds since 1970.
    pub(super) sent: f64,
    /// How long the answer took, in seconds.
    pub(super) took: f64,
    /// How often it was told to come again before.
    pub(super) refused: u32,
}

/// What came of many requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) accepted: Vec<Accepted>,
    /// From the first to the last answer, in seconds.
    pub(super) wall: f64,
}

impl Asked {
    /// Answers a second.
    pub(super) fn rate(&self) -> f64 {
        let count = u32::try_from(self.accepted.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.wall
    }

    /// How long the answers took, in seconds.
    pub(super) fn took(&self) -> Vec<f64> {
        self.accepted.iter().map(|one| one.took).collect()
    }

    /// Requests that were told to come again.
    pub(super) fn refusals(&self) -> u32 {
        self.accepted.iter().map(|one| one.refused).sum()
    }
}

/// A kind of request: where it goes, and the member of body and answer that it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) path: &'static str,
    pub(super) member: &'static str,
}

/// Sends all of them, [`CLIENTS`] at a time. What is refused for overload is asked for again.
///
/// # Errors
/// When one is refused for another reason.
pub(super) async fn ask_all(api: &Arc<Api>, wish: Wish, wishes: Vec<Value>) -> Result<Asked> {
    let began = Instant::now();
    let wishes = Arc::new(Mutex::new(wishes.into_iter()));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (api, wishes) = (Arc::clone(api), Arc::clone(&wishes));
        let next = move || wishes.lock().unwrap_or_else(PoisonError::into_inner).next();
        clients.spawn(async move {
            let mut accepted = Vec::new();
            while let Some(body) = next() {
                accepted.push(ask(&api, wish, body).await?);
            }
            anyhow::Ok(accepted)
        });
    }
    let mut asked = Asked::default();
    while let Some(ended) = clients.join_next().await {
        asked.accepted.extend(ended.context("run a client")??);
    }
    asked.wall = began.elapsed().as_secs_f64();
    Ok(asked)
}

/// Sends them at `rate` a second on average, with pauses as of independent owners, by seed: none waits for another.
///
/// # Errors
/// When one is refused.
pub(super) async fn ask_at(
    api: &Arc<Api>,
    wish: Wish,
    wishes: Vec<Value>,
    rate: f64,
    seed: u64,
) -> Result<Asked> {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut at = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for body in wishes {
        at += Duration::from_secs_f64(-random.unit().ln() / rate);
        tokio::time::sleep_until(at).await;
        let api = Arc::clone(api);
        clients.spawn(async move { ask(&api, wish, body).await });
    }
    let mut asked = Asked::default();
    while let Some(ended) = clients.join_next().await {
        asked.accepted.push(ended.context("run a client")??);
    }
    asked.wall = began.elapsed().as_secs_f64();
    Ok(asked)
}

/// Sends one.
///
/// # Errors
/// When it is refused for another reason than overload.
pub(super) async fn ask(api: &Api, wish: Wish, body: Value) -> Result<Accepted> {
    let Wish { path, member } = wish;
    let body = Value::Object([(member.to_owned(), body)].into_iter().collect());
    let mut refused = 0;
    loop {
        // By the clock that the workers' logs are written by.
        let sent = clock::now();
        let began = Instant::now();
        let answer = api.call(Method::POST, path, body.clone()).await?;
        let took = began.elapsed().as_secs_f64();
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            refused += 1;
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        anyhow::ensure!(
            answer.status.is_success(),
            "POST /v3/{path} was refused with {}: {}",
            answer.status,
            answer.message()
        );
        let id = answer.body[member]["id"].as_str();
        return Ok(Accepted {
            id: id.context("the answer has no id")?.to_owned(),
            sent,
            took,
            refused,
        });
    }
}
