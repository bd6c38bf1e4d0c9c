//! Finding and renaming backups over HTTP.

use std::collections::BTreeMap;

use common::domain::BackupStatus;
use harness::{NewBackup, TestStack};
use reqwest::Method;
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    let rows = list["backups"].as_array().expect("a list of backups");
    rows.iter()
        .map(|row| row["name"].as_str().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn lists_are_sorted_filtered_and_paged() {
    let stack = TestStack::start().await;
    let api = stack.api();
    let first = stack.managed_volume("a.raw", b"some").await;
    let second = stack.managed_volume("b.raw", b"other").await;
    for (volume, name) in [(first, "one"), (second, "two"), (first, "three")] {
        let wanted = NewBackup {
            name: Some(name.to_owned()),
            ..NewBackup::of(volume)
        };
        let id = api.create_backup(&wanted).await;
        api.until_backup(id, BackupStatus::Available).await;
    }
    for (query, expected) in [
        ("", vec!["three", "two", "one"]),
        ("?sort=created_at%3Aasc", vec!["one", "two", "three"]),
        ("?sort=name:asc", vec!["one", "three", "two"]),
        ("?sort_key=name&sort_dir=desc", vec!["two", "three", "one"]),
        ("?name=two", vec!["two"]),
        ("?status=available&limit=0", vec![]),
        ("?status=error", vec![]),
        ("?offset=1&limit=1", vec!["two"]),
        (&format!("?volume_id={first}"), vec!["three", "one"]),
    ] {
        let list = api.get(&format!("/v3/backups/detail{query}")).await;
        assert_eq!(names(&list.expect(200)), expected, "{query}");
    }

    let page = api.get("/v3/backups?limit=2&with_count=true").await;
    let page = page.expect(200);
    assert_eq!(names(&page), ["three", "two"]);
    assert_eq!(page["count"], 3);
    let next = page["backups_links"][0]["href"].as_str().expect("a next");
    let path = next.strip_prefix(api.base()).expect("the same service");
    let page = api.get(path).await.expect(200);
    assert_eq!(names(&page), ["one"]);
    assert_eq!(page["backups_links"], Value::Null);

    for bad in [
        "limit=x",
        "limit=-1",
        "offset=-1",
        "sort=colour",
        "sort=name:up",
    ] {
        let answer = api.get(&format!("/v3/backups?{bad}")).await;
        answer.refused(400, "badRequest", "");
    }
    let unknown = "/v3/backups?marker=01890a5d-ac96-774b-bcce-b302099a8057";
    api.get(unknown).await.refused(404, "itemNotFound", "");
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn names_and_metadata_can_be_changed() {
    let stack = TestStack::start().await;
    let api = stack.api();
    let volume = stack.managed_volume("a.raw", b"some").await;
    let wanted = NewBackup {
        name: Some("  nightly ".to_owned()),
        description: Some("of the shop".to_owned()),
        metadata: BTreeMap::from([("keep".to_owned(), "30d".to_owned())]),
        ..NewBackup::of(volume)
    };
    let id = api.create_backup(&wanted).await;
    let backup = api.until_backup(id, BackupStatus::Available).await;
    assert_eq!(backup.name.as_deref(), Some("nightly"));
    assert_eq!(backup.metadata, wanted.metadata);

    let path = format!("/v3/backups/{id}");
    let change = json!({"backup": {"name": "weekly", "metadata": {"tier": "gold"}}});
    api.send(Method::PUT, &path, Some(change)).await.expect(200);
    let backup = api.backup(id).await;
    assert_eq!(backup.name.as_deref(), Some("weekly"));
    assert_eq!(backup.description.as_deref(), Some("of the shop"));
    assert_eq!(
        backup.metadata,
        BTreeMap::from([("tier".to_owned(), "gold".to_owned())])
    );
    for bad in [
        json!({"backup": null}),
        json!({"backup": {"size": 3}}),
        json!({}),
    ] {
        let answer = api.send(Method::PUT, &path, Some(bad)).await;
        answer.refused(400, "badRequest", "");
    }
    stack.assert_nothing_left_behind().await;
}
