use super::*;

#[tokio::test]
async fn a_create_body_that_breaks_a_rule_is_refused_in_the_references_words() {
    let api = Api::new().await;
    let long = "n".repeat(256);
    for (version, body, message) in [
        ("3.71", json!({}), "'backup' is a required property"),
        (
            "3.71",
            json!({"backup": {"volume_id": NOBODY}, "x": 1}),
            "Additional properties are not allowed ('x' was unexpected)",
        ),
        (
            "3.71",
            json!({"backup": {"name": "x"}}),
            "Invalid input for field/attribute backup. Value: {'name': 'x'}. 'volume_id' is a \
             required property",
        ),
        (
            "3.71",
            json!({"backup": {"volume_id": "abc"}}),
            "Invalid input for field/attribute volume_id. Value: abc. 'abc' is not a 'uuid'",
        ),
        (
            "3.71",
            json!({"backup": {"volume_id": NOBODY, "name": 7}}),
            "Invalid input for field/attribute name. Value: 7. 7 is not of type 'string', 'null'",
        ),
        (
            "3.42",
            json!({"backup": {"volume_id": NOBODY, "metadata": {"a": "b"}}}),
            "Additional properties are not allowed ('metadata' was unexpected)",
        ),
        (
            "3.50",
            json!({"backup": {"volume_id": NOBODY, "availability_zone": "nova"}}),
            "Additional properties are not allowed ('availability_zone' was unexpected)",
        ),
        (
            "3.71",
            json!({"backup": {"volume_id": NOBODY, "name": long}}),
            "nnn' is too long",
        ),
        (
            "3.71",
            json!({"backup": {"volume_id": NOBODY, "incremental": null}}),
            "None is not one of [True, 'True'",
        ),
        (
            "3.71",
            json!({"backup": {"volume_id": NOBODY, "description": "two\nlines"}}),
            "Invalid input for field/attribute description.",
        ),
    ] {
        let answer = api.ask(version, "POST", "/v3/backups", Some(body)).await;
        let said = answer.fault(400, "badRequest");
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn hostile_container_names_are_refused() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    for name in [
        "..",
        "a/../../b",
        "/etc",
        "a\0b",
        "a//b",
        ".emberkeep-x",
        "a\nb",
    ] {
        let body = json!({"backup": {"volume_id": volume, "container": name}});
        let answer = api.post("/v3/backups", body).await;
        let said = answer.fault(400, "badRequest");
        assert!(said.contains("field/attribute container"), "{said}");
    }
    assert_eq!(api.volume_status(&volume).await, "available");
    let empty = json!({"container": ""});
    let id = api.creating_backup(&volume, empty).await;
    let shown = api.get(&format!("/v3/backups/{id}")).await.good(200);
    assert!(text(&shown["backup"]["container"]).ends_with(&id));
}

#[tokio::test]
async fn what_a_create_names_must_be_there() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let not_found = async |body: Value| {
        let answer = api.post("/v3/backups", json!({"backup": body})).await;
        answer.fault(404, "itemNotFound").to_owned()
    };
    assert_eq!(
        not_found(json!({"volume_id": NOBODY})).await,
        format!("Volume {NOBODY} could not be found.")
    );
    let loud = volume.to_uppercase();
    assert_eq!(
        not_found(json!({"volume_id": loud})).await,
        format!("Volume {loud} could not be found.")
    );
    assert_eq!(
        not_found(json!({"volume_id": volume, "snapshot_id": NOBODY})).await,
        format!("Snapshot {NOBODY} could not be found.")
    );
}

#[tokio::test]
async fn a_volume_must_be_in_a_state_for_a_backup() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let refused = async |force: bool| {
        let body = json!({"backup": {"volume_id": volume, "force": force}});
        let answer = api.post("/v3/backups", body).await;
        answer.fault(400, "badRequest").to_owned()
    };
    api.reset_volume(&volume, "error").await;
    assert_eq!(
        refused(true).await,
        "Invalid volume: Volume to be backed up must be available or in-use, but the current \
         status is \"error\"."
    );
    api.reset_volume(&volume, "in-use").await;
    assert_eq!(
        refused(false).await,
        "Invalid volume: Backing up an in-use volume must use the force flag."
    );
}

#[tokio::test]
async fn an_incremental_needs_an_available_backup() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let body = json!({"backup": {"volume_id": volume, "incremental": true}});
    let answer = api.post("/v3/backups", body).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        "Invalid backup: No backups available to do an incremental backup."
    );
    assert_eq!(api.volume_status(&volume).await, "available");
}

#[tokio::test]
async fn quotas_are_checked_before_the_parent_is_looked_for() {
    let api = Api::without_workers(|settings| settings.quota.backups = 1).await;
    api.worker_appears("nova").await;
    let (volume, other) = (api.volume(1).await, api.volume(1).await);
    api.backup(&volume, json!({})).await;
    let body = json!({"backup": {"volume_id": other, "incremental": true}});
    let answer = api.post("/v3/backups", body.clone()).await;
    answer.fault(413, "overLimit");
    assert_eq!(answer.body, recorded("quota.err.backups-count"));
    assert_eq!(answer.header("retry-after"), "0");

    let path = format!(
        "/v3/os-quota-sets/{}",
        api.state.settings.auth.default_project
    );
    let limits = json!({"quota_set": {"backups": 10, "backup_gigabytes": 1}});
    api.put(&path, limits).await.good(200);
    let answer = api.post("/v3/backups", body).await;
    assert_eq!(
        answer.fault(413, "overLimit"),
        "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup \
         gigabytes quota. Requested 1G, quota is 1G and 1G has been consumed."
    );
}

