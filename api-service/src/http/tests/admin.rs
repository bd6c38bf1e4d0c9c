//! What operators see of the jobs.

use super::*;

fn plain(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn an_administrator_sees_every_job_that_is_not_settled_page_by_page() {
    let api = Api::new().await;
    for _ in 0..3 {
        let body = json!({"volume": {"size": 1}});
        api.post("/v3/volumes", body).await.good(202);
    }
    let all = api.send(plain("/admin/jobs")).await.good(200);
    let jobs = all["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 3);
    assert_eq!(all["next"], Value::Null);
    let job = &jobs[0];
    assert_eq!(
        (&job["kind"], &job["state"]),
        (&json!("volume"), &json!("queued"))
    );
    assert_eq!(
        (&job["worker"], &job["generation"]),
        (&Value::Null, &json!(0))
    );
    for member in [
        "since",
        "mark",
        "failures",
        "next_at",
        "give_up",
        "last_error",
    ] {
        assert!(job.get(member).is_some(), "no {member}");
    }

    let mut seen = Vec::new();
    let mut next = json!("/admin/jobs?limit=2");
    while let Some(path) = next.as_str() {
        let page = api.send(plain(path)).await.good(200);
        seen.extend(page["jobs"].as_array().unwrap().clone());
        next = page["next"].clone();
    }
    assert_eq!(&seen, jobs);
    let odd = api.send(plain("/admin/jobs?marker=odd")).await;
    odd.fault(404, "itemNotFound");
}
