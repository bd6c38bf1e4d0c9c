//! `GET /volumes` and `GET /volumes/detail`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{OPEN_FILTERS, view};
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, Query};
use crate::http::listing::{Asked, Kind};
use crate::state::AppState;
use crate::store::{Column, Page, VolumeRow};

const VOLUMES: Kind = Kind {
    collection: "volumes",
    open_filters: OPEN_FILTERS,
    sort_by_name_since: Microversion::MIN,
    has: Column::of_volumes,
};

/// Ids and names.
pub(super) async fn summaries(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    VOLUMES.page_of(&context, &query, false, &page, |row| {
        (row.id.to_string(), view::summary(&context, row))
    })
}

/// Whole volumes.
pub(super) async fn details(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let page = page(&state, &context, &query).await?;
    VOLUMES.page_of(&context, &query, true, &page, |row| {
        (row.id.to_string(), view::detail(&context, row))
    })
}

async fn page(
    state: &AppState,
    context: &Context,
    query: &Query,
) -> Result<Page<VolumeRow>, ApiError> {
    match VOLUMES.parse(context, query)? {
        Asked::Nothing { with_count } => Ok(Page {
            rows: Vec::new(),
            count: with_count.then_some(0),
        }),
        Asked::Page { scope, listing } => Ok(state.store.volumes(&scope, &listing).await?),
    }
}
