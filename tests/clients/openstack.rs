//! `openstack volume …` and what belongs to it.

use common::domain::{BackupId, BackupStatus, VolumeId, VolumeStatus};
use harness::TestStack;
use serde_json::Value;

use crate::cli::{Cli, PROJECT, id, programs};

/// A member that must be a text.
#[track_caller]
fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    let text = value[member].as_str();
    text.unwrap_or_else(|| panic!("no text `{member}` in {value}"))
}

/// The values of a column of a list.
fn column<'v>(list: &'v Value, head: &str) -> Vec<&'v str> {
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| text(row, head)).collect()
}

#[tokio::test]
async fn every_way_to_name_the_endpoint_works() {
    let bin = programs();
    let stack = TestStack::start().await;
    let openstack = Cli::with(&bin, "openstack", vec![]);
    let base = stack.api().base();
    for options in [
        format!("--os-auth-type none --os-endpoint {base}/v3"),
        format!("--os-auth-type none --os-endpoint {base}"),
        // Its requests name the project, which wins over the default one.
        format!("--os-auth-type none --os-endpoint {base}/v3/{PROJECT}"),
        format!("--os-auth-type admin_token --os-endpoint {base}/v3 --os-token tester:{PROJECT}"),
    ] {
        let list = openstack.json(&format!("{options} volume backup list"));
        assert_eq!(list, Value::Array(vec![]));
    }
}

#[test]
fn the_backup_verbs_of_openstack_are_those_that_are_tested_here() {
    let openstack = Cli::with(&programs(), "openstack", vec![]);
    let said = openstack.run("help volume backup").succeeds();
    let verbs: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  volume backup "))
        .collect();
    let tested = [
        "create",
        "delete",
        "list",
        "record export",
        "record import",
        "restore",
        "set",
        "show",
        "unset",
    ];
    assert_eq!(verbs, tested);
}

#[tokio::test]
async fn openstack_shows_what_is_around_volumes() {
    let bin = programs();
    let stack = TestStack::start().await;
    let openstack = Cli::openstack(&bin, &stack);

    let volume = openstack.json("volume create --size 1 --property p=q os-vol");
    assert_eq!(
        (text(&volume, "name"), &volume["size"]),
        ("os-vol", &1.into())
    );
    let volume: VolumeId = id(text(&volume, "id"));
    stack
        .api()
        .until_volume(volume, VolumeStatus::Available)
        .await;
    let list = openstack.json("volume list");
    assert_eq!(column(&list, "Name"), ["os-vol"]);
    assert_eq!(column(&list, "Status"), ["available"]);
    let shown = openstack.json("volume show os-vol");
    assert_eq!(shown["properties"]["p"], "q");
    assert_eq!(text(&shown, "id"), volume.to_string());
    openstack
        .run("volume set --name os-vol2 --description changed os-vol")
        .succeeds();
    let shown = openstack.json(&format!("volume show {volume}"));
    assert_eq!(text(&shown, "name"), "os-vol2");
    assert_eq!(text(&shown, "description"), "changed");

    let types = openstack.json("volume type list");
    assert_eq!(column(&types, "Name"), ["__DEFAULT__"]);
    let services = openstack.json("volume service list");
    assert!(column(&services, "Binary").contains(&"cinder-backup"));
    assert!(
        column(&services, "State")
            .iter()
            .all(|state| *state == "up")
    );
    let zones = openstack.json("availability zone list --volume");
    assert_eq!(column(&zones, "Zone Status"), ["available"]);
    let limits = openstack.json("limits show --absolute");
    let used = limits.as_array().expect("a list").iter();
    let used = used.filter(|row| text(row, "Name") == "total_volumes_used");
    assert_eq!(
        used.map(|row| &row["Value"]).collect::<Vec<_>>(),
        [&Value::from(1)]
    );
    assert_eq!(openstack.json("volume snapshot list"), Value::Array(vec![]));

    let kind = openstack.json("volume type show __DEFAULT__");
    assert_eq!(text(&kind, "name"), "__DEFAULT__");
    let filters = openstack.json("block storage resource filter list");
    assert!(column(&filters, "Resource").contains(&"backup"));
    let filters = openstack.json("block storage resource filter show backup");
    assert_eq!(
        filters["Filters"],
        serde_json::json!(["name", "status", "volume_id"])
    );
    let extensions = openstack.json("extension list --volume");
    assert!(column(&extensions, "Alias").contains(&"backups"));
    openstack.run("volume set --state error os-vol2").succeeds();
    assert_eq!(
        text(&openstack.json("volume show os-vol2"), "status"),
        "error"
    );
    openstack.run("volume delete os-vol2").succeeds();
    openstack
        .run("volume show no-such-volume")
        .fails("no-such-volume");
}

