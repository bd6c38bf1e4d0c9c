//! `GET /snapshots` and `GET /snapshots/detail`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{OPEN_FILTERS, view};
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, Query};
use crate::http::listing::{Asked, Kind};
use crate::state::AppState;
use crate::store::{Column, Page, SnapshotRow};

const SNAPSHOTS: Kind = Kind {
    collection: "snapshots",
    open_filters: OPEN_FILTERS,
    sort_by_name_since: Microversion::SNAPSHOT_SORT_NAME,
    has: Column::of_snapshots,
};

/// What a creation shows too; links a snapshot has none.
pub(super) async fn summaries(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    SNAPSHOTS.page_of(&context, &query, false, &page, |row| {
        (row.id.to_string(), view::summary(&context, row))
    })
}

/// Whole snapshots.
pub(super) async fn details(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    SNAPSHOTS.page_of(&context, &query, true, &page, |row| {
        (row.id.to_string(), view::detail(&context, row))
    })
}

async fn page(
    state: &AppState,
    context: &Context,
    query: &Query,
) -> Result<Page<SnapshotRow>, ApiError> {
    match SNAPSHOTS.parse(context, query)? {
        Asked::Nothing { with_count } => Ok(Page {
            rows: Vec::new(),
            count: with_count.then_some(0),
        }),
        Asked::Page { scope, listing } => Ok(state.store.snapshots(&scope, &listing).await?),
    }
}
