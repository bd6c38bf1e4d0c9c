use super::*;

const IN_USE_FLAG: &str = "Since microversion 3.66 the 'force' flag is invalid for this request.";

#[tokio::test]
async fn a_snapshot_is_taken_shown_and_listed_as_the_reference_does() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    // As `openstack` sends it, with its nulls.
    let body = json!({"snapshot": {"metadata": null, "name": " osnap ", "description": null,
        "volume_id": volume}});
    let created = api.post("/v3/snapshots", body).await.good(202);
    let theirs = recorded("other.snapshot-create");
    assert_same_shape(&created["snapshot"], &theirs["snapshot"]);
    assert_eq!(created["snapshot"]["name"], "osnap");
    assert_eq!(created["snapshot"]["status"], "creating");
    let id = text(&created["snapshot"]["id"]);
    let progress = "os-extended-snapshot-attributes:progress";
    let shown = api.get(&format!("/v3/snapshots/{id}")).await.good(200);
    assert_eq!(shown["snapshot"][progress], "0%");
    assert_eq!(api.volume_status(&volume).await, "available");

    api.snapshot_job_ends(&id, None).await;
    let shown = api.get(&format!("/v3/snapshots/{id}")).await.good(200);
    assert_same_shape(
        &shown["snapshot"],
        &recorded("other.snapshot-show")["snapshot"],
    );
    assert_eq!(shown["snapshot"]["status"], "available");
    assert_eq!(shown["snapshot"][progress], "100%");
    assert_eq!(shown["snapshot"]["size"], 1);
    let at_3_0 = api
        .ask("3.0", "GET", &format!("/v3/snapshots/{id}"), None)
        .await;
    let at_3_0 = at_3_0.good(200);
    for since_later in ["group_snapshot_id", "user_id", "consumes_quota"] {
        assert!(at_3_0["snapshot"].get(since_later).is_none());
    }

    // A name is looked up as `openstack` does it.
    let answer = api.get("/v3/snapshots/osnap").await;
    assert_eq!(
        answer.fault(404, "itemNotFound"),
        "Snapshot osnap could not be found."
    );
    let found = api.get("/v3/snapshots/detail?name=osnap").await.good(200);
    assert_eq!(found["snapshots"], json!([shown["snapshot"]]));
    let summaries = api.get("/v3/snapshots").await.good(200);
    assert!(summaries["snapshots"][0].get(progress).is_none());
}

