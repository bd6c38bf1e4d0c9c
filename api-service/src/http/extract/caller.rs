//! Who asks, with authentication off: every caller is an administrator of the project it names.
//!
//! `openstack --os-auth-type none` sends a token that means nothing (`notused`); its `admin_token`
//! and `cinder`'s `noauth` send `user:project`. Nobody is ever answered 401.

use axum::http::{HeaderMap, HeaderName};
use common::config::Auth;
use common::domain::TraceParent;

use crate::http::error::ApiError;
use crate::http::url::InProject;
use crate::store::Caller;

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// The caller of a request. A project in the URL wins over the default one; one that differs from
/// the token's is refused.
pub(in crate::http) fn of_request(
    auth: &Auth,
    headers: &HeaderMap,
    in_url: Option<&InProject>,
    request_id: &str,
    traceparent: Option<TraceParent>,
) -> Result<Caller, ApiError> {
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    let (user, project) = token
        .and_then(|token| token.split_once(':'))
        .unwrap_or_default();
    let in_url = in_url.map(|InProject(project)| project.as_str());
    let project = match (project, in_url) {
        ("", None) => auth.default_project.as_str(),
        ("", Some(in_url)) => in_url,
        (named, Some(in_url)) if named != in_url => {
            return Err(ApiError::Invalid("Malformed request url".to_owned()));
        }
        (named, _) => named,
    };
    let user = if user.is_empty() {
        auth.default_user.as_str()
    } else {
        user
    };
    Ok(Caller {
        project_id: project.into(),
        user_id: user.into(),
        is_admin: true,
        request_id: request_id.to_owned(),
        traceparent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(token: Option<&str>, in_url: Option<&str>) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(TOKEN, token.parse().unwrap());
        }
        let auth = Auth {
            default_project: "p0".to_owned(),
            default_user: "u0".to_owned(),
            ..Auth::default()
        };
        let in_url = in_url.map(|project| InProject(project.to_owned()));
        let caller = of_request(&auth, &headers, in_url.as_ref(), "req-1", None).ok()?;
        assert!(caller.is_admin);
        Some((caller.user_id.to_string(), caller.project_id.to_string()))
    }

    fn pair(user: &str, project: &str) -> Option<(String, String)> {
        Some((user.to_owned(), project.to_owned()))
    }

    #[test]
    fn who_says_nothing_is_the_default_user_in_the_default_project() {
        assert_eq!(caller(None, None), pair("u0", "p0"));
        assert_eq!(caller(Some("notused"), None), pair("u0", "p0"));
        assert_eq!(caller(Some(":"), None), pair("u0", "p0"));
    }

    #[test]
    fn a_token_names_user_and_project() {
        assert_eq!(caller(Some("me:p1"), None), pair("me", "p1"));
        assert_eq!(caller(Some("me:p1"), Some("p1")), pair("me", "p1"));
    }

    #[test]
    fn a_project_in_the_url_wins_over_the_default_only() {
        assert_eq!(caller(None, Some("p2")), pair("u0", "p2"));
        assert_eq!(caller(Some("notused"), Some("p2")), pair("u0", "p2"));
        assert_eq!(caller(Some("me:p1"), Some("p2")), None);
    }
}
