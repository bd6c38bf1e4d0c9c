//! The backups resource, a file for each verb.
//!
//! ```text
//! POST   /backups                           create    202 {id, name, links}
//! GET    /backups, /backups/detail          list      200
//! GET    /backups/{id}                      show      200
//! PUT    /backups/{id}                      update    200  from version 3.9
//! DELETE /backups/{id}                      delete    202
//! POST   /backups/{id}/restore              restore   202
//! POST   /backups/{id}/action               action    202  os-reset_status, os-force_delete, emberkeep:cancel
//! GET    /backups/{id}/export_record        export    200  {backup-record}
//! POST   /backups/import_record             import    201  {id, name, links}
//! GET    /backups/{id}/emberkeep-progress   progress  200  our own; as JSON or as a stream of events
//! ```
//!
//! A verb parses and answers; what may be done is decided by the rules inside the store's transaction.

mod action;
pub(in crate::http) mod create;
mod delete;
mod export;
mod import;
mod list;
mod progress;
mod record;
pub(in crate::http) mod restore;
mod show;
mod update;
mod view;

use axum::Router;
use axum::routing::{get, post};
use common::domain::BackupId;

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
        .route("/v3/backups", get(list::summaries).post(create::create))
        .route("/v3/backups/detail", get(list::details))
        .route(
            "/v3/backups/{backup_id}",
            get(show::show).put(update::update).delete(delete::delete),
        )
        .route("/v3/backups/{backup_id}/restore", post(restore::restore))
        .route("/v3/backups/{backup_id}/action", post(action::act))
        .route("/v3/backups/{backup_id}/export_record", get(export::export))
        .route("/v3/backups/import_record", post(import::import))
        .route(
            "/v3/backups/{backup_id}/emberkeep-progress",
            get(progress::progress),
        )
}

/// The backup a path is about.
fn backup_id(Key(text): &Key) -> Result<BackupId, ApiError> {
    let id = parse_id(Resource::Backup, text)?;
    observe::about_backup(id);
    Ok(id)
}