#[tokio::test]
async fn every_backup_verb_of_openstack_that_makes_shows_or_changes_does_its_deed() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let volume: VolumeId = id(text(&openstack.json("volume create --size 1 os-vol"), "id"));
    api.until_volume(volume, VolumeStatus::Available).await;

    // create
    let created = openstack.json(
        "volume backup create --name ob1 --description one --container oc1 --property x=y os-vol",
    );
    assert_eq!(text(&created, "name"), "ob1");
    assert_eq!(text(&created, "volume_id"), volume.to_string());
    let full: BackupId = id(text(&created, "id"));
    api.until_backup(full, BackupStatus::Available).await;
    let created = openstack.json("volume backup create --name ob2 --incremental --force os-vol");
    let incremental: BackupId = id(text(&created, "id"));
    api.until_backup(incremental, BackupStatus::Available).await;

    // list
    let list = openstack.json("volume backup list");
    assert_eq!(column(&list, "Name"), ["ob2", "ob1"]);
    assert_eq!(column(&list, "Status"), ["available", "available"]);
    let list = openstack.json("volume backup list --long --limit 1 --all-projects");
    assert_eq!(
        column(&list, "Name"),
        ["ob2", "ob1"],
        "it pages through all"
    );
    assert_eq!(
        column(&list, "Volume"),
        [volume.to_string(), volume.to_string()]
    );
    assert!(column(&list, "Container").contains(&"oc1"));
    let list = openstack.json("volume backup list --name ob2 --status available --volume os-vol");
    assert_eq!(column(&list, "ID"), [incremental.to_string()]);
    let list = openstack.json("volume backup list --marker ob2");
    assert_eq!(column(&list, "Name"), ["ob1"]);

    // show, set, unset
    let shown = openstack.json("volume backup show ob1");
    assert_eq!(text(&shown, "id"), full.to_string());
    assert_eq!(shown["has_dependent_backups"], true);
    assert_eq!(shown["is_incremental"], false);
    assert_eq!(text(&shown, "status"), "available");
    openstack
        .run(&format!(
            "volume backup set --name ob1x --description d2 --property new=1 {full}"
        ))
        .succeeds();
    let changed = api.backup(full).await;
    assert_eq!(changed.name.as_deref(), Some("ob1x"));
    assert_eq!(changed.description.as_deref(), Some("d2"));
    assert_eq!(changed.metadata["new"], "1");
    openstack
        .run(&format!(
            "volume backup set --no-property --property only=2 {full}"
        ))
        .succeeds();
    let changed = api.backup(full).await.metadata;
    assert_eq!(
        changed.into_iter().collect::<Vec<_>>(),
        [("only".to_owned(), "2".to_owned())]
    );
    // This client removes the properties that should stay, here none; see `faults`.
    openstack
        .run(&format!("volume backup unset --property only {full}"))
        .succeeds();
    openstack
        .run(&format!("volume backup set --state error {incremental}"))
        .succeeds();
    api.until_backup(incremental, BackupStatus::Error).await;
    openstack
        .run(&format!(
            "volume backup set --state available {incremental}"
        ))
        .succeeds();

    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn every_backup_verb_of_openstack_that_restores_exports_or_deletes_does_its_deed() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let volume = api.create_volume(1).await;
    let full = api.back_up(volume).await.id;
    let incremental = api.back_up_changes(volume).await.id;

    // restore; ids serve as names do
    let restored = openstack.json(&format!("volume backup restore {incremental} os-restored"));
    assert_eq!(text(&restored, "volume_name"), "os-restored");
    let target: VolumeId = id(text(&restored, "volume_id"));
    api.until_volume(target, VolumeStatus::Available).await;
    api.until_backup(incremental, BackupStatus::Available).await;
    let onto = format!("{incremental} {volume}");
    openstack
        .run(&format!("volume backup restore {onto}"))
        .fails("already exists");
    let restored = openstack.json(&format!("volume backup restore --force {onto}"));
    assert_eq!(text(&restored, "volume_id"), volume.to_string());
    api.until_volume(volume, VolumeStatus::Available).await;
    api.until_backup(incremental, BackupStatus::Available).await;

    // record export, record import
    let record = openstack.json(&format!("volume backup record export {full}"));
    assert!(text(&record, "backup_service").starts_with("cinder.backup.drivers"));
    let url = text(&record, "backup_url");
    assert_eq!(url, api.export(full).await.url());

    // delete
    openstack
        .run(&format!("volume backup delete {full}"))
        .fails("Incremental backups exist for this backup.");
    openstack
        .run(&format!("volume backup delete {incremental}"))
        .succeeds();
    api.until_gone(incremental).await;
    openstack
        .run(&format!("volume backup delete --force {full}"))
        .succeeds();
    api.until_gone(full).await;
    stack.assert_nothing_left_behind().await;
}
