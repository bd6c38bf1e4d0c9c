use super::*;

#[tokio::test]
async fn a_created_backup_answers_id_name_and_links() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let body = json!({"backup": {"volume_id": volume, "name": "  nightly ", "container": null,
        "description": null, "force": false, "incremental": false, "snapshot_id": null}});
    let path = format!("/v3/{PROJECT}/backups");
    let foreign = api.post(&path, body.clone()).await;
    foreign.fault(404, "itemNotFound");
    let created = api.post("/v3/backups", body).await.good(202);
    assert_same_shape(&created["backup"], &recorded("create.minimal")["backup"]);
    assert_eq!(created["backup"]["name"], "nightly");
    let id = text(&created["backup"]["id"]);
    assert_eq!(
        created["backup"]["links"],
        json!([
            {"rel": "self", "href": format!("http://controller:8776/v3/backups/{id}")},
            {"rel": "bookmark", "href": format!("http://controller:8776/backups/{id}")},
        ])
    );
    assert_eq!(api.backup_status(&id).await, "creating");
    assert_eq!(api.volume_status(&volume).await, "backing-up");
}

#[tokio::test]
async fn a_backup_shows_what_its_version_knows() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let more = json!({"name": "full name", "description": "a description", "container": "cont-a",
        "metadata": {"k1": "v1"}, "availability_zone": "nova"});
    let id = api.backup(&volume, more).await;
    for version in ["3.0", "3.18", "3.43", "3.56", "3.71"] {
        let path = format!("/v3/{PROJECT}/backups/{id}");
        let shown = api.ask(version, "GET", &path, None).await.good(200);
        let reference = recorded(&format!("show.admin-{version}"));
        assert_same_shape(&shown["backup"], &reference["backup"]);
    }
    let shown = api.get(&format!("/v3/backups/{id}")).await.good(200);
    let backup = &shown["backup"];
    assert_eq!(backup["status"], "available");
    assert_eq!(backup["container"], "cont-a");
    assert_eq!(backup["size"], 1);
    assert_eq!(backup["object_count"], 2);
    assert_eq!(backup["metadata"], json!({"k1": "v1"}));
    assert_eq!(backup["is_incremental"], false);
    assert_eq!(
        text(&backup["created_at"]).len(),
        "2026-11-22T06:34:26.024540".len()
    );
    assert_eq!(api.volume_status(&volume).await, "available");
}

#[tokio::test]
async fn an_incremental_builds_on_the_newest_backup() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let full = api.backup(&volume, json!({})).await;
    let incremental = api.backup(&volume, json!({"incremental": "True"})).await;
    let shown = api.get(&format!("/v3/backups/{full}")).await.good(200);
    assert_eq!(shown["backup"]["has_dependent_backups"], true);
    let shown = api
        .get(&format!("/v3/backups/{incremental}"))
        .await
        .good(200);
    assert_eq!(shown["backup"]["is_incremental"], true);
    assert_eq!(shown["backup"]["has_dependent_backups"], false);
}

#[tokio::test]
async fn an_attached_volume_stays_attached_through_a_forced_backup() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let attach = json!({"os-attach": {"instance_uuid": NOBODY, "mountpoint": "/dev/vdb"}});
    let path = format!("/v3/volumes/{volume}/action");
    assert_eq!(api.post(&path, attach).await.status, 202);
    api.backup(&volume, json!({"force": true})).await;
    assert_eq!(api.volume_status(&volume).await, "in-use");
}

#[tokio::test]
async fn a_zone_that_nobody_was_ever_in_is_accepted_and_fails_at_once() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api
        .creating_backup(&volume, json!({"availability_zone": "No Such Zone!"}))
        .await;
    let shown = api.get(&format!("/v3/backups/{id}")).await.good(200);
    assert_eq!(shown["backup"]["status"], "error");
    assert_eq!(
        shown["backup"]["fail_reason"],
        "Service not found for creating backup."
    );
    assert_eq!(api.volume_status(&volume).await, "available");
}

#[tokio::test]
async fn an_update_replaces_metadata_as_a_whole() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api
        .backup(&volume, json!({"name": "a", "metadata": {"k": "v"}}))
        .await;
    let path = format!("/v3/backups/{id}");
    let body = json!({"backup": {"name": "renamed", "metadata": {"only": "this"}}});
    let updated = api.put(&path, body).await.good(200);
    assert_same_shape(&updated["backup"], &recorded("update.name-3.9")["backup"]);
    assert_eq!(updated["backup"]["name"], "renamed");
    let nothing = api.put(&path, json!({"backup": {}})).await.good(200);
    assert_eq!(nothing["backup"]["name"], "renamed");
    let no_name = api
        .put(&path, json!({"backup": {"name": null}}))
        .await
        .good(200);
    assert_eq!(no_name["backup"]["name"], Value::Null);
    let shown = api.get(&path).await.good(200);
    assert_eq!(shown["backup"]["metadata"], json!({"only": "this"}));
}