#[tokio::test]
async fn snapshots_are_paged_sorted_filtered_and_counted() {
    let api = Api::new().await;
    let (first, second) = (api.volume(1).await, api.volume(1).await);
    for (volume, name) in [(&first, "b"), (&first, "c"), (&second, "a")] {
        api.snapshot(volume, name).await;
    }
    let names = async |query: &str| {
        let path = format!("/v3/snapshots/detail?{query}");
        let list = api.get(&path).await.good(200);
        let rows = list["snapshots"].as_array().unwrap().iter();
        rows.map(|row| text(&row["name"])).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["a", "c", "b"], "the newest first");
    assert_eq!(names("sort=name:asc").await, ["a", "b", "c"]);
    assert_eq!(names(&format!("volume_id={first}")).await, ["c", "b"]);
    assert_eq!(names("status=error").await, [""; 0]);
    assert_eq!(names("offset=1&limit=1").await, ["c"]);
    let page = api
        .get("/v3/snapshots?limit=2&with_count=true")
        .await
        .good(200);
    assert_eq!(page["count"], 3);
    let next = text(&page["snapshots_links"][0]["href"]);
    let next = next.strip_prefix("http://controller:8776").unwrap();
    let rest = api.get(next).await.good(200);
    assert_eq!(rest["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(rest["snapshots"][0]["name"], "b");
    for bad in ["sort=container", "limit=-1"] {
        let answer = api.get(&format!("/v3/snapshots?{bad}")).await;
        answer.fault(400, "badRequest");
    }
    let answer = api.get(&format!("/v3/snapshots?marker={NOBODY}")).await;
    answer.fault(404, "itemNotFound");
}

#[tokio::test]
async fn a_snapshot_body_that_breaks_a_rule_is_refused() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    for (more, message) in [
        (json!({"colour": "red"}), "'colour' was unexpected"),
        (json!({"name": 7}), "field/attribute name"),
        (json!({"metadata": {"k": 7}}), "field/attribute k"),
        (json!({"force": "maybe"}), "field/attribute force"),
        (json!({"force": false}), IN_USE_FLAG),
    ] {
        let mut body = json!({"snapshot": {"volume_id": volume}});
        for (key, value) in more.as_object().unwrap() {
            body["snapshot"][key] = value.clone();
        }
        let answer = api.post("/v3/snapshots", body).await;
        let said = answer.fault(400, "badRequest");
        assert!(said.contains(message), "{said}");
    }
    let answer = api.post("/v3/snapshots", json!({"snapshot": {}})).await;
    let said = answer.fault(400, "badRequest");
    assert!(said.contains("'volume_id' is a required property"));
    let body = json!({"snapshot": {"volume_id": NOBODY}});
    let answer = api.post("/v3/snapshots", body).await;
    assert_eq!(
        answer.fault(404, "itemNotFound"),
        format!("Volume {NOBODY} could not be found.")
    );
    let none = api.get("/v3/snapshots").await.good(200);
    assert_eq!(none, json!({"snapshots": []}));
}

#[tokio::test]
async fn an_attached_volume_needs_force_until_version_3_66() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let attach = json!({"os-attach": {"instance_uuid": NOBODY, "mountpoint": "/dev/vdb"}});
    api.post(&format!("/v3/volumes/{volume}/action"), attach)
        .await
        .good(202);
    let take = async |version: &str, force: Option<bool>| {
        let mut body = json!({"snapshot": {"volume_id": volume}});
        if let Some(force) = force {
            body["snapshot"]["force"] = json!(force);
        }
        api.ask(version, "POST", "/v3/snapshots", Some(body)).await
    };
    let answer = take("3.65", None).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        format!(
            "Invalid volume: Volume {volume} status must be available, but current status is: in-use."
        )
    );
    for (version, force) in [("3.65", Some(true)), ("3.66", None), ("3.66", Some(true))] {
        let taken = take(version, force).await.good(202);
        let id = text(&taken["snapshot"]["id"]);
        api.snapshot_job_ends(&id, None).await;
        assert_eq!(api.volume_status(&volume).await, "in-use");
    }
    for (status, message) in [
        ("error", "when the volume is in error status."),
        ("maintenance", "when the volume is in maintenance mode."),
        ("backing-up", "status must be available, in-use, but"),
    ] {
        api.reset_volume(&volume, status).await;
        let answer = take("3.71", None).await;
        let said = answer.fault(400, "badRequest");
        assert!(said.starts_with("Invalid volume: ") && said.contains(message));
    }
}

#[tokio::test]
async fn a_snapshot_is_updated_and_deleted() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.snapshot(&volume, "s").await;
    let path = format!("/v3/snapshots/{id}");
    let body = json!({"snapshot": {"name": "new", "description": "said"}});
    let updated = api.put(&path, body).await.good(200);
    assert_eq!(updated["snapshot"]["name"], "new");
    assert_eq!(updated["snapshot"]["description"], "said");
    api.put(&path, json!({"snapshot": {}}))
        .await
        .fault(400, "badRequest");

    let answer = api.delete(&path).await;
    assert_eq!((answer.status, &answer.body), (202, &Value::Null));
    assert_eq!(api.snapshot_status(&id).await, "deleting");
    let answer = api.delete(&path).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        "Invalid snapshot: Snapshot status must be available or error and must not be part of a group."
    );
    api.snapshot_job_ends(&id, Some("it would not go")).await;
    assert_eq!(api.snapshot_status(&id).await, "error_deleting");
    let force = json!({"os-force_delete": {}});
    api.post(&format!("{path}/action"), force).await.good(202);
    api.snapshot_job_ends(&id, None).await;
    api.get(&path).await.fault(404, "itemNotFound");
    api.delete(&path).await.fault(404, "itemNotFound");
}

