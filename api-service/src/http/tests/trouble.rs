//! The API while its database is in trouble.

use super::*;
use crate::store::tests::trouble::Stranger;

#[tokio::test]
async fn a_locked_database_is_answered_503_and_recovers() {
    let api = Api::new().await;
    let body = || json!({"volume": {"size": 1}});
    let mut stranger = Stranger::beside(&api.state.store).await;
    api.post("/v3/volumes", body()).await.good(202);
    stranger.lock().await;
    let refused = api.post("/v3/volumes", body()).await;
    refused.fault(503, "serviceUnavailable");
    assert_eq!(refused.header("retry-after"), "30");
    assert!(
        !refused.body.to_string().contains("locked"),
        "{}",
        refused.body
    );
    // What only reads is answered.
    let listed = api.get("/v3/volumes").await.good(200);
    assert_eq!(listed["volumes"].as_array().unwrap().len(), 1);
    stranger.let_go().await;
    api.post("/v3/volumes", body()).await.good(202);
}
