//! The snapshots resource, a file for each verb.
//!
//! ```text
//! POST   /snapshots                             create   202  {snapshot}
//! GET    /snapshots, /snapshots/detail          list     200
//! GET    /snapshots/{id}                        show     200
//! PUT    /snapshots/{id}                        update   200
//! DELETE /snapshots/{id}                        delete   202
//! POST   /snapshots/{id}/action                 action   202  os-reset_status, os-force_delete
//! ```
//!
//! Its metadata has routes of its own: `http/metadata.rs`.

mod action;
mod create;
mod delete;
mod list;
mod show;
mod update;
mod view;

use axum::Router;
use axum::routing::{get, post};
use common::domain::SnapshotId;

use super::error::ApiError;
use super::extract::{Key, parse_id};
use super::observe;
use crate::state::AppState;
use crate::store::Resource;

/// Fields that everybody may filter lists by.
pub(super) const OPEN_FILTERS: &[&str] = &["name", "status", "volume_id"];

/// Its routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v3/snapshots", get(list::summaries).post(create::create))
        .route("/v3/snapshots/detail", get(list::details))
        .route(
            "/v3/snapshots/{snapshot_id}",
            get(show::show).put(update::update).delete(delete::delete),
        )
        .route("/v3/snapshots/{snapshot_id}/action", post(action::act))
}

/// The snapshot a path is about.
fn snapshot_id(Key(text): &Key) -> Result<SnapshotId, ApiError> {
    let id = parse_id(Resource::Snapshot, text)?;
    observe::about_snapshot(id);
    Ok(id)
}