#[tokio::test]
async fn a_snapshots_status_is_reset() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.snapshot(&volume, "s").await;
    let path = format!("/v3/snapshots/{id}/action");
    let reset = |status: &str| json!({"os-reset_status": {"status": status}});
    api.post(&path, reset("Error")).await.good(202);
    assert_eq!(api.snapshot_status(&id).await, "error");
    let answer = api.post(&path, reset("broken")).await;
    let said = answer.fault(400, "badRequest");
    assert!(said.starts_with("Snapshot status: broken is invalid, valid statuses are: ["));
    let answer = api.post(&path, json!({"os-explode": null})).await;
    answer.fault(400, "badRequest");
}

#[tokio::test]
async fn a_volume_stays_as_long_as_it_has_snapshots_unless_they_go_too() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let snapshots = [
        api.snapshot(&volume, "one").await,
        api.snapshot(&volume, "two").await,
    ];
    let path = format!("/v3/volumes/{volume}");
    let message = "Invalid volume: Volume status must be available or error or error_restoring or \
        error_extending or error_managing and must not be migrating, attached, belong to a group, \
        have snapshots, awaiting a transfer, or be disassociated from snapshots after volume \
        transfer.";
    for query in ["", "?cascade=False&force=False", "?force=True"] {
        let answer = api.delete(&format!("{path}{query}")).await;
        assert_eq!(answer.fault(400, "badRequest"), message);
    }
    let answer = api.delete(&format!("{path}?cascade=perhaps")).await;
    answer.fault(400, "badRequest");
    // One that something has keeps all of it.
    let backup = json!({"snapshot_id": snapshots[0]});
    let backup = api.creating_backup(&volume, backup).await;
    let answer = api.delete(&format!("{path}?cascade=True")).await;
    assert_eq!(answer.fault(400, "badRequest"), message);
    let reason = "no space".to_owned();
    api.backup_job_ends(&backup, Outcome::Failed { reason })
        .await;

    api.delete(&format!("{path}?cascade=True")).await.good(202);
    for snapshot in &snapshots {
        assert_eq!(api.snapshot_status(snapshot).await, "deleting");
    }
    api.volume_is_made(&volume, "v", 1).await;
    api.get(&path).await.fault(404, "itemNotFound");
    for snapshot in &snapshots {
        let gone = api.get(&format!("/v3/snapshots/{snapshot}")).await;
        gone.fault(404, "itemNotFound");
    }
}

#[tokio::test]
async fn a_backup_of_a_snapshot_leaves_the_volume_alone() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let snapshot = api.snapshot(&volume, "s").await;
    // The volume's own state is not looked at, and force is not needed.
    api.reset_volume(&volume, "error").await;
    let backup = json!({"snapshot_id": snapshot, "name": "from-snap"});
    let backup = api.creating_backup(&volume, backup).await;
    assert_eq!(api.volume_status(&volume).await, "error");
    assert_eq!(api.snapshot_status(&snapshot).await, "backing-up");
    let path = format!("/v3/snapshots/{snapshot}");
    let answer = api.delete(&path).await;
    let said = answer.fault(400, "badRequest");
    assert!(said.starts_with("Invalid snapshot: "));
    let force = json!({"os-force_delete": {}});
    let answer = api.post(&format!("{path}/action"), force).await;
    answer.fault(409, "conflictingRequest");
    let again = json!({"backup": {"volume_id": volume, "snapshot_id": snapshot}});
    let answer = api.post("/v3/backups", again).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        "Invalid snapshot: Snapshot to be backed up must be available, but the current status is \
         \"backing-up\"."
    );

    let done = Outcome::BackedUp {
        object_count: 2,
        data_timestamp: Timestamp::now(),
    };
    let taken = api.get(&path).await.good(200)["snapshot"]["created_at"].clone();
    let shown = api.get(&format!("/v3/backups/{backup}")).await.good(200);
    assert_eq!(shown["backup"]["data_timestamp"], taken);
    api.backup_job_ends(&backup, done).await;
    assert_eq!(api.snapshot_status(&snapshot).await, "available");
    assert_eq!(api.volume_status(&volume).await, "error");
    let shown = api.get(&format!("/v3/backups/{backup}")).await.good(200);
    let mut theirs = recorded("show.from-snapshot");
    for admins in ["os-backup-project-attr:project_id", "user_id"] {
        theirs["backup"][admins] = Value::Null;
    }
    assert_same_shape(&shown["backup"], &theirs["backup"]);
    assert_eq!(shown["backup"]["snapshot_id"], snapshot);
    assert_eq!(shown["backup"]["is_incremental"], false);
}

