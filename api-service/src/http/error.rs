//! What goes wrong, as the client sees it. The only place that knows status codes of faults.
//!
//! ```text
//! ApiError ─► Fault {status, key, message} ─► {"badRequest": {"code": 400, "message": "…"}}
//! ```
//!
//! A fault of our own carries its cause to the log line of the request and says nothing of it to
//! the client.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::telemetry::error_chain;
use serde_json::{Map, Value, json};

use super::extract::microversion::{BadMicroversion, Microversion};
use super::validate::Invalid;
use crate::rules::Refusal;
use crate::store::{RequestError, StoreError};

/// Why a request was not done.
#[derive(Debug)]
pub(in crate::http) enum ApiError {
    /// A value breaks a rule of the contract; the sentence says which.
    Invalid(String),
    /// The body is no JSON, or is missing.
    MalformedBody,
    /// There is a body, and it does not say that it is JSON.
    UnsupportedContentType,
    /// The body is larger than any that is meant.
    BodyTooLarge,
    /// The header asks for a version we do not speak.
    Version(BadMicroversion),
    /// No such route, or none in this version.
    NoRoute,
    /// Something named in the request is not there, or not the caller's to see.
    NotFound {
        /// `Backup`, `Volume`, …
        what: String,
        /// Its id, as it came.
        id: String,
    },
    /// It has no such key in its metadata.
    NoMetadata {
        /// `Volume` or `Snapshot`.
        what: String,
        /// Its id.
        id: String,
        /// The key.
        key: String,
    },
    /// The caller may not do this; names the policy.
    Forbidden(&'static str),
    /// A rule about the state of things.
    Refused(Refusal),
    /// Too many messages wait for the broker: nothing new is taken in.
    Overloaded,
    /// The database cannot be used now; the cause is for the log.
    Unavailable(String),
    /// It is our fault; the cause is for the log.
    Internal(String),
}

/// The sentence for every fault of our own.
const OUR_FAULT: &str =
    "The server has either erred or is incapable of performing the requested operation.";
/// Seconds after which an overloaded service may be asked again.
const OVERLOADED_RETRY_AFTER: &str = "30";

/// Why a request failed by our fault; the log line of the request takes it from the answer.
#[derive(Debug, Clone)]
pub(in crate::http) struct Cause(pub(in crate::http) String);

impl ApiError {
    /// An action body that names an action we do not have.
    pub(in crate::http) fn no_such_action(name: &str) -> Self {
        Self::Invalid(format!(
            "There is no such action: {name}. Verify the request body and Content-Type header and \
             try again."
        ))
    }

