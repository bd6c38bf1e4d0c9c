//! Around every request: its id, its version, the headers of the answer, and one line in the log.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::domain::TraceParent;
use common::metrics::{HTTP_DURATION, HTTP_REQUESTS};
use common::step;
use common::telemetry::traces;
use metrics::{counter, histogram};
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use super::error::{ApiError, Cause};
use super::extract::Context;
use super::extract::microversion::{self, BadMicroversion, Microversion};
use crate::state::AppState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");
const COMPUTE_REQUEST_ID: HeaderName = HeaderName::from_static("x-compute-request-id");

/// Wraps a request. Handlers find a [`Context`] in its extensions if it is below `/v3/`.
pub(super) async fn observe(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = format!("req-{}", Uuid::new_v4());
    let method = request.method().clone();
    let template = request.extensions().get::<MatchedPath>().cloned();
    let template = template.as_ref().map_or("unmatched", MatchedPath::as_str);
    let template = template.to_owned();
    let path = request.uri().path();
    let is_api = path == "/" || path.starts_with("/v3");
    let is_traced = path.starts_with("/v3") || path.starts_with("/admin/");
    let version = Microversion::from_headers(request.headers());
    let traced = step!(
        "request",
        otel.name = %format_args!("{method} {template}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.route = template,
        http.response.status_code = field::Empty,
        request.id = %request_id,
    );
    let theirs = traceparent(request.headers());
    if is_traced {
        traces::follow(&traced, theirs);
    } else {
        traces::leave_out(&traced);
    }
    // A caller's own place goes on through us even if we trace nothing.
    let place = traces::place_of(&traced).or(theirs);
    let trace_id = place.map(|place| place.trace());
    let span = tracing::info_span!(
        "request",
        request.id = %request_id,
        trace.id = trace_id.as_deref(),
        project.id = field::Empty,
        backup.id = field::Empty,
        volume.id = field::Empty,
        snapshot.id = field::Empty,
    );

    let mut response = match context(&state, &version, (&request_id, place), &request) {
        Ok(context) => {
            if let Some(context) = context {
                span.record("project.id", field::display(&context.caller.project_id));
                request.extensions_mut().insert(context);
            }
            let answering = next.run(request).instrument(span.clone());
            answering.instrument(traced.clone()).await
        }
        Err(error) => error.into_response(),
    };

    if is_api {
        add_version(&mut response, &version);
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        let headers = response.headers_mut();
        headers.insert(COMPUTE_REQUEST_ID, value.clone());
        headers.insert(REQUEST_ID, value);
    }
    span.in_scope(|| log(&method, &template, &response, started));
    traced.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        traced.record("otel.status_code", "error");
    }
    count(&method, template, &response, started);
    response
}

/// The context of an API request; version documents and health need none, and take any version.
fn context(
    state: &AppState,
    version: &Result<Microversion, BadMicroversion>,
    id_and_place: (&str, Option<TraceParent>),
    request: &Request,
) -> Result<Option<Context>, ApiError> {
    let path = request.uri().path();
    let is_api = path.starts_with("/v3/") && path != "/v3/";
    if !is_api && !path.starts_with("/admin/") {
        return Ok(None);
    }
    let version = version.clone().map_err(ApiError::Version)?;
    Context::read(
        state,
        version,
        id_and_place,
        request.uri(),
        request.headers(),
        request.extensions(),
    )
    .map(Some)
}

/// The caller's place in a trace, if it says one.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(traces::HEADER)?.to_str().ok()?.parse().ok()
}

/// Says the version in force; for one we do not speak, the one that was asked for.
fn add_version(response: &mut Response, version: &Result<Microversion, BadMicroversion>) {
    let text = match version {
        Ok(version) => version.to_string(),
        Err(BadMicroversion::Unsupported(text)) => text.clone(),
        Err(BadMicroversion::Malformed(_)) => return,
    };
    if let Ok(value) = HeaderValue::from_str(&format!("volume {text}")) {
        let headers = response.headers_mut();
        headers.insert(microversion::HEADER, value);
        headers.insert(
            header::VARY,
            HeaderValue::from_static("OpenStack-API-Version"),
        );
    }
}

fn log(method: &Method, path: &str, response: &Response, started: Instant) {
    let status = response.status().as_u16();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match response.extensions().get::<Cause>() {
        Some(Cause(cause)) => {
            tracing::error!(%method, path, status, elapsed_ms, error = %cause, "{method} {path} {status}");
        }
        // Probes come every few seconds from everywhere and say nothing while they are good.
        None if response.status().is_success()
            && (path.starts_with("/health") || path == "/metrics") =>
        {
            tracing::debug!(%method, path, status, elapsed_ms, "{method} {path} {status}");
        }
        None => tracing::info!(%method, path, status, elapsed_ms, "{method} {path} {status}"),
    }
}

/// Methods and routes are words of ours: what nobody serves counts as one.
fn count(method: &Method, route: String, response: &Response, started: Instant) {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let status = response.status().as_u16().to_string();
    histogram!(HTTP_DURATION, "method" => method, "route" => route.clone())
        .record(started.elapsed());
    counter!(HTTP_REQUESTS, "method" => method, "route" => route, "status" => status).increment(1);
}

/// Notes the backup a request is about, for its log line.
pub(super) fn about_backup(id: impl std::fmt::Display) {
    Span::current().record("backup.id", field::display(id));
}

/// Notes the volume a request is about, for its log line.
pub(super) fn about_volume(id: impl std::fmt::Display) {
    Span::current().record("volume.id", field::display(id));
}

/// Notes the snapshot a request is about, for its log line.
pub(super) fn about_snapshot(id: impl std::fmt::Display) {
    Span::current().record("snapshot.id", field::display(id));
}

/// The answer when a handler panics.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    ApiError::Internal(format!("the handler panicked: {said}")).into_response()
}