#[tokio::test]
async fn a_backup_of_another_volumes_snapshot_is_refused() {
    let api = Api::new().await;
    let (one, other) = (api.volume(1).await, api.volume(1).await);
    let snapshot = api.snapshot(&one, "s").await;
    let body = json!({"backup": {"volume_id": other, "snapshot_id": snapshot}});
    let answer = api.post("/v3/backups", body).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        format!("Invalid volume: Volume {other} does not match with snapshot.volume_id {one}.")
    );
    let answer = api
        .post(
            "/v3/backups",
            json!({"backup": {"volume_id": one,
        "snapshot_id": snapshot, "incremental": true}}),
        )
        .await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        "Invalid backup: No backups available to do an incremental backup."
    );
}

#[tokio::test]
async fn snapshots_count_against_their_own_quota_and_against_the_gigabytes() {
    let api = Api::without_workers(|settings| {
        settings.quota.snapshots = 2;
        settings.quota.gigabytes = 10;
    })
    .await;
    api.worker_appears("nova").await;
    let volume = api.volume(3).await;
    api.snapshot(&volume, "one").await;
    let two = api.snapshot(&volume, "two").await;
    let body = json!({"snapshot": {"volume_id": volume}});
    let answer = api.post("/v3/snapshots", body.clone()).await;
    let said = answer.fault(413, "overLimit");
    assert!(said.contains("Requested 3G, quota is 10G and 9G has been consumed."));
    let limits = json!({"quota_set": {"gigabytes": -1}});
    let project = "00000000000000000000000000000001";
    let path = format!("/v3/os-quota-sets/{project}");
    api.put(&path, limits).await.good(200);
    let answer = api.post("/v3/snapshots", body.clone()).await;
    assert_eq!(
        answer.fault(413, "overLimit"),
        "SnapshotLimitExceeded: Maximum number of snapshots allowed (2) exceeded"
    );
    let usage = api.get(&format!("{path}?usage=True")).await.good(200);
    let snapshots = &usage["quota_set"]["snapshots"];
    assert_eq!(
        (&snapshots["limit"], &snapshots["in_use"]),
        (&json!(2), &json!(2))
    );
    let limits = api.get("/v3/limits").await.good(200);
    let absolute = &limits["limits"]["absolute"];
    assert_eq!(absolute["totalSnapshotsUsed"], 2);
    assert_eq!(absolute["totalGigabytesUsed"], 9);

    api.delete(&format!("/v3/snapshots/{two}")).await.good(202);
    api.snapshot_job_ends(&two, None).await;
    api.post("/v3/snapshots", body).await.good(202);
}

#[tokio::test]
async fn a_volume_is_made_from_a_snapshot_and_is_at_least_as_large() {
    let api = Api::new().await;
    let volume = api.volume(2).await;
    let snapshot = api.snapshot(&volume, "s").await;
    let make = async |more: Value| {
        let mut body = json!({"volume": {"snapshot_id": snapshot}});
        for (key, value) in more.as_object().unwrap() {
            body["volume"][key] = value.clone();
        }
        api.post("/v3/volumes", body).await
    };
    let answer = make(json!({"size": 1})).await;
    assert!(
        answer
            .fault(400, "badRequest")
            .contains("cannot be smaller than the snapshot size 2GB")
    );
    let answer = make(json!({"backup_id": NOBODY})).await;
    answer.fault(400, "badRequest");
    let made = make(json!({"name": "copy"})).await.good(202);
    assert_eq!(made["volume"]["size"], 2);
    assert_eq!(made["volume"]["snapshot_id"], snapshot);
    // It is being read: nothing else may have it until then.
    let answer = make(json!({"size": 3})).await;
    answer.fault(409, "conflictingRequest");
    let id = text(&made["volume"]["id"]);
    api.volume_is_made(&id, &format!("volume-{id}"), 2).await;
    let larger = make(json!({"size": 3})).await.good(202);
    assert_eq!(larger["volume"]["size"], 3);
}