    /// The fault in words, for who did not ask over HTTP: the member it stands under, and its sentence.
    pub(in crate::http) fn in_words(&self) -> (&'static str, String) {
        (key_of(self.status()), self.message())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_)
            | Self::MalformedBody
            | Self::Version(BadMicroversion::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::UnsupportedContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Version(BadMicroversion::Unsupported(_)) => StatusCode::NOT_ACCEPTABLE,
            Self::NoRoute | Self::NotFound { .. } | Self::NoMetadata { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Refused(refusal) => status_of(refusal),
            Self::Overloaded | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Invalid(message) => message.clone(),
            Self::MalformedBody => "Malformed request body".to_owned(),
            Self::UnsupportedContentType => "Unsupported Content-Type".to_owned(),
            Self::BodyTooLarge => "Request is too large.".to_owned(),
            Self::Version(BadMicroversion::Malformed(text)) => format!(
                "API Version String {text} is of invalid format. Must be of format \
                 MajorNum.MinorNum."
            ),
            Self::Version(BadMicroversion::Unsupported(text)) => format!(
                "Version {text} is not supported by the API. Minimum is {} and maximum is {}.",
                Microversion::MIN,
                Microversion::MAX
            ),
            Self::NoRoute => "The resource could not be found.".to_owned(),
            Self::NotFound { what, id } => format!("{what} {id} could not be found."),
            Self::NoMetadata { what, id, key } => {
                format!("{what} {id} has no metadata with key {key}.")
            }
            Self::Forbidden(policy) => {
                format!("Policy doesn't allow {policy} to be performed.")
            }
            Self::Refused(refusal) => format!("{}{refusal}", prefix_of(refusal)),
            Self::Overloaded => {
                "The service cannot take new work now. Please try again later.".to_owned()
            }
            Self::Unavailable(_) => {
                "The service cannot do this now. Please try again later.".to_owned()
            }
            Self::Internal(_) => OUR_FAULT.to_owned(),
        }
    }
}

/// The word in front of a refusal's sentence: the name of the reference's exception.
fn prefix_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::VolumeNotBackupable(_)
        | Refusal::InUseNeedsForce
        | Refusal::TargetNotAvailable
        | Refusal::TargetTooSmall { .. }
        | Refusal::VolumeNotDeletable(_)
        | Refusal::VolumeNotAttachable(_)
        | Refusal::VolumeNotDetachable(_)
        | Refusal::VolumeHasSnapshots
        | Refusal::SnapshotInMaintenance
        | Refusal::SnapshotOfBrokenVolume
        | Refusal::VolumeNotSnapshotable { .. }
        | Refusal::SnapshotOfAnotherVolume { .. } => "Invalid volume: ",
        Refusal::SnapshotNotDeletable
        | Refusal::SnapshotNotBackupable(_)
        | Refusal::SnapshotNotAvailable(_) => "Invalid snapshot: ",
        Refusal::SmallerThanSnapshot { .. } => "Invalid input received: ",
        Refusal::NoParent
        | Refusal::BackupNotAvailable
        | Refusal::BackupNotDeletable
        | Refusal::HasDependents
        | Refusal::NothingToCancel(_)
        | Refusal::TooLateToCancel
        | Refusal::ResetWhileDeleting
        | Refusal::NothingToReset
        | Refusal::NotExportable
        | Refusal::BackupExists
        | Refusal::DataInMotion
        | Refusal::ParentDeleting(_)
        | Refusal::ParentLoop
        | Refusal::ParentMissing(_) => "Invalid backup: ",
        Refusal::BackupQuota { .. } => "BackupLimitExceeded: ",
        Refusal::BackupGigabytesQuota { .. } => "VolumeBackupSizeExceedsAvailableQuota: ",
        Refusal::SnapshotQuota { .. } => "SnapshotLimitExceeded: ",
        Refusal::AlreadyManaged { .. } => "Unable to manage existing volume: ",
        Refusal::VolumeQuota { .. }
        | Refusal::GigabytesQuota { .. }
        | Refusal::NoService
        | Refusal::NoServiceFor(_)
        | Refusal::NoSuchBackend(_) => "",
        Refusal::Busy => "Conflict: ",
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::VolumeNotBackupable(_)
        | Refusal::InUseNeedsForce
        | Refusal::TargetNotAvailable
        | Refusal::TargetTooSmall { .. }
        | Refusal::VolumeNotDeletable(_)
        | Refusal::VolumeNotAttachable(_)
        | Refusal::VolumeNotDetachable(_)
        | Refusal::VolumeHasSnapshots
        | Refusal::SnapshotInMaintenance
        | Refusal::SnapshotOfBrokenVolume
        | Refusal::VolumeNotSnapshotable { .. }
        | Refusal::SnapshotOfAnotherVolume { .. }
        | Refusal::SnapshotNotDeletable
        | Refusal::SnapshotNotBackupable(_)
        | Refusal::SnapshotNotAvailable(_)
        | Refusal::SmallerThanSnapshot { .. }
        | Refusal::NoParent
        | Refusal::BackupNotAvailable
        | Refusal::BackupNotDeletable
        | Refusal::HasDependents
        | Refusal::NothingToCancel(_)
        | Refusal::TooLateToCancel
        | Refusal::ResetWhileDeleting
        | Refusal::NothingToReset
        | Refusal::NotExportable
        | Refusal::BackupExists
        | Refusal::DataInMotion
        | Refusal::ParentDeleting(_)
        | Refusal::ParentLoop
        | Refusal::ParentMissing(_)
        | Refusal::AlreadyManaged { .. }
        | Refusal::NoSuchBackend(_) => StatusCode::BAD_REQUEST,
        Refusal::NoService => StatusCode::NOT_FOUND,
        Refusal::NoServiceFor(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Busy => StatusCode::CONFLICT,
        Refusal::BackupQuota { .. }
        | Refusal::BackupGigabytesQuota { .. }
        | Refusal::VolumeQuota { .. }
        | Refusal::SnapshotQuota { .. }
        | Refusal::GigabytesQuota { .. } => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

/// The member a fault stands under. The reference's table has no entry for 406 and 500.
fn key_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "badRequest",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "itemNotFound",
        StatusCode::CONFLICT => "conflictingRequest",
        StatusCode::PAYLOAD_TOO_LARGE => "overLimit",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "badMediaType",
        StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailable",
        _ => "computeFault",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut fault = json!({"code": status.as_u16(), "message": self.message()});
        let retry_after = match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                fault["retryAfter"] = json!("0");
                Some("0")
            }
            StatusCode::SERVICE_UNAVAILABLE => Some(OVERLOADED_RETRY_AFTER),
            _ => None,
        };
        let body = Value::Object(Map::from_iter([(key_of(status).to_owned(), fault)]));
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = retry_after {
            let value = HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if let Self::Internal(cause) | Self::Unavailable(cause) = self {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

impl From<Invalid> for ApiError {
    fn from(Invalid(message): Invalid) -> Self {
        Self::Invalid(message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotFound { what, id } => Self::NotFound {
                what: what.to_string(),
                id,
            },
            RequestError::NoMetadata { what, id, key } => Self::NoMetadata {
                what: what.to_string(),
                id,
                key,
            },
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let cause = error_chain(&error);
        match error.is_transient() {
            true => Self::Unavailable(cause),
            false => Self::Internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::domain::VolumeStatus;

    use super::*;

    async fn answer(error: ApiError) -> (u16, Value, Option<String>) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (status, serde_json::from_slice(&body).unwrap(), retry_after)
    }

    #[tokio::test]
    async fn a_fault_stands_under_its_key_with_its_code() {
        let refusal = Refusal::VolumeNotBackupable(VolumeStatus::Error);
        let (status, body, retry_after) = answer(refusal.into()).await;
        assert_eq!((status, retry_after), (400, None));
        assert_eq!(
            body,
            json!({"badRequest": {"code": 400, "message": "Invalid volume: Volume to be backed up \
                must be available or in-use, but the current status is \"error\"."}})
        );
    }

    #[tokio::test]
    async fn a_quota_answer_says_retry_after_zero_twice() {
        let (status, body, retry_after) = answer(Refusal::BackupQuota { limit: 1 }.into()).await;
        assert_eq!((status, retry_after.as_deref()), (413, Some("0")));
        assert_eq!(
            body,
            json!({"overLimit": {"code": 413, "retryAfter": "0",
                "message": "BackupLimitExceeded: Maximum number of backups allowed (1) exceeded"}})
        );
    }

    #[tokio::test]
    async fn an_unsupported_version_is_a_compute_fault() {
        let unsupported = BadMicroversion::Unsupported("3.99".to_owned());
        let (status, body, _) = answer(ApiError::Version(unsupported)).await;
        assert_eq!(status, 406);
        assert_eq!(
            body["computeFault"]["message"],
            "Version 3.99 is not supported by the API. Minimum is 3.0 and maximum is 3.71."
        );
    }

    #[tokio::test]
    async fn our_own_fault_keeps_its_cause_to_itself() {
        let error = ApiError::Internal("disk on fire".to_owned());
        let response = error.into_response();
        assert_eq!(
            response.extensions().get::<Cause>().unwrap().0,
            "disk on fire"
        );
        let (status, body, _) = answer(ApiError::Internal("disk on fire".to_owned())).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("fire"));
        assert!(body.get("computeFault").is_some());
    }

    #[tokio::test]
    async fn an_overloaded_service_says_when_to_come_back() {
        let (status, body, retry_after) = answer(ApiError::Overloaded).await;
        assert_eq!((status, retry_after.as_deref()), (503, Some("30")));
        assert!(body.get("serviceUnavailable").is_some());
    }
}