#[tokio::test]
async fn above_the_high_water_mark_nothing_new_is_taken_in() {
    let api = Api::without_workers(|settings| settings.jobs.outbox_high_water = 3).await;
    api.worker_appears("nova").await;
    let volume = api.volume(1).await;
    let mut answer = None;
    // Nobody empties the outbox here.
    for _ in 0..5 {
        let body = json!({"volume": {"size": 1}});
        answer = Some(api.post("/v3/volumes", body).await);
    }
    let answer = answer.unwrap();
    answer.fault(503, "serviceUnavailable");
    assert_eq!(answer.header("retry-after"), "30");
    let body = json!({"backup": {"volume_id": volume}});
    api.post("/v3/backups", body)
        .await
        .fault(503, "serviceUnavailable");
    assert_eq!(api.get("/v3/backups").await.status, 200);
}

#[tokio::test]
async fn a_name_is_not_an_id() {
    let api = Api::new().await;
    for name in [
        "not-a-uuid",
        "Sicherung%20%E2%9C%93",
        NOBODY,
        "a%2Fb",
        "%FF",
    ] {
        for (method, path, body) in [
            ("GET", "", None),
            ("DELETE", "", None),
            ("PUT", "", Some(json!({"backup": {"name": "x"}}))),
            ("POST", "/restore", Some(json!({"restore": {}}))),
            ("POST", "/action", Some(json!({"os-force_delete": {}}))),
            ("GET", "/emberkeep-progress", None),
        ] {
            let path = format!("/v3/backups/{name}{path}");
            let answer = api.ask("3.71", method, &path, body).await;
            let said = answer.fault(404, "itemNotFound");
            assert!(
                said.contains("could not be found."),
                "{method} {path}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn an_update_is_known_from_3_9_on_and_refuses_what_it_does_not_know() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}");
    let put = async |version: &str, body: Value| api.ask(version, "PUT", &path, Some(body)).await;
    let named = json!({"backup": {"name": "x"}});
    assert_eq!(
        put("3.8", named.clone()).await.fault(404, "itemNotFound"),
        "The resource could not be found."
    );
    assert_eq!(put("3.9", named).await.status, 200);
    for (version, body) in [
        ("3.42", json!({"backup": {"metadata": {"a": "b"}}})),
        ("3.71", json!({"backup": {"metadata": null}})),
        ("3.71", json!({"backup": {"container": "c"}})),
        ("3.71", json!({"backup": null})),
        ("3.71", json!({"backup": {"name": "n".repeat(256)}})),
    ] {
        put(version, body).await.fault(400, "badRequest");
    }
}

#[tokio::test]
async fn a_backup_is_deleted_when_it_is_settled_and_nothing_builds_on_it() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let full = api.backup(&volume, json!({})).await;
    let incremental = api
        .creating_backup(&volume, json!({"incremental": true}))
        .await;
    let path = |id: &str| format!("/v3/backups/{id}");
    assert_eq!(
        api.delete(&path(&incremental))
            .await
            .fault(400, "badRequest"),
        "Invalid backup: Backup status must be available or error"
    );
    let has_dependents = "Invalid backup: Incremental backups exist for this backup.";
    let answer = api.delete(&path(&full)).await;
    assert_eq!(answer.fault(400, "badRequest"), has_dependents);
    let action = format!("{}/action", path(&full));
    let answer = api.post(&action, json!({"os-force_delete": {}})).await;
    assert_eq!(answer.fault(400, "badRequest"), has_dependents);
}

#[tokio::test]
async fn actions_are_refused_by_name_and_value() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let path = format!("/v3/backups/{id}/action");
    for (body, message) in [
        (
            json!({"os-explode": {}}),
            "There is no such action: os-explode. Verify the request body and Content-Type header \
             and try again.",
        ),
        (
            json!({"os-reset_status": {"status": "creating"}}),
            "Backup status: creating is invalid, valid statuses are: ['available', 'error'].",
        ),
        (json!({}), "Malformed request body"),
        (
            json!({"os-force_delete": {}, "os-explode": {}}),
            "Malformed request body",
        ),
    ] {
        let answer = api.post(&path, body).await;
        assert_eq!(answer.fault(400, "badRequest"), message);
    }
}

#[tokio::test]
async fn a_backup_without_data_is_not_reset_to_available() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let outcome = Outcome::Failed {
        reason: "no luck".to_owned(),
    };
    api.backup_job_ends(&id, outcome).await;
    let path = format!("/v3/backups/{id}/action");
    let body = json!({"os-reset_status": {"status": "available"}});
    api.post(&path, body).await.fault(400, "badRequest");
    assert_eq!(api.backup_status(&id).await, "error");
}
