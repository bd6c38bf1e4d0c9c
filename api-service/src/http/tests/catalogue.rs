use super::*;

#[tokio::test]
async fn there_is_one_volume_type() {
    let api = Api::new().await;
    let types = api.get("/v3/types?is_public=None").await.good(200);
    let theirs = recorded("other.types");
    assert_same_shape(&types["volume_types"][0], &theirs["volume_types"][0]);
    let name = text(&types["volume_types"][0]["name"]);
    let by_default = api.get("/v3/types/default").await.good(200);
    assert_eq!(by_default["volume_type"]["name"], name);
    assert_eq!(api.get(&format!("/v3/types/{name}")).await.status, 200);
    api.get("/v3/types/gold").await.fault(404, "itemNotFound");
}

#[tokio::test]
async fn workers_are_services_in_zones() {
    let api = Api::new().await;
    let services = api.get("/v3/os-services").await.good(200);
    let services = services["services"].as_array().unwrap();
    assert_eq!(services.len(), 2);
    let theirs = recorded("other.services-admin");
    assert_same_shape(&services[1], &theirs["services"][2]);
    assert_eq!(services[1]["binary"], "cinder-backup");
    assert_eq!(services[1]["host"], "worker-1");
    assert_eq!(services[1]["state"], "up");
    let volumes = api
        .get("/v3/os-services?binary=cinder-volume")
        .await
        .good(200);
    assert_eq!(volumes["services"].as_array().unwrap().len(), 1);
    assert_eq!(volumes["services"][0]["host"], "worker-1@fast");
    let zones = api.get("/v3/os-availability-zone").await.good(200);
    assert_eq!(zones, recorded("other.az"));
}

#[tokio::test]
async fn limits_and_quotas_count_what_there_is() {
    let api = Api::new().await;
    let volume = api.volume(2).await;
    api.backup(&volume, json!({})).await;
    let limits = api.get("/v3/limits").await.good(200);
    let absolute = &limits["limits"]["absolute"];
    assert_same_shape(absolute, &recorded("limits.absolute")["limits"]["absolute"]);
    assert_eq!(absolute["totalBackupGigabytesUsed"], 2);
    assert_eq!(absolute["totalVolumesUsed"], 1);
    let project = &api.state.settings.auth.default_project;
    let path = format!("/v3/os-quota-sets/{project}");
    let quota = api.get(&format!("{path}?usage=True")).await.good(200);
    assert_eq!(
        quota["quota_set"]["backups"],
        json!({"limit": 10, "in_use": 1, "reserved": 0})
    );
    let body = json!({"quota_set": {"backups": 7, "tenant_id": project}});
    let updated = api.put(&path, body).await.good(200);
    assert_eq!(updated["quota_set"]["backups"], 7);
    let quota = api.get(&path).await.good(200);
    assert_eq!(quota["quota_set"]["backups"], 7);
    assert_eq!(quota["quota_set"]["gigabytes"], 1000);
    let body = json!({"quota_set": {"backups": -2}});
    api.put(&path, body).await.fault(400, "badRequest");
}

#[tokio::test]
async fn clients_learn_what_lists_can_be_filtered_by() {
    let api = Api::new().await;
    let filters = api
        .get("/v3/resource_filters?resource=backup")
        .await
        .good(200);
    assert_eq!(
        filters,
        json!({"resource_filters": [
            {"resource": "backup", "filters": ["name", "status", "volume_id"]}]})
    );
    let before = api.ask("3.32", "GET", "/v3/resource_filters", None).await;
    before.fault(404, "itemNotFound");
    let extensions = api.get("/v3/extensions").await.good(200);
    assert!(extensions["extensions"].as_array().is_some());
}
