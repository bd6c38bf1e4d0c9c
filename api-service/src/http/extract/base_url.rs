//! Scheme and host under which the client reaches us: what links begin with.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri, header};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The configured endpoint if there is one, else what a proxy says, else the request's own host.
///
/// A header that is no host name is passed over: it would end up in links that clients follow.
pub(in crate::http) fn of_request(
    configured: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    listen: impl std::fmt::Display,
) -> String {
    if let Some(endpoint) = configured {
        let endpoint = endpoint.trim_end_matches('/');
        return endpoint.strip_suffix("/v3").unwrap_or(endpoint).to_owned();
    }
    let scheme = first_of(headers, &FORWARDED_PROTO)
        .filter(|scheme| matches!(*scheme, "http" | "https"))
        .unwrap_or("http");
    let host = [&FORWARDED_HOST, &header::HOST]
        .into_iter()
        .filter_map(|name| first_of(headers, name))
        .find_map(host_and_port)
        .or_else(|| uri.authority().cloned());
    match host {
        Some(host) => format!("{scheme}://{host}"),
        None => format!("{scheme}://{listen}"),
    }
}

/// The first of the comma-separated values: the one the outermost proxy saw.
fn first_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').next().unwrap_or_default().trim())
}

fn host_and_port(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let only_a_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    only_a_host.then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(configured: Option<&str>, headers: &[(&'static str, &str)]) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        of_request(
            configured,
            &Uri::from_static("/v3/"),
            &headers,
            "127.0.0.1:8776",
        )
    }

    #[test]
    fn links_begin_with_the_host_the_client_used() {
        assert_eq!(
            base(None, &[("host", "controller:8776")]),
            "http://controller:8776"
        );
        assert_eq!(base(None, &[("host", "[::1]:8776")]), "http://[::1]:8776");
        assert_eq!(base(None, &[]), "http://127.0.0.1:8776");
    }

    #[test]
    fn a_proxy_says_how_it_was_reached() {
        let headers = [
            ("host", "inner:1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "cloud.example, middle"),
        ];
        assert_eq!(base(None, &headers), "https://cloud.example");
    }

    #[test]
    fn the_configured_endpoint_wins() {
        let headers = [("host", "inner:1"), ("x-forwarded-proto", "https")];
        assert_eq!(
            base(Some("https://volumes.example/"), &headers),
            "https://volumes.example"
        );
        assert_eq!(
            base(Some("https://volumes.example/v3"), &headers),
            "https://volumes.example"
        );
    }

    #[test]
    fn a_header_that_is_no_host_is_passed_over() {
        for bad in ["a b", "evil/path", "user@host", ""] {
            assert_eq!(
                base(None, &[("x-forwarded-host", bad), ("host", "good:1")]),
                "http://good:1",
                "{bad:?}"
            );
        }
    }
}
