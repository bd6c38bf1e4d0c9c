//! Snapshots and metadata with both clients.

use common::domain::{BackupId, BackupStatus, SnapshotId, SnapshotStatus, VolumeId, VolumeStatus};
use harness::TestStack;
use serde_json::{Value, json};

use crate::cli::{Cli, id, programs};

/// A member that must be a text.
#[track_caller]
fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    let text = value[member].as_str();
    text.unwrap_or_else(|| panic!("no text `{member}` in {value}"))
}

#[test]
fn the_snapshot_verbs_of_both_clients_are_those_that_are_tested_here() {
    let bin = programs();
    let said = Cli::with(&bin, "openstack", vec![]).run("help volume snapshot");
    let said = said.succeeds();
    let verbs: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  volume snapshot "))
        .collect();
    assert_eq!(verbs, ["create", "delete", "list", "set", "show", "unset"]);

    let said = Cli::with(&bin, "cinder", vec![]).run("help").succeeds();
    let verbs: Vec<_> = said
        .lines()
        .filter_map(|line| line.trim().split(' ').next()?.strip_prefix("snapshot-"))
        .collect();
    let tested = [
        "create",
        "delete",
        "list",
        "manage",
        "manageable-list",
        "metadata",
        "metadata-show",
        "metadata-update-all",
        "rename",
        "reset-state",
        "show",
        "unmanage",
    ];
    assert_eq!(verbs, tested);
}

