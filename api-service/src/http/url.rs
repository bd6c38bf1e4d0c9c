//! Brings both URL forms and the `.json` suffix to one, before the router sees the path.
//!
//! ```text
//! /v3/0123…cdef/backups/detail.json  ─►  /v3/backups/detail   + InProject("0123…cdef")
//! /v3/backups/detail                 ─►  /v3/backups/detail
//! ```

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The project that stood in the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct InProject(pub(in crate::http) String);

/// Rewrites the request's path; what was taken out goes into its extensions.
pub(in crate::http) fn normalize(mut request: Request) -> Request {
    let Some((path, project)) = normalized(request.uri().path()) else {
        return request;
    };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // Cutting whole segments out of a valid path leaves a valid path; if not, the router's 404 is right.
    if let Ok(path_and_query) = path_and_query.parse::<PathAndQuery>() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    if let Some(project) = project {
        request.extensions_mut().insert(InProject(project));
    }
    request
}

/// The path to route by and the project in it; `None` when it can stay as it is.
fn normalized(path: &str) -> Option<(String, Option<String>)> {
    let below = path.strip_prefix("/v3/")?;
    let (project, rest) = match below.split_once('/') {
        Some((first, rest)) if is_project(first) && !rest.is_empty() => (Some(first), rest),
        _ => (None, below),
    };
    let resource = rest.strip_suffix(".json").unwrap_or(rest);
    if project.is_none() && resource.len() == rest.len() {
        return None;
    }
    Some((format!("/v3/{resource}"), project.map(str::to_owned)))
}

/// The form the reference takes; no resource of the API is spelled with these letters only.
fn is_project(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
    !segment.is_empty() && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn rewritten(uri: &str) -> (String, Option<String>) {
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let request = normalize(request);
        let project = request.extensions().get::<InProject>();
        (
            request.uri().to_string(),
            project.map(|InProject(project)| project.clone()),
        )
    }

    #[test]
    fn a_project_segment_is_taken_out() {
        assert_eq!(
            rewritten("/v3/0123456789abcdef0123456789abcdef/backups/detail?limit=1"),
            (
                "/v3/backups/detail?limit=1".to_owned(),
                Some("0123456789abcdef0123456789abcdef".to_owned())
            )
        );
    }

    #[test]
    fn other_paths_stay() {
        for uri in [
            "/",
            "/v3",
            "/v3/",
            "/v3/backups",
            "/v3/alpha/backups",
            "/v3/0123",
            "/v3/0123/",
        ] {
            assert_eq!(rewritten(uri), (uri.to_owned(), None));
        }
    }

    #[test]
    fn a_json_suffix_is_cut() {
        assert_eq!(rewritten("/v3/backups.json").0, "/v3/backups");
        assert_eq!(
            rewritten("/v3/ab/backups/detail.json?x=y.json").0,
            "/v3/backups/detail?x=y.json"
        );
    }
}
