//! Ids in paths. Clients look things up by name there too, so any text is a fair question.

use std::str::FromStr;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::http::error::ApiError;
use crate::store::Resource;

/// The one variable segment of a route, as it came.
#[derive(Debug, Clone)]
pub(in crate::http) struct Key(pub(in crate::http) String);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        // Only bytes that are no text fail here, and NUL; nothing is called that.
        let path = path.ok().filter(|Path(key)| !key.contains('\0'));
        path.map(|Path(key)| Self(key)).ok_or(ApiError::NoRoute)
    }
}

/// The two variable segments of a route, as they came.
#[derive(Debug, Clone)]
pub(in crate::http) struct KeyPair(pub(in crate::http) String, pub(in crate::http) String);

impl<S: Send + Sync> FromRequestParts<S> for KeyPair {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<(String, String)>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        path.map(|Path((first, second))| Self(first, second))
            .map_err(|_| ApiError::NoRoute)
    }
}

/// An id in its one canonical spelling; any other text is the name of nothing.
pub(in crate::http) fn parse_id<T>(what: Resource, text: &str) -> Result<T, ApiError>
where
    T: FromStr + ToString,
{
    let id = text.parse::<T>().ok().filter(|id| id.to_string() == text);
    id.ok_or_else(|| ApiError::NotFound {
        what: what.to_string(),
        id: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use common::domain::BackupId;

    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let id = |text: &str| parse_id::<BackupId>(Resource::Backup, text).is_ok();
        assert!(id("6e623f81-bb82-481f-a051-a1caa2360fd5"));
        for other in [
            "6E623F81-BB82-481F-A051-A1CAA2360FD5",
            "6e623f81bb82481fa051a1caa2360fd5",
            "not-a-uuid",
            "",
        ] {
            assert!(!id(other), "{other}");
        }
    }
}
