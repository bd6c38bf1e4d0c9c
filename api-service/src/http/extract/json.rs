//! A request's body as JSON, by the contract's rules and with a bound.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde_json::Value;

use crate::http::error::ApiError;

/// Largest body in bytes, as in the reference.
const BODY_BYTES_MAX: usize = 114_688;

/// The body of a request that needs one.
#[derive(Debug)]
pub(in crate::http) struct JsonBody(pub(in crate::http) Value);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let says_json = says_json(request.headers());
        // The body was cut off, or is too long: `to_bytes` tells them apart only by type name, and
        // a client that cut it off does not read the answer.
        let body = to_bytes(request.into_body(), BODY_BYTES_MAX)
            .await
            .map_err(|_| ApiError::BodyTooLarge)?;
        if body.is_empty() {
            return Err(ApiError::MalformedBody);
        }
        if !says_json {
            return Err(ApiError::UnsupportedContentType);
        }
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|_| ApiError::MalformedBody)
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/vnd.openstack.volume+json"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;

    use super::*;

    async fn status(content_type: Option<&str>, body: impl Into<Body>) -> u16 {
        let mut request = Request::builder().method("POST").uri("/");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(body.into()).unwrap();
        match JsonBody::from_request(request, &()).await {
            Ok(_) => 200,
            Err(error) => error.into_response().status().as_u16(),
        }
    }

    #[tokio::test]
    async fn a_body_is_json_and_says_so() {
        assert_eq!(status(Some("application/json"), "{}").await, 200);
        assert_eq!(
            status(Some("application/json; charset=utf-8"), "{}").await,
            200
        );
        assert_eq!(status(Some("text/plain"), "{}").await, 415);
        assert_eq!(status(None, "{}").await, 415);
        assert_eq!(status(Some("application/json"), "{\"backup\": ").await, 400);
        assert_eq!(status(None, "").await, 400);
        let deep = "[".repeat(10_000);
        assert_eq!(status(Some("application/json"), deep).await, 400);
    }

    #[tokio::test]
    async fn a_body_has_a_bound() {
        let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        let json = Some("application/json");
        assert_eq!(status(json, text(BODY_BYTES_MAX)).await, 200);
        assert_eq!(status(json, text(BODY_BYTES_MAX + 1)).await, 413);
    }
}