#[tokio::test]
async fn every_snapshot_verb_of_openstack_that_makes_shows_or_changes_does_its_deed() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let run = |line: &str| openstack.run(line).succeeds();
    let volume = api.create_volume(1).await;

    // create
    let created = openstack.json(&format!(
        "volume snapshot create --volume {volume} --description one --property k=v osnap"
    ));
    assert_eq!(text(&created, "name"), "osnap");
    assert_eq!(text(&created, "volume_id"), volume.to_string());
    assert_eq!(created["size"], 1);
    let snapshot: SnapshotId = id(text(&created, "id"));
    api.until_snapshot(snapshot, SnapshotStatus::Available)
        .await;

    // list, set, unset, show
    let list = openstack.json(&format!(
        "volume snapshot list --long --name osnap --volume {volume}"
    ));
    assert_eq!(list[0]["ID"], snapshot.to_string());
    assert_eq!(list[0]["Status"], "available");
    assert_eq!(list[0]["Properties"], json!({"k": "v"}));
    run("volume snapshot set --name osnap2 --description two --property a=b --state error osnap");
    run("volume snapshot unset --property k osnap2");
    let none = openstack.json("volume snapshot list --status available");
    assert_eq!(none, json!([]));
    let shown = openstack.json("volume snapshot show osnap2");
    assert_eq!(text(&shown, "description"), "two");
    assert_eq!(shown["properties"], json!({"a": "b"}));
    assert_eq!(text(&shown, "status"), "error");
    run("volume snapshot set --no-property --state available osnap2");
    let shown = api.until_snapshot(snapshot, SnapshotStatus::Available);
    assert!(shown.await.metadata.is_empty());

    // What is made from it.
    let line = format!("volume backup create --name ob --snapshot osnap2 {volume}");
    let backup: BackupId = id(text(&openstack.json(&line), "id"));
    let told = api.until_backup(backup, BackupStatus::Available).await;
    assert_eq!(told.snapshot_id, Some(snapshot.to_string()));
    let created = openstack.json("volume create --snapshot osnap2 os-copy");
    assert_eq!(text(&created, "snapshot_id"), snapshot.to_string());
    let copy: VolumeId = id(text(&created, "id"));
    api.until_volume(copy, VolumeStatus::Available).await;
    openstack
        .run("volume snapshot show no-such-snapshot")
        .fails("no-such-snapshot");
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn openstack_deletes_snapshots_by_themselves_and_with_their_volume() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let run = |line: String| openstack.run(&line).succeeds();
    let volume = api.create_volume(1).await;
    let snapshot = api.take_snapshot(volume).await;
    openstack
        .run(&format!("volume delete {volume}"))
        .fails("have snapshots");
    run(format!("volume snapshot delete {snapshot}"));
    api.until_snapshot_is_gone(snapshot).await;
    let line = format!("volume snapshot create --volume {volume} --force other");
    let other: SnapshotId = id(text(&openstack.json(&line), "id"));
    api.until_snapshot(other, SnapshotStatus::Available).await;
    run("volume snapshot delete --force other".to_owned());
    api.until_snapshot_is_gone(other).await;
    let last = api.take_snapshot(volume).await;
    run(format!("volume delete --purge {volume}"));
    api.until_snapshot_is_gone(last).await;
    api.until_no_volume(volume).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn every_snapshot_verb_of_cinder_does_its_deed() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let cinder = Cli::cinder(&bin, &stack);
    let run = |line: &str| cinder.run(line).succeeds();
    let volume = api.create_volume(1).await;

    // create
    let line = format!("snapshot-create --name csnap --description one --metadata k=v {volume}");
    let created = run(&line).properties();
    assert_eq!(created["name"], "csnap");
    assert_eq!(created["volume_id"], volume.to_string());
    let snapshot: SnapshotId = id(&created["id"]);
    api.until_snapshot(snapshot, SnapshotStatus::Available)
        .await;

    // list, show
    let list = run(&format!("snapshot-list --volume-id {volume} --name csnap")).rows();
    assert_eq!(list[0]["ID"], snapshot.to_string());
    assert_eq!(list[0]["Status"], "available");
    let shown = run("snapshot-show csnap").properties();
    assert_eq!(shown["os-extended-snapshot-attributes:progress"], "100%");

    // rename, metadata, reset-state
    run("snapshot-rename --description two csnap csnap2");
    run("snapshot-metadata csnap2 set a=b");
    run("snapshot-metadata csnap2 unset k");
    run("snapshot-metadata-show csnap2").says("| a ");
    let shown = api.until_snapshot(snapshot, SnapshotStatus::Available);
    let shown = shown.await;
    assert_eq!(shown.name.as_deref(), Some("csnap2"));
    assert_eq!(shown.description.as_deref(), Some("two"));
    let pairs: Vec<_> = shown.metadata.into_iter().collect();
    assert_eq!(pairs, [("a".to_owned(), "b".to_owned())]);
    run("snapshot-metadata-update-all csnap2 z=y").says("{'z': 'y'}");
    run("snapshot-reset-state --state error csnap2");
    assert_eq!(run("snapshot-show csnap2").properties()["status"], "error");
    run("snapshot-reset-state csnap2");

    // What is made from it.
    let line = format!("backup-create --name cb --snapshot-id {snapshot} {volume}");
    let backup: BackupId = id(&run(&line).properties()["id"]);
    let told = api.until_backup(backup, BackupStatus::Available).await;
    assert_eq!(told.snapshot_id, Some(snapshot.to_string()));
    let line = format!("create --snapshot-id {snapshot} --name ccopy");
    let created = run(&line).properties();
    assert_eq!(created["snapshot_id"], snapshot.to_string());
    let copy: VolumeId = id(&created["id"]);
    api.until_volume(copy, VolumeStatus::Available).await;

    // What is not offered ends in a message.
    for line in [
        format!("snapshot-manage {volume} some-file"),
        "snapshot-manageable-list somewhere".to_owned(),
        "snapshot-unmanage csnap2".to_owned(),
    ] {
        cinder.run(&line).fails("ERROR");
    }

    // delete
    cinder
        .run(&format!("delete {volume}"))
        .fails("have snapshots");
    run("snapshot-delete csnap2");
    api.until_snapshot_is_gone(snapshot).await;
    let other = api.take_snapshot(volume).await;
    run(&format!("snapshot-delete --force {other}"));
    api.until_snapshot_is_gone(other).await;
    let last = api.take_snapshot(volume).await;
    run(&format!("delete --cascade {volume}"));
    api.until_snapshot_is_gone(last).await;
    api.until_no_volume(volume).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn both_clients_change_a_volumes_metadata_pair_by_pair() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let cinder = Cli::cinder(&bin, &stack);
    let volume = api.create_volume(1).await;
    let pairs = async || {
        let pairs = api.volume(volume).await.metadata.into_iter();
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(" ")
    };
    let run = |line: String| openstack.run(&line).succeeds();
    run(format!("volume set --property a=b --property c=d {volume}"));
    assert_eq!(pairs().await, "a=b c=d");
    run(format!("volume unset --property a {volume}"));
    assert_eq!(pairs().await, "c=d");
    run(format!("volume set --no-property --property e=f {volume}"));
    assert_eq!(pairs().await, "e=f");

    let run = |line: String| cinder.run(&line).succeeds();
    run(format!("metadata {volume} set g=h"));
    run(format!("metadata-show {volume}")).says("| g ");
    run(format!("metadata {volume} unset e"));
    assert_eq!(pairs().await, "g=h");
    run(format!("metadata-update-all {volume} only=1"));
    assert_eq!(pairs().await, "only=1");
    run(format!("force-delete {volume}"));
    api.until_no_volume(volume).await;
}
