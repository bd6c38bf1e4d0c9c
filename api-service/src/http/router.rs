//! Which path is whose, and what stands around all of them.

use axum::Router;
use axum::middleware;
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use super::{
    admin, backups, catalogue, health, metadata, observe, snapshots, url, versions, volume_types,
    volumes,
};
use crate::state::AppState;

/// The whole HTTP side.
pub fn router(state: AppState) -> Router {
    surrounded(routes(), state)
}

/// Every route there is.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(versions::root))
        .route("/v3", get(versions::v3))
        .route("/v3/", get(versions::v3))
        .merge(backups::routes())
        .merge(volumes::routes())
        .merge(snapshots::routes())
        .merge(metadata::routes())
        .merge(volume_types::routes())
        .merge(catalogue::routes())
        .merge(admin::routes())
        .merge(health::routes())
}

/// Puts around routes what every request goes through.
pub(super) fn surrounded(routes: Router<AppState>, state: AppState) -> Router {
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(
            state.clone(),
            observe::observe,
        ))
        .layer(CatchPanicLayer::custom(observe::panicked));
    let routes = routes
        .fallback(no_route)
        // An unknown method is an unknown route here, never a 405.
        .method_not_allowed_fallback(no_route)
        .layer(layers)
        .with_state(state);
    // Rewriting has to come before routing, so the routes stand behind it as a service.
    let rewritten = ServiceBuilder::new().map_request(url::normalize);
    Router::new().fallback_service(rewritten.service(routes))
}

async fn no_route() -> ApiError {
    ApiError::NoRoute
}
