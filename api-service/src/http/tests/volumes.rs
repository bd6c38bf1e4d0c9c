use super::*;

#[tokio::test]
async fn a_created_volume_answers_what_its_version_knows() {
    let api = Api::new().await;
    let body = json!({"volume": {"size": 1, "name": " v1 ", "description": null,
        "metadata": null, "volume_type": null, "availability_zone": null, "snapshot_id": null,
        "source_volid": null, "imageRef": null, "consistencygroup_id": null, "backup_id": null,
        "multiattach": false}});
    for (version, case) in [
        ("3.0", "other.volume-create-3.0"),
        ("3.71", "other.volume-create"),
    ] {
        let created = api
            .ask(version, "POST", "/v3/volumes", Some(body.clone()))
            .await;
        let created = created.good(202);
        let mut theirs = recorded(case);
        // The recording is a member's; an administrator sees these too.
        let members = theirs["volume"].as_object_mut().unwrap();
        members.insert("migration_status".to_owned(), Value::Null);
        if version == "3.71" {
            members.insert("provider_id".to_owned(), Value::Null);
            members.insert("cluster_name".to_owned(), Value::Null);
        }
        assert_same_shape(&created["volume"], &theirs["volume"]);
        assert_eq!(created["volume"]["name"], "v1");
        assert_eq!(created["volume"]["status"], "creating");
        assert_eq!(created["volume"]["bootable"], "false");
    }
}

#[tokio::test]
async fn a_volume_shows_its_owner_and_its_place() {
    let api = Api::new().await;
    let id = api.volume(1).await;
    let shown = api.get(&format!("/v3/volumes/{id}")).await.good(200);
    let volume = &shown["volume"];
    assert_same_shape(volume, &recorded("other.volume-show-admin")["volume"]);
    assert_eq!(volume["os-vol-host-attr:host"], "emberkeep@fast#fast");
    assert_eq!(volume["metadata"], json!({"a": "b"}));
    let at_3_0 = api
        .ask("3.0", "GET", &format!("/v3/volumes/{id}"), None)
        .await;
    assert!(at_3_0.good(200)["volume"].get("shared_targets").is_none());
}

#[tokio::test]
async fn a_volume_body_that_breaks_a_rule_is_refused() {
    let api = Api::new().await;
    for (body, message) in [
        (
            json!({"volume": {"size": 0}}),
            "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1",
        ),
        (
            json!({"volume": {"name": "x"}}),
            "'size' is a required property",
        ),
        (
            json!({"volume": {"size": 1, "colour": "red"}}),
            "Additional properties are not allowed ('colour' was unexpected)",
        ),
        (
            json!({"volume": {"size": 1, "imageRef": NOBODY}}),
            "field/attribute imageRef",
        ),
        (
            json!({"volume": {"size": 1, "multiattach": true}}),
            "field/attribute multiattach",
        ),
    ] {
        let answer = api.post("/v3/volumes", body).await;
        let said = answer.fault(400, "badRequest");
        assert!(said.contains(message), "{said}");
    }
    for (field, message) in [
        (
            "snapshot_id",
            format!("Snapshot {NOBODY} could not be found."),
        ),
        ("backup_id", format!("Backup {NOBODY} could not be found.")),
        (
            "volume_type",
            format!("Volume type {NOBODY} could not be found."),
        ),
    ] {
        let mut body = json!({"volume": {"size": 1}});
        body["volume"][field] = json!(NOBODY);
        let answer = api.post("/v3/volumes", body).await;
        assert_eq!(answer.fault(404, "itemNotFound"), message);
    }
}

#[tokio::test]
async fn a_volume_is_attached_and_detached() {
    let api = Api::new().await;
    let id = api.volume(1).await;
    let path = format!("/v3/volumes/{id}/action");
    let attach = json!({"os-attach": {"instance_uuid": NOBODY, "mountpoint": "/dev/vdb",
        "mode": "rw"}});
    assert_eq!(api.post(&path, attach.clone()).await.status, 202);
    let shown = api.get(&format!("/v3/volumes/{id}")).await.good(200);
    assert_eq!(shown["volume"]["status"], "in-use");
    let theirs = recorded("other.volume-show-in-use");
    assert_same_shape(
        &shown["volume"]["attachments"][0],
        &theirs["volume"]["attachments"][0],
    );
    api.post(&path, attach).await.fault(400, "badRequest");
    let answer = api.delete(&format!("/v3/volumes/{id}")).await;
    assert!(
        answer
            .fault(400, "badRequest")
            .starts_with("Invalid volume: ")
    );
    assert_eq!(api.post(&path, json!({"os-detach": {}})).await.status, 202);
    assert_eq!(api.volume_status(&id).await, "available");
    api.post(&path, json!({"os-detach": null}))
        .await
        .fault(400, "badRequest");
    api.post(&path, json!({"os-explode": null}))
        .await
        .fault(400, "badRequest");
}

#[tokio::test]
async fn a_volume_is_updated_and_deleted() {
    let api = Api::new().await;
    let id = api.volume(1).await;
    let path = format!("/v3/volumes/{id}");
    let body = json!({"volume": {"name": "new", "metadata": {"c": "d"}}});
    let updated = api.put(&path, body).await.good(200);
    assert_eq!(updated["volume"]["name"], "new");
    assert_eq!(updated["volume"]["metadata"], json!({"c": "d"}));
    let answer = api
        .delete(&format!("{path}?cascade=False&force=False"))
        .await;
    assert_eq!((answer.status, &answer.body), (202, &Value::Null));
    for name in [NOBODY, "qs-vol"] {
        let answer = api.get(&format!("/v3/volumes/{name}")).await;
        assert_eq!(
            answer.fault(404, "itemNotFound"),
            format!("Volume {name} could not be found.")
        );
        api.delete(&format!("/v3/volumes/{name}"))
            .await
            .fault(404, "itemNotFound");
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_managed_once() {
    let api = Api::new().await;
    let body = json!({"volume": {"host": "worker-1@fast#fast", "name": "vol-1",
        "ref": {"source-name": "vol-1.raw"}, "metadata": {"k": "v"}}});
    let managed = api
        .post("/v3/manageable_volumes", body.clone())
        .await
        .good(202);
    let id = text(&managed["volume"]["id"]);
    assert_eq!(managed["volume"]["status"], "creating");
    assert_eq!(managed["volume"]["name"], "vol-1");
    api.volume_is_made(&id, "vol-1.raw", 3).await;
    let shown = api.get(&format!("/v3/volumes/{id}")).await.good(200);
    assert_eq!(shown["volume"]["size"], 3);
    let again = api.post("/v3/os-volume-manage", body).await;
    assert!(again.fault(400, "badRequest").contains("managed already"));
}

#[tokio::test]
async fn a_manage_that_makes_no_sense_is_refused() {
    let api = Api::new().await;
    for (host, reference) in [
        ("slow", json!({"source-name": "a"})),
        ("fast", json!({"source-name": "../a"})),
        ("fast", json!({"source-name": "/etc/passwd"})),
        ("fast", json!({})),
    ] {
        let body = json!({"volume": {"host": host, "ref": reference}});
        let answer = api.post("/v3/os-volume-manage", body).await;
        answer.fault(400, "badRequest");
    }
    let body = json!({"volume": {"ref": {"source-name": "a"}}});
    let answer = api.post("/v3/manageable_volumes", body).await;
    assert!(
        answer
            .fault(400, "badRequest")
            .contains("'host' is a required property")
    );
}
