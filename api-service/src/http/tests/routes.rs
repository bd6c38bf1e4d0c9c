use axum::routing::get;

use super::*;
use crate::http::router::surrounded;

fn plain(method: &str, path: &str) -> Request {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "controller:8776")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn the_version_document_is_the_references() {
    let api = Api::new().await;
    for (path, status) in [("/", 300), ("/v3", 200), ("/v3/", 200)] {
        let answer = api.send(plain("GET", path)).await;
        assert_eq!(answer.good(status), recorded("versions.root"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_says_its_version_and_its_request() {
    let api = Api::new().await;
    for (path, status) in [
        ("/v3/backups", 200),
        ("/v3/backups/nope", 404),
        ("/v3/nonsense", 404),
    ] {
        let answer = api.ask("3.45", "GET", path, None).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("openstack-api-version"), "volume 3.45");
        assert_eq!(answer.header("vary"), "OpenStack-API-Version");
        let id = answer.header("x-openstack-request-id");
        assert_eq!(answer.header("x-compute-request-id"), id);
        let uuid = id.strip_prefix("req-").unwrap();
        assert!(uuid.parse::<uuid::Uuid>().is_ok(), "{id}");
    }
    let answer = api.send(plain("GET", "/v3/backups")).await;
    assert_eq!(answer.header("openstack-api-version"), "volume 3.0");
}

#[tokio::test]
async fn versions_we_do_not_speak_are_refused_as_the_reference_does() {
    let api = Api::new().await;
    let too_high = api.ask("3.99", "GET", "/v3/backups", None).await;
    too_high.fault(406, "computeFault");
    assert_eq!(too_high.body, recorded("mv.too-high"));
    assert_eq!(too_high.header("openstack-api-version"), "volume 3.99");
    let malformed = api.ask("3", "GET", "/v3/backups", None).await;
    malformed.fault(400, "badRequest");
    assert_eq!(malformed.body, recorded("mv.malformed"));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_not_found() {
    let api = Api::new().await;
    for (method, path) in [
        ("GET", "/v2/backups"),
        ("GET", "/nonsense"),
        ("GET", "/v3/nonsense"),
        ("GET", "/v3/alpha/backups"),
        ("GET", "/v3/backups/"),
        ("GET", "/v3/a11fa000000000000000000000000001"),
        ("GET", "/v3/a11fa000000000000000000000000001/"),
        ("PATCH", "/v3/backups"),
        ("PUT", "/v3/backups"),
        ("POST", "/v3/backups/11111111-2222-4333-8444-555555555555"),
        (
            "PUT",
            "/v3/backups/11111111-2222-4333-8444-555555555555/metadata",
        ),
        ("POST", "/v3/backups/export_record"),
        ("POST", "/v3/"),
    ] {
        let answer = api.ask("3.71", method, path, None).await;
        assert_eq!(
            answer.fault(404, "itemNotFound"),
            "The resource could not be found.",
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn both_url_forms_and_the_json_suffix_lead_to_the_same_place() {
    let api = Api::new().await;
    for path in [
        "/v3/backups",
        "/v3/backups.json",
        "/v3/a11fa000000000000000000000000001/backups",
        "/v3/a11fa000000000000000000000000001/backups/detail.json",
    ] {
        assert_eq!(api.get(path).await.good(200), json!({"backups": []}));
    }
}

#[tokio::test]
async fn a_project_in_the_url_must_be_the_tokens() {
    let api = Api::new().await;
    let with_token = |token: &str| {
        Request::builder()
            .uri(format!("/v3/{PROJECT}/backups"))
            .header("x-auth-token", token)
            .body(Body::empty())
            .unwrap()
    };
    let same = api.send(with_token(&format!("me:{PROJECT}"))).await;
    assert_eq!(same.status, 200);
    let other = api
        .send(with_token("me:be7a0000000000000000000000000002"))
        .await;
    assert_eq!(other.fault(400, "badRequest"), "Malformed request url");
    let nobody = api.send(with_token("notused")).await;
    assert_eq!(nobody.status, 200);
}

#[tokio::test]
async fn a_panic_is_our_fault_and_has_a_request_id() {
    async fn explode() -> &'static str {
        panic!("the secret is 42")
    }
    let api = Api::new().await;
    let routes = Router::new().route("/v3/backups", get(explode));
    let router = surrounded(routes, api.state.clone());
    let response = router.oneshot(plain("GET", "/v3/backups")).await.unwrap();
    assert_eq!(response.status().as_u16(), 500);
    assert!(response.headers().contains_key("x-openstack-request-id"));
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["computeFault"]["code"], 500);
    assert!(!body.to_string().contains("secret"));
}

#[tokio::test]
async fn probes_say_what_is_up() {
    let api = Api::new().await;
    assert_eq!(api.send(plain("GET", "/healthz")).await.status, 200);
    assert_eq!(api.send(plain("GET", "/healthcheck")).await.status, 200);
    let ready = api.send(plain("GET", "/readyz")).await.good(200);
    assert_eq!(
        ready,
        json!({"ready": true, "degraded": [], "broker": "up", "database": "up", "outbox": 0,
            "leads": true, "workers": ["worker-1"]})
    );
    api.broker.send_replace(LinkState::Down {
        why: "connection refused".to_owned(),
    });
    let not_ready = api.send(plain("GET", "/readyz")).await.good(503);
    assert_eq!(not_ready["ready"], false);
    assert_eq!(not_ready["broker"], "connection refused");
    assert_eq!(
        not_ready["degraded"],
        json!(["the broker: connection refused"])
    );
    api.broker.send_replace(LinkState::Blocked);
    let not_ready = api.send(plain("GET", "/readyz")).await.good(503);
    assert_eq!(
        not_ready["degraded"],
        json!(["the broker: it takes no messages: short of memory or disk"])
    );
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused_by_kind() {
    let api = Api::new().await;
    let send = async |content_type: Option<&str>, body: String| {
        let mut request = Request::builder().method("POST").uri("/v3/backups");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        api.send(request.body(Body::from(body)).unwrap()).await
    };
    let json = Some("application/json");
    let malformed = send(json, "{\"backup\": ".to_owned()).await;
    assert_eq!(malformed.fault(400, "badRequest"), "Malformed request body");
    send(None, String::new()).await.fault(400, "badRequest");
    let plain = send(Some("text/plain"), "{}".to_owned()).await;
    assert_eq!(plain.fault(415, "badMediaType"), "Unsupported Content-Type");
    send(None, "{}".to_owned()).await.fault(415, "badMediaType");
    let large = send(json, format!("\"{}\"", "x".repeat(200_000))).await;
    large.fault(413, "overLimit");
    assert_eq!(large.header("retry-after"), "0");
}
