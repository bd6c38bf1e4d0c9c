use super::*;

/// Names in the order of a list.
fn names(list: &Value, collection: &str) -> Vec<String> {
    let items = list[collection].as_array().unwrap();
    items.iter().map(|item| text(&item["name"])).collect()
}

/// Backups a, b, c of volumes of their own, in that order.
async fn three_backups() -> (Api, Vec<String>) {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let volume = api.volume(1).await;
        ids.push(api.backup(&volume, json!({"name": name})).await);
    }
    (api, ids)
}

#[tokio::test]
async fn a_list_shows_the_newest_first_in_short_or_in_full() {
    let (api, _) = three_backups().await;
    let short = api.get("/v3/backups").await.good(200);
    assert_eq!(names(&short, "backups"), ["c", "b", "a"]);
    assert!(short.get("backups_links").is_none() && short.get("count").is_none());
    let full = api.get("/v3/backups/detail").await.good(200);
    let shown = recorded("show.admin-3.71");
    assert_same_shape(&full["backups"][0], &shown["backup"]);
}

#[tokio::test]
async fn pages_follow_their_links_to_an_empty_one() {
    let (api, ids) = three_backups().await;
    let path = format!("/v3/{PROJECT}/backups/detail?all_tenants=1&limit=2");
    let page = api.get(&path).await.good(200);
    assert_eq!(names(&page, "backups"), ["c", "b"]);
    let next = text(&page["backups_links"][0]["href"]);
    assert_eq!(
        next,
        format!("http://controller:8776{path}&marker={}", ids[1])
    );
    let path = next.strip_prefix("http://controller:8776").unwrap();
    let page = api.get(path).await.good(200);
    assert_eq!(names(&page, "backups"), ["a"]);
    assert!(page.get("backups_links").is_none());
    let page = api
        .get(&format!("/v3/backups?limit=1&marker={}", ids[0]))
        .await;
    assert_eq!(page.good(200), json!({"backups": []}));
}

#[tokio::test]
async fn one_item_has_the_references_shape() {
    let (api, _) = three_backups().await;
    let page = api.get("/v3/backups?limit=1").await.good(200);
    let theirs = recorded("list.limit-1");
    assert_same_shape(&page, &theirs);
    assert_same_shape(&page["backups"][0], &theirs["backups"][0]);
    let page = api
        .get("/v3/backups/detail?limit=1&with_count=true")
        .await
        .good(200);
    assert_same_shape(&page, &recorded("list.with-count-detail"));
    assert_eq!(page["count"], 3);
}

#[tokio::test]
async fn lists_are_ordered_cut_and_filtered() {
    let (api, ids) = three_backups().await;
    for (query, expected) in [
        ("sort=name%3Aasc", vec!["a", "b", "c"]),
        ("sort_key=created_at&sort_dir=asc", vec!["a", "b", "c"]),
        ("sort=size:asc,name:desc", vec!["c", "b", "a"]),
        ("offset=1", vec!["b", "a"]),
        ("offset=2&limit=2", vec!["a"]),
        ("limit=0", vec![]),
        ("name=b", vec!["b"]),
        ("status=error", vec![]),
        ("status=available&limit=1", vec!["c"]),
        ("all_tenants=True", vec!["c", "b", "a"]),
        ("project_id=someone&all_tenants=1", vec![]),
        ("colour=red", vec![]),
    ] {
        let list = api.get(&format!("/v3/backups?{query}")).await.good(200);
        assert_eq!(names(&list, "backups"), expected, "{query}");
    }
    let shown = api.get(&format!("/v3/backups/{}", ids[1])).await.good(200);
    let volume = text(&shown["backup"]["volume_id"]);
    let list = api.get(&format!("/v3/backups?volume_id={volume}")).await;
    assert_eq!(names(&list.good(200), "backups"), ["b"]);
}

#[tokio::test]
async fn another_projects_backups_are_not_in_ones_own_list() {
    let (api, _) = three_backups().await;
    let list = api.get(&format!("/v3/{PROJECT}/backups")).await.good(200);
    assert_eq!(list, json!({"backups": []}));
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let api = Api::new().await;
    for (version, query, message) in [
        ("3.71", "limit=abc", "limit param must be an integer"),
        ("3.71", "limit=-1", "limit param must be positive"),
        ("3.71", "offset=abc", "offset must be an integer"),
        (
            "3.71",
            "sort=bogus",
            "Invalid input received: Invalid sort key",
        ),
        (
            "3.36",
            "sort=name:asc",
            "Invalid input received: Invalid sort key",
        ),
        (
            "3.71",
            "sort=name:up",
            "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'.",
        ),
        (
            "3.71",
            "all_tenants=x",
            "all_tenants must be a boolean, got 'x'.",
        ),
        (
            "3.71",
            "with_count=x",
            "with_count must be a boolean, got 'x'.",
        ),
    ] {
        let path = format!("/v3/backups?{query}");
        let answer = api.ask(version, "GET", &path, None).await;
        assert_eq!(answer.fault(400, "badRequest"), message);
    }
    for marker in [NOBODY, "not-a-uuid"] {
        let answer = api.get(&format!("/v3/backups?marker={marker}")).await;
        assert_eq!(
            answer.fault(404, "itemNotFound"),
            format!("Backup {marker} could not be found.")
        );
    }
}

#[tokio::test]
async fn volumes_are_listed_the_same_way() {
    let api = Api::new().await;
    let first = api.volume(1).await;
    api.volume(2).await;
    let page = api
        .get(&format!("/v3/{PROJECT}/volumes?all_tenants=1&limit=1"))
        .await;
    let page = page.good(200);
    assert_eq!(page["volumes_links"].as_array().unwrap().len(), 1);
    let theirs = recorded("other.volume-list");
    assert_same_shape(&page, &theirs);
    assert_same_shape(&page["volumes"][0], &theirs["volumes"][0]);
    let list = api
        .get("/v3/volumes/detail?name=v&status=available&size=1")
        .await;
    let list = list.good(200);
    assert_eq!(list["volumes"][0]["id"], first);
    assert_eq!(list["volumes"].as_array().unwrap().len(), 1);
    assert_same_shape(
        &list["volumes"][0],
        &recorded("other.volume-show-admin")["volume"],
    );
    for (query, count) in [
        ("bootable=false", 2),
        ("bootable=True", 0),
        ("bootable=x", 0),
    ] {
        let list = api.get(&format!("/v3/volumes?{query}")).await.good(200);
        assert_eq!(list["volumes"].as_array().unwrap().len(), count, "{query}");
    }
}