#[tokio::test]
async fn a_deleted_backup_is_not_found_once_the_worker_is_done() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}");
    let answer = api.delete(&path).await;
    assert_eq!((answer.status, &answer.body), (202, &Value::Null));
    assert_eq!(api.backup_status(&id).await, "deleting");
    api.backup_job_ends(&id, Outcome::Deleted).await;
    let gone = api.get(&path).await;
    assert_eq!(
        gone.fault(404, "itemNotFound"),
        format!("Backup {id} could not be found.")
    );
}

#[tokio::test]
async fn a_cancelled_creation_ends_in_error_and_frees_the_volume() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}/action");
    let answer = api.post(&path, json!({"emberkeep:cancel": null})).await;
    assert_eq!((answer.status, &answer.body), (202, &Value::Null));
    let shown = api.get(&format!("/v3/backups/{id}")).await.good(200);
    assert_eq!(shown["backup"]["status"], "error");
    assert_eq!(shown["backup"]["fail_reason"], "Cancelled by its owner.");
    assert_eq!(api.volume_status(&volume).await, "available");
    let again = api.post(&path, json!({"emberkeep:cancel": null})).await;
    assert!(
        again
            .fault(400, "badRequest")
            .starts_with("Invalid backup: ")
    );
}

#[tokio::test]
async fn an_administrator_resets_and_deletes_by_force() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}/action");
    for status in ["ERROR", "available"] {
        let body = json!({"os-reset_status": {"status": status}});
        let answer = api.post(&path, body).await;
        assert_eq!((answer.status, &answer.body), (202, &Value::Null));
        assert_eq!(api.backup_status(&id).await, status.to_lowercase());
    }
    let answer = api.post(&path, json!({"os-force_delete": null})).await;
    assert_eq!(answer.status, 202);
    assert_eq!(api.backup_status(&id).await, "deleting");
    let body = json!({"os-reset_status": {"status": "error"}});
    api.post(&path, body).await.fault(400, "badRequest");
}

#[tokio::test]
async fn progress_is_the_running_jobs_and_none_when_nothing_runs() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}/emberkeep-progress");
    let queued = api.get(&path).await.good(200);
    assert_eq!(queued["phase"], "queued");
    assert_eq!(queued["backup_id"], id);
    let mut progress: common::messages::events::ProgressData =
        serde_json::from_value(queued).unwrap();
    progress.generation = 1;
    progress.sequence = 1;
    progress.phase = "transfer".to_owned();
    progress.done_bytes = 77;
    api.state.progress.note(progress);
    assert_eq!(api.get(&path).await.good(200)["done_bytes"], 77);
    let outcome = Outcome::Failed {
        reason: "no luck".to_owned(),
    };
    api.backup_job_ends(&id, outcome).await;
    api.get(&path).await.fault(404, "itemNotFound");
    api.get(&format!("/v3/backups/{NOBODY}/emberkeep-progress"))
        .await
        .fault(404, "itemNotFound");
}

#[tokio::test]
async fn a_progress_stream_that_the_service_ends_says_nothing_of_an_end() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let body = follow(&api, &id).await;
    api.state.progress.close();
    assert_eq!(events(body).await.0, ["progress"]);
}

#[tokio::test]
async fn a_progress_stream_ends_with_the_status_the_job_left() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let body = follow(&api, &id).await;
    let job = api.state.store.unsettled_job_of_backup(id.parse().unwrap());
    let job = job.await.unwrap().unwrap();
    let outcome = Outcome::Failed {
        reason: "no luck".to_owned(),
    };
    api.backup_job_ends(&id, outcome).await;
    api.state.progress.settled(job.id);
    let (names, body) = events(body).await;
    assert_eq!(names, ["progress", "settled"], "{body}");
    assert!(body.contains("no luck"), "{body}");
}

/// Begins to follow a backup's progress.
async fn follow(api: &Api, id: &str) -> Body {
    let request = Request::builder()
        .uri(format!("/v3/backups/{id}/emberkeep-progress"))
        .header(header::ACCEPT, "text/event-stream")
        .body(Body::empty())
        .unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    response.into_body()
}

/// The names of all events up to the end of a stream, and its text.
async fn events(body: Body) -> (Vec<String>, String) {
    let bytes = to_bytes(body, 1 << 16).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .map(str::to_owned)
        .collect();
    (names, text)
}
