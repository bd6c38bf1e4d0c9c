//! `GET /backups/{id}/emberkeep-progress`: how far the running job is.
//!
//! The answer is the last thing a worker said, in the words of the `job.progress.v1` event. As a
//! stream it is followed by each later one (`event: progress`), and at the end by the status that
//! the job left (`event: settled`).

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use common::domain::{BackupId, JobId};
use common::messages::events::ProgressData;
use common::messages::sheet::WorkTotals;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::backup_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;
use crate::store::{JobRow, RequestError, Scope};

/// Answers the last progress, or follows it with `Accept: text/event-stream`.
pub(super) async fn progress(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = backup_id(&key)?;
    let reach = context.reach();
    state.store.backup(&reach, id).await?;
    let Some((job, news)) = state.follow_progress(id).await? else {
        return Err(ApiError::NotFound {
            what: "Running job of backup".to_owned(),
            id: id.to_string(),
        });
    };
    if !wants_stream(&headers) {
        let last = news.borrow().clone();
        return Ok(Json(last.unwrap_or_else(|| not_heard_of(&job))).into_response());
    }
    let follower = Follower {
        job: job.id,
        before_news: Some(not_heard_of(&job)),
        news,
        state,
        reach,
        id,
        over: false,
    };
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

/// What there is to say of a job before its worker says anything: the row.
fn not_heard_of(job: &JobRow) -> ProgressData {
    ProgressData {
        job_id: job.id,
        kind: job.queue.kind,
        backup_id: job.backup_id,
        volume_id: job.volume_id,
        generation: job.generation,
        sequence: 0,
        phase: job.state.to_string(),
        done_bytes: job.mark,
        totals: WorkTotals::default(),
        rate_bytes_per_second: 0,
        remaining_seconds: None,
    }
}

/// One client's way through a job's progress.
struct Follower {
    job: JobId,
    /// Sent first if no worker has said anything yet.
    before_news: Option<ProgressData>,
    news: watch::Receiver<Option<ProgressData>>,
    state: AppState,
    reach: Scope,
    id: BackupId,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        if let Some(first) = self.before_news.take() {
            let heard = self.news.borrow_and_update().clone();
            return Some(event("progress", &heard.unwrap_or(first)));
        }
        if self.news.changed().await.is_ok()
            && let Some(progress) = self.news.borrow_and_update().clone()
        {
            return Some(event("progress", &progress));
        }
        self.over = true;
        self.settled().await
    }

    /// What the job left; nothing if the database cannot say, or if the job goes on and it is this
    /// service that ends.
    async fn settled(&self) -> Option<Event> {
        let unsettled = self.state.store.unsettled_job_of_backup(self.id).await;
        if !matches!(unsettled, Ok(other) if other.as_ref().map(|job| job.id) != Some(self.job)) {
            return None;
        }
        let (status, fail_reason) = match self.state.store.backup(&self.reach, self.id).await {
            Ok(backup) => (backup.status.as_str(), backup.fail_reason),
            Err(RequestError::NotFound { .. }) => ("deleted", None),
            Err(
                RequestError::NoMetadata { .. } | RequestError::Refused(_) | RequestError::Store(_),
            ) => return None,
        };
        let settled = json!({
            "backup_id": self.id.to_string(),
            "status": status,
            "fail_reason": fail_reason,
        });
        Some(event("settled", &settled))
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).expect("progress has text keys only");
    Event::default().event(name).data(text)
}
