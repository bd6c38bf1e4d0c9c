//! Records of backups: given away, and taken in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const POSIX: &str = "cinder.backup.drivers.posix.PosixBackupDriver";

async fn exported(api: &Api, id: &str) -> Value {
    let path = format!("/v3/backups/{id}/export_record");
    // Clients name no version here.
    let answer = api.ask("3.0", "GET", &path, None).await.good(200);
    assert_same_shape(&answer, &recorded("export.admin"));
    answer["backup-record"].clone()
}

fn opened(record: &Value) -> Value {
    let bytes = STANDARD.decode(text(&record["backup_url"])).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn sealed(record: &Value, service: &str) -> Value {
    let url = STANDARD.encode(record.to_string());
    json!({"backup-record": {"backup_service": service, "backup_url": url}})
}

async fn import(api: &Api, record: &Value, service: &str) -> Answer {
    let body = sealed(record, service);
    api.ask("3.0", "POST", "/v3/backups/import_record", Some(body))
        .await
}

#[tokio::test]
async fn a_record_has_every_column_of_the_reference() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let parent = api.backup(&volume, json!({})).await;
    let more = json!({"incremental": true, "name": "n", "metadata": {"k": "v"}});
    let id = api.backup(&volume, more).await;
    let record = exported(&api, &id).await;
    assert_eq!(record["backup_service"], POSIX);
    let record = opened(&record);
    let theirs = opened(&recorded("export.admin")["backup-record"]);
    assert_same_shape(&record, &theirs);
    assert_eq!(record["id"], id);
    assert_eq!(record["parent_id"], parent);
    assert_eq!(record["display_name"], "n");
    assert_eq!(record["metadata"], json!({"k": "v"}));
    assert_eq!(
        text(&record["created_at"]).len(),
        "2026-11-22T06:34:23Z".len()
    );
    let prefix = text(&record["service_metadata"]);
    assert!(prefix.ends_with(&format!("_backup_{id}")), "{prefix}");
}

#[tokio::test]
async fn only_an_available_backup_can_be_exported() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.creating_backup(&volume, json!({})).await;
    let answer = api.get(&format!("/v3/backups/{id}/export_record")).await;
    assert_eq!(
        answer.fault(400, "badRequest"),
        "Invalid backup: Backup status must be available and not error."
    );
    let answer = api
        .get(&format!("/v3/backups/{NOBODY}/export_record"))
        .await;
    answer.fault(404, "itemNotFound");
}

#[tokio::test]
async fn a_record_imports_under_another_id() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({"name": "n"})).await;
    let mut record = opened(&exported(&api, &id).await);
    record["id"] = json!(NOBODY);
    let answer = import(&api, &record, POSIX).await.good(201);
    assert_same_shape(&answer["backup"], &recorded("import.new-id")["backup"]);
    assert_eq!(answer["backup"]["id"], NOBODY);
    assert_eq!(answer["backup"]["name"], Value::Null);
    let shown = api.get(&format!("/v3/backups/{NOBODY}")).await.good(200);
    assert_eq!(shown["backup"]["status"], "available");
    assert_eq!(shown["backup"]["name"], "n");
    assert_eq!(shown["backup"]["volume_id"], volume);
    // And its own record imports as well.
    let mut record = opened(&exported(&api, NOBODY).await);
    record["id"] = json!("11111111-2222-4333-8444-666666666666");
    import(&api, &record, POSIX).await.good(201);
}

#[tokio::test]
async fn what_is_no_record_is_refused() {
    let api = Api::new().await;
    let path = "/v3/backups/import_record";
    let good = json!({"id": NOBODY, "size": 1});
    for (body, said) in [
        (
            json!({"backup-record": {"backup_service": POSIX, "backup_url": "@@@"}}),
            "backup_url. Value: @@@. '@@@' is not a 'base64'",
        ),
        (
            json!({"backup-record": {"backup_service": POSIX, "backup_url": ""}}),
            "backup_url",
        ),
        (
            json!({"backup-record": {"backup_service": "", "backup_url": "e30="}}),
            "backup_service",
        ),
        (
            json!({"backup-record": {"backup_service": "x".repeat(256), "backup_url": "e30="}}),
            "is too long",
        ),
        (
            json!({"backup-record": {"backup_url": "e30="}}),
            "'backup_service' is a required property",
        ),
        (
            json!({"backup-record": {"backup_service": 7, "backup_url": "e30="}}),
            "backup_service",
        ),
        (json!({"backup-record": null}), "backup-record"),
        (json!({}), "'backup-record' is a required property"),
        (
            json!({"backup-record": {"backup_service": POSIX, "backup_url": "bm8="}}),
            "Invalid input received: Can't parse backup record.",
        ),
        (
            sealed(&json!({"size": 1}), POSIX),
            "Invalid input received: Provided backup record is missing an id",
        ),
        (
            sealed(&json!({"id": NOBODY}), POSIX),
            "Invalid input received: Provided backup record is missing size attribute",
        ),
        (
            sealed(&json!({"id": "not-a-uuid", "size": 1}), POSIX),
            "id is no UUID",
        ),
        (sealed(&good, POSIX), "missing container attribute"),
    ] {
        let answer = api.post(path, body).await;
        let message = answer.fault(400, "badRequest");
        assert!(message.contains(said), "`{message}` is not `{said}`");
    }
}

#[tokio::test]
async fn an_id_that_is_there_is_refused_and_a_deleted_one_revived() {
    let api = Api::new().await;
    let volume = api.volume(1).await;
    let id = api.backup(&volume, json!({})).await;
    let record = opened(&exported(&api, &id).await);
    assert_eq!(
        import(&api, &record, POSIX).await.fault(400, "badRequest"),
        "Invalid backup: Backup already exists in database."
    );
    let path = format!("/v3/backups/{id}");
    assert_eq!(api.delete(&path).await.status, 202);
    let copy = {
        let mut copy = record.clone();
        copy["id"] = json!(NOBODY);
        copy
    };
    let refused = import(&api, &copy, POSIX).await;
    assert!(
        refused
            .fault(400, "badRequest")
            .contains("names the same data")
    );
    api.backup_job_ends(&id, Outcome::Deleted).await;
    assert_eq!(api.get(&path).await.status, 404);
    import(&api, &record, POSIX).await.good(201);
    assert_eq!(api.backup_status(&id).await, "available");
}

#[tokio::test]
async fn a_driver_that_nobody_serves_is_accepted_and_ends_in_error() {
    let api = Api::new().await;
    let record = json!({"id": NOBODY, "size": 1});
    let swift = "cinder.backup.drivers.swift.SwiftBackupDriver";
    import(&api, &record, swift).await.good(201);
    let shown = api.get(&format!("/v3/backups/{NOBODY}")).await.good(200);
    assert_eq!(shown["backup"]["status"], "error");
    assert_eq!(
        shown["backup"]["volume_id"],
        "00000000-0000-0000-0000-000000000000"
    );
    assert!(text(&shown["backup"]["fail_reason"]).contains(swift));
}

#[tokio::test]
async fn without_any_worker_nothing_is_imported() {
    let api = Api::without_workers(|_| {}).await;
    let answer = import(&api, &json!({"id": NOBODY, "size": 1}), "x.Driver").await;
    assert_eq!(
        answer.fault(503, "serviceUnavailable"),
        "Service x.Driver could not be found."
    );
}
