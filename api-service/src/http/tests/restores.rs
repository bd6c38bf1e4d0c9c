use super::*;

fn restore_of(id: &str) -> String {
    format!("/v3/backups/{id}/restore")
}

#[tokio::test]
async fn a_restore_to_a_new_volume_names_it() {
    let api = Api::new().await;
    let volume = api.volume(2).await;
    let id = api.backup(&volume, json!({})).await;
    let started = api
        .post(&restore_of(&id), json!({"restore": {}}))
        .await
        .good(202);
    assert_same_shape(
        &started["restore"],
        &recorded("restore.new-volume")["restore"],
    );
    assert_eq!(
        started["restore"]["volume_name"],
        format!("restore_backup_{id}")
    );
    let target = text(&started["restore"]["volume_id"]);
    assert_eq!(api.volume_status(&target).await, "restoring-backup");
    assert_eq!(api.backup_status(&id).await, "restoring");
    let shown = api.get(&format!("/v3/volumes/{target}")).await.good(200);
    assert_eq!(shown["volume"]["size"], 2);

    let again = api.post(&restore_of(&id), json!({"restore": {}})).await;
    assert_eq!(
        again.fault(400, "badRequest"),
        "Invalid backup: Backup status must be available"
    );
    let deleted = api.delete(&format!("/v3/backups/{id}")).await;
    assert_eq!(
        deleted.fault(400, "badRequest"),
        "Invalid backup: Backup status must be available or error"
    );

    let restored = Outcome::Restored { volume_meta: None };
    api.backup_job_ends(&id, restored).await;
    assert_eq!(api.volume_status(&target).await, "available");
    assert_eq!(api.backup_status(&id).await, "available");
}

#[tokio::test]
async fn a_name_is_for_the_new_volume() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let body = json!({"restore": {"volume_id": null, "name": " restored "}});
    let started = api.post(&restore_of(&id), body).await.good(202);
    assert_eq!(started["restore"]["volume_name"], "restored");
}

#[tokio::test]
async fn a_restore_to_an_existing_volume_keeps_its_name() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let target = api.volume(2).await;
    let body = json!({"restore": {"volume_id": target}});
    // `openstack` sends no version header here.
    let started = api
        .ask("3.0", "POST", &restore_of(&id), Some(body))
        .await
        .good(202);
    assert_eq!(
        started["restore"],
        json!({"backup_id": id, "volume_id": target, "volume_name": "v"})
    );
}

#[tokio::test]
async fn a_restore_target_must_be_free_and_large_enough() {
    let api = Api::new().await;
    let volume = api.volume(2).await;
    let id = api.backup(&volume, json!({})).await;
    let small = api.volume(1).await;
    let to = async |target: &str| {
        let body = json!({"restore": {"volume_id": target}});
        api.post(&restore_of(&id), body).await
    };
    assert_eq!(
        to(&small).await.fault(400, "badRequest"),
        "Invalid volume: volume size 1 is too small to restore backup of size 2."
    );
    api.reset_volume(&volume, "in-use").await;
    assert_eq!(
        to(&volume).await.fault(400, "badRequest"),
        "Invalid volume: Volume to be restored to must be available"
    );
    assert_eq!(
        to(NOBODY).await.fault(404, "itemNotFound"),
        format!("Volume {NOBODY} could not be found.")
    );
    to("no uuid").await.fault(400, "badRequest");
    for body in [
        json!({"restore": null}),
        json!({"restore": {"size": 1}}),
        json!({}),
    ] {
        api.post(&restore_of(&id), body)
            .await
            .fault(400, "badRequest");
    }
    assert_eq!(api.backup_status(&id).await, "available");
}

#[tokio::test]
async fn a_new_volume_counts_against_the_quota_of_volumes() {
    let api = Api::without_workers(|settings| settings.quota.volumes = 1).await;
    api.worker_appears("nova").await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let answer = api.post(&restore_of(&id), json!({"restore": {}})).await;
    assert_eq!(
        answer.fault(413, "overLimit"),
        "Maximum number of volumes allowed (1) exceeded for quota 'volumes'."
    );
}

#[tokio::test]
async fn a_cancelled_restore_leaves_the_backup_as_it_was() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let started = api
        .post(&restore_of(&id), json!({"restore": {}}))
        .await
        .good(202);
    let target = text(&started["restore"]["volume_id"]);
    let path = format!("/v3/backups/{id}/action");
    assert_eq!(
        api.post(&path, json!({"emberkeep:cancel": {}}))
            .await
            .status,
        202
    );
    assert_eq!(api.backup_status(&id).await, "available");
    assert_eq!(api.volume_status(&target).await, "error");
}

#[tokio::test]
async fn a_volume_can_be_created_from_a_backup() {
    let api = Api::new().await;
    let volume = api.volume(2).await;
    let id = api.backup(&volume, json!({})).await;
    let create = async |version: &str, size: Value| {
        let body = json!({"volume": {"size": size, "name": "fb", "backup_id": id}});
        api.ask(version, "POST", "/v3/volumes", Some(body)).await
    };
    create("3.46", json!(2)).await.fault(400, "badRequest");
    create("3.47", json!(1)).await.fault(400, "badRequest");
    create("3.47", json!(3)).await.fault(400, "badRequest");
    let created = create("3.47", json!(2)).await.good(202);
    assert_eq!(created["volume"]["name"], "fb");
    assert_eq!(created["volume"]["description"], Value::Null);
    assert_eq!(api.backup_status(&id).await, "restoring");
}
