//! `GET /backups` and `GET /backups/detail`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{OPEN_FILTERS, view};
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, Query};
use crate::http::listing::{Asked, Kind};
use crate::state::AppState;
use crate::store::{BackupRow, Column, Page};

const BACKUPS: Kind = Kind {
    collection: "backups",
    open_filters: OPEN_FILTERS,
    sort_by_name_since: Microversion::BACKUP_SORT_NAME,
    has: Column::of_backups,
};

/// Ids and names.
pub(super) async fn summaries(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    BACKUPS.page_of(&context, &query, false, &page, |row| {
        (row.id.to_string(), view::summary(&context, row))
    })
}

/// Whole backups.
pub(super) async fn details(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    BACKUPS.page_of(&context, &query, true, &page, |row| {
        (row.id.to_string(), view::detail(&context, row))
    })
}

async fn page(
    state: &AppState,
    context: &Context,
    query: &Query,
) -> Result<Page<BackupRow>, ApiError> {
    match BACKUPS.parse(context, query)? {
        Asked::Nothing { with_count } => Ok(Page {
            rows: Vec::new(),
            count: with_count.then_some(0),
        }),
        Asked::Page { scope, listing } => Ok(state.store.backups(&scope, &listing).await?),
    }
}
