use super::*;

/// A volume with `{"a": "b"}`, and a snapshot with none.
async fn scene() -> (Api, [String; 2]) {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let snapshot = api.snapshot(&volume, "s").await;
    let paths = [
        format!("/v3/volumes/{volume}"),
        format!("/v3/snapshots/{snapshot}"),
    ];
    let given = json!({"metadata": {"a": "b"}});
    let path = format!("{}/metadata", paths[1]);
    assert_eq!(api.post(&path, given.clone()).await.good(200), given);
    (api, paths)
}

#[tokio::test]
async fn pairs_are_added_replaced_and_removed() {
    let (api, paths) = scene().await;
    for owner in paths {
        let path = format!("{owner}/metadata");
        let all = api.get(&path).await.good(200);
        assert_eq!(all, json!({"metadata": {"a": "b"}}));
        let body = json!({"metadata": {"c": "d", "a": "x"}});
        let added = api.post(&path, body.clone()).await.good(200);
        assert_eq!(added, body);
        let one = json!({"meta": {"dir/key": "e f"}});
        let set = api.put(&format!("{path}/dir%2Fkey"), one.clone()).await;
        assert_eq!(set.good(200), one);
        let shown = api.get(&format!("{path}/dir%2Fkey")).await.good(200);
        assert_eq!(shown, one);
        let answer = api.delete(&format!("{path}/a")).await;
        assert_eq!((answer.status, &answer.body), (200, &Value::Null));
        let all = api.get(&path).await.good(200);
        assert_eq!(all, json!({"metadata": {"c": "d", "dir/key": "e f"}}));
        let body = json!({"metadata": {"only": "1"}});
        assert_eq!(api.put(&path, body.clone()).await.good(200), body);
        // The thing itself says the same.
        let shown = api.get(&owner).await.good(200);
        let (_, thing) = shown.as_object().unwrap().iter().next().unwrap();
        assert_eq!(thing["metadata"], body["metadata"]);
    }
}

#[tokio::test]
async fn pairs_that_break_a_rule_change_nothing() {
    let (api, paths) = scene().await;
    for owner in paths {
        let path = format!("{owner}/metadata");
        for bad in [
            json!({}),
            json!({"metadata": null}),
            json!({"metadata": {"k": 7}}),
            json!({"metadata": {"k?": "v"}}),
            json!({"metadata": {"k": "v".repeat(256)}}),
            json!({"meta": {"k": "v"}}),
        ] {
            for method in ["POST", "PUT"] {
                let answer = api.ask("3.71", method, &path, Some(bad.clone())).await;
                answer.fault(400, "badRequest");
            }
        }
        let answer = api
            .put(&format!("{path}/k"), json!({"meta": {"other": "v"}}))
            .await;
        assert_eq!(
            answer.fault(400, "badRequest"),
            "Request body and URI mismatch"
        );
        let answer = api
            .put(&format!("{path}/k"), json!({"meta": {"k": "v", "l": "w"}}))
            .await;
        assert_eq!(
            answer.fault(400, "badRequest"),
            "Request body contains too many items"
        );
        let all = api.get(&path).await.good(200);
        assert_eq!(all, json!({"metadata": {"a": "b"}}));
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_by_its_name() {
    let (api, paths) = scene().await;
    for (owner, what) in paths.iter().zip(["Volume", "Snapshot"]) {
        let id = owner.rsplit('/').next().unwrap();
        let path = format!("{owner}/metadata/none");
        for answer in [api.get(&path).await, api.delete(&path).await] {
            assert_eq!(
                answer.fault(404, "itemNotFound"),
                format!("{what} {id} has no metadata with key none.")
            );
        }
        let path = owner.replace(id, NOBODY);
        let answer = api.get(&format!("{path}/metadata")).await;
        assert_eq!(
            answer.fault(404, "itemNotFound"),
            format!("{what} {NOBODY} could not be found.")
        );
    }
}
