//! The key-value pairs of volumes and snapshots, as a resource below each.
//!
//! ```text
//! GET    /volumes/{id}/metadata            all     200  {metadata}
//! POST   /volumes/{id}/metadata            add     200  {metadata}: all of them then
//! PUT    /volumes/{id}/metadata            replace 200  {metadata}
//! GET    /volumes/{id}/metadata/{key}      one     200  {meta}
//! PUT    /volumes/{id}/metadata/{key}      set     200  {meta}
//! DELETE /volumes/{id}/metadata/{key}      remove  200
//! ```

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Context, JsonBody, Key, KeyPair, parse_id};
use super::validate::Fields;
use crate::state::AppState;
use crate::store::{MetadataChange, Resource};

type Pairs = BTreeMap<String, String>;

/// Whose pairs they are.
#[derive(Debug, Clone, Copy)]
enum Of {
    Volume,
    Snapshot,
}

/// The routes of both.
pub(super) fn routes() -> Router<AppState> {
    routes_of(Of::Volume, "/v3/volumes/{volume_id}/metadata").merge(routes_of(
        Of::Snapshot,
        "/v3/snapshots/{snapshot_id}/metadata",
    ))
}

fn routes_of(of: Of, path: &str) -> Router<AppState> {
    Router::new()
        .route(path, get(all).post(add).put(replace))
        .route(&format!("{path}/{{key}}"), get(one).put(set).delete(remove))
        .route_layer(Extension(of))
}

async fn load(state: &AppState, context: &Context, of: Of, id: &str) -> Result<Pairs, ApiError> {
    let (store, reach) = (&state.store, context.reach());
    Ok(match of {
        Of::Volume => {
            let id = parse_id(Resource::Volume, id)?;
            store.volume(&reach, id).await?.metadata
        }
        Of::Snapshot => {
            let id = parse_id(Resource::Snapshot, id)?;
            store.snapshot(&reach, id).await?.metadata
        }
    })
}

async fn change(
    state: &AppState,
    context: &Context,
    of: Of,
    id: &str,
    change: MetadataChange,
) -> Result<Pairs, ApiError> {
    let (store, reach) = (&state.store, context.reach());
    Ok(match of {
        Of::Volume => {
            let id = parse_id(Resource::Volume, id)?;
            store.change_volume_metadata(&reach, id, change).await?
        }
        Of::Snapshot => {
            let id = parse_id(Resource::Snapshot, id)?;
            store.change_snapshot_metadata(&reach, id, change).await?
        }
    })
}

fn shown(pairs: &Pairs) -> Json<Value> {
    Json(json!({"metadata": pairs}))
}

async fn all(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    Key(id): Key,
) -> Result<Json<Value>, ApiError> {
    Ok(shown(&load(&state, &context, of, &id).await?))
}

async fn add(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    Key(id): Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let wanted = MetadataChange::Add(pairs(&body, "metadata")?);
    Ok(shown(&change(&state, &context, of, &id, wanted).await?))
}

async fn replace(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    Key(id): Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let wanted = MetadataChange::Replace(pairs(&body, "metadata")?);
    Ok(shown(&change(&state, &context, of, &id, wanted).await?))
}

async fn one(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    KeyPair(id, key): KeyPair,
) -> Result<Json<Value>, ApiError> {
    match load(&state, &context, of, &id).await?.get(&key) {
        Some(value) => Ok(Json(json!({"meta": {key: value}}))),
        None => Err(ApiError::NoMetadata {
            what: match of {
                Of::Volume => Resource::Volume.to_string(),
                Of::Snapshot => Resource::Snapshot.to_string(),
            },
            id,
            key,
        }),
    }
}

async fn set(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    KeyPair(id, key): KeyPair,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let wanted = pairs(&body, "meta")?;
    if !wanted.contains_key(&key) {
        return Err(ApiError::Invalid(
            "Request body and URI mismatch".to_owned(),
        ));
    }
    if wanted.len() > 1 {
        let message = "Request body contains too many items";
        return Err(ApiError::Invalid(message.to_owned()));
    }
    let answer = Json(json!({"meta": wanted}));
    change(&state, &context, of, &id, MetadataChange::Add(wanted)).await?;
    Ok(answer)
}

async fn remove(
    State(state): State<AppState>,
    Extension(of): Extension<Of>,
    context: Context,
    KeyPair(id, key): KeyPair,
) -> Result<StatusCode, ApiError> {
    change(&state, &context, of, &id, MetadataChange::Remove(key)).await?;
    Ok(StatusCode::OK)
}

/// The pairs below the one member that the body has.
fn pairs(body: &Value, member: &'static str) -> Result<Pairs, ApiError> {
    let fields = Fields::of_object(body, member, &[member], &[member])?;
    fields.metadata(member)?.ok_or_else(|| {
        let reason = "None is not of type 'object'";
        fields.refuse(member, reason).into()
    })
}
