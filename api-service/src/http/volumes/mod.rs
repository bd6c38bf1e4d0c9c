//! The volumes resource: what backups and the clients' commands need of it, a file for each verb.
//!
//! ```text
//! POST   /volumes                        create   202
//! POST   /manageable_volumes             manage   202  takes over a file that is there already
//! POST   /os-volume-manage               manage   202  the same, as older clients spell it
//! GET    /volumes, /volumes/detail       list     200
//! GET    /volumes/{id}                   show     200
//! PUT    /volumes/{id}                   update   200
//! DELETE /volumes/{id}                   delete   202
//! POST   /volumes/{id}/action            action   202  os-attach, os-detach, os-reset_status, os-force_delete
//! ```
//!
//! Its metadata has routes of its own: `http/metadata.rs`.

mod action;
mod create;
mod delete;
mod list;
mod manage;
mod show;
mod update;
mod view;

use axum::Router;
use axum::routing::{get, post};
use common::domain::VolumeId;

use super::error::ApiError;
use super::extract::{Key, parse_id};
use super::observe;
use crate::state::AppState;
use crate::store::Resource;

/// Fields that everybody may filter lists by.
pub(super) const OPEN_FILTERS: &[&str] =
    &["name", "status", "bootable", "availability_zone", "size"];

/// Its routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v3/volumes", get(list::summaries).post(create::create))
        .route("/v3/volumes/detail", get(list::details))
        .route(
            "/v3/volumes/{volume_id}",
            get(show::show).put(update::update).delete(delete::delete),
        )
        .route("/v3/volumes/{volume_id}/action", post(action::act))
        .route("/v3/manageable_volumes", post(manage::manage))
        .route("/v3/os-volume-manage", post(manage::manage))
}

/// The volume a path is about.
fn volume_id(Key(text): &Key) -> Result<VolumeId, ApiError> {
    let id = parse_id(Resource::Volume, text)?;
    observe::about_volume(id);
    Ok(id)
}
