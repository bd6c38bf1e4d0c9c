//! `cinder …`, with its own plug-in for no authentication.

use common::domain::{BackupId, BackupStatus, VolumeId, VolumeStatus};
use harness::TestStack;

use crate::cli::{Cli, PROJECT, Said, id, programs};

/// The values of a column of a printed table.
fn column(said: &Said, head: &str) -> Vec<String> {
    let rows = said.rows().into_iter();
    rows.map(|row| row[head].clone()).collect()
}

#[test]
fn the_backup_verbs_of_cinder_are_those_that_are_tested_here() {
    let cinder = Cli::with(&programs(), "cinder", vec![]);
    let said = cinder.run("help").succeeds();
    let verbs: Vec<_> = said
        .lines()
        .filter_map(|line| line.trim().split(' ').next()?.strip_prefix("backup-"))
        .collect();
    let tested = [
        "create",
        "delete",
        "export",
        "import",
        "list",
        "reset-state",
        "restore",
        "show",
        "update",
    ];
    assert_eq!(verbs, tested);
}

#[tokio::test]
async fn cinder_shows_what_is_around_volumes() {
    let bin = programs();
    let stack = TestStack::start().await;
    let cinder = Cli::cinder(&bin, &stack);
    let run = |line: &str| cinder.run(line).succeeds();

    assert_eq!(column(&run("version-list"), "Version"), ["3.71"]);
    let created = run("create --name cli-vol --metadata a=b -- 1").properties();
    assert_eq!(created["name"], "cli-vol");
    assert_eq!(created["metadata"], "{'a': 'b'}");
    assert_eq!(created["os-vol-tenant-attr:tenant_id"], PROJECT);
    let volume: VolumeId = id(&created["id"]);
    stack
        .api()
        .until_volume(volume, VolumeStatus::Available)
        .await;
    let list = run("list");
    assert_eq!(column(&list, "ID"), [volume.to_string()]);
    assert_eq!(column(&list, "Status"), ["available"]);
    assert_eq!(run("show cli-vol").properties()["id"], volume.to_string());
    run("rename cli-vol cli-vol2");
    assert_eq!(run("show cli-vol2").properties()["size"], "1");
    assert_eq!(column(&run("type-list"), "Name"), ["__DEFAULT__"]);
    assert_eq!(run("type-default").rows().len(), 1);
    assert_eq!(
        run("type-show __DEFAULT__").properties()["name"],
        "__DEFAULT__"
    );
    let extensions = run("list-extensions");
    assert!(column(&extensions, "Alias").contains(&"backups".to_owned()));
    let services = run("service-list");
    assert!(column(&services, "Binary").contains(&"cinder-backup".to_owned()));
    assert_eq!(
        column(&run("availability-zone-list"), "Status"),
        ["available"]
    );
    let limits = run("absolute-limits").rows();
    let used = limits.iter().find(|row| row["Name"] == "totalVolumesUsed");
    assert_eq!(used.expect("a line")["Value"], "1");
    run(&format!("quota-update --backups 7 {PROJECT}"));
    assert_eq!(
        run(&format!("quota-show {PROJECT}")).properties()["backups"],
        "7"
    );
    let usage = run(&format!("quota-usage {PROJECT}")).rows();
    let volumes = usage.iter().find(|row| row["Type"] == "volumes");
    assert_eq!(volumes.expect("a line")["In_use"], "1");
    let filters = run("list-filters --resource backup");
    assert_eq!(column(&filters, "Filters"), ["name, status, volume_id"]);
    run("snapshot-list");
    run("reset-state --state error cli-vol2");
    assert_eq!(column(&run("list"), "Status"), ["error"]);
    assert_eq!(
        column(&run("list --name cli-vol2 --limit 1"), "Name"),
        ["cli-vol2"]
    );
    run("delete cli-vol2");
    stack.api().until_no_volume(volume).await;
    assert!(run("list").rows().is_empty());
}

#[tokio::test]
async fn both_clients_take_over_a_file_as_a_volume() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    for name in ["a.raw", "b.raw"] {
        std::fs::write(stack.file_to_manage(name), [1; 1 << 16]).expect("a file can be written");
    }
    let cinder = Cli::cinder(&bin, &stack);
    let managed = cinder.run("manage --name taken emberkeep@main a.raw");
    let managed = managed.succeeds().properties();
    assert_eq!(managed["name"], "taken");
    let first: VolumeId = id(&managed["id"]);
    let openstack = Cli::openstack(&bin, &stack);
    let managed = openstack
        .json("volume create --remote-source source-name=b.raw --host emberkeep@main taken-too");
    assert_eq!(managed["name"], "taken-too");
    let second: VolumeId = id(managed["id"].as_str().expect("an id"));
    for volume in [first, second] {
        api.until_volume(volume, VolumeStatus::Available).await;
        api.back_up(volume).await;
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn every_backup_verb_of_cinder_does_its_deed() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let cinder = Cli::cinder(&bin, &stack);
    let run = |line: &str| cinder.run(line).succeeds();
    let volume = api.create_volume(1).await;

    // backup-create
    let created = run(&format!(
        "backup-create --name cb1 --description first --metadata k=v --container cont1 \
         --availability-zone nova {volume}"
    ))
    .properties();
    assert_eq!(created["name"], "cb1");
    assert_eq!(created["volume_id"], volume.to_string());
    let full: BackupId = id(&created["id"]);
    api.until_backup(full, BackupStatus::Available).await;
    let created = run(&format!("backup-create --name cb2 --incremental {volume}")).properties();
    let incremental: BackupId = id(&created["id"]);
    api.until_backup(incremental, BackupStatus::Available).await;

    // backup-list; without --sort the client orders by its first column, the id, and ours grow with time
    assert_eq!(column(&run("backup-list"), "Name"), ["cb1", "cb2"]);
    let list = run("backup-list --limit 1 --sort created_at:asc");
    assert_eq!(column(&list, "Name"), ["cb1"]);
    let list = run(&format!("backup-list --marker {incremental}"));
    assert_eq!(column(&list, "Name"), ["cb1"]);
    let list = run(&format!(
        "backup-list --name cb2 --status available --volume-id {volume} --all-tenants 1"
    ));
    assert_eq!(column(&list, "ID"), [incremental.to_string()]);
    run("backup-list --with-count").says("Backup in total: 2");
    let list = cinder.run("--os-volume-api-version 3.0 backup-list");
    assert_eq!(list.succeeds().rows().len(), 2);

    // backup-show, backup-update
    let shown = run("backup-show cb1").properties();
    assert_eq!(shown["id"], full.to_string());
    assert_eq!(shown["container"], "cont1");
    assert_eq!(shown["has_dependent_backups"], "True");
    assert_eq!(shown["metadata"], "{'k': 'v'}");
    cinder.run("backup-show no-such-name").fails("no-such-name");
    run(&format!(
        "backup-update --name cb1x --description changed --metadata z=1 {full}"
    ));
    let changed = api.backup(full).await;
    assert_eq!(changed.name.as_deref(), Some("cb1x"));
    assert_eq!(changed.metadata["z"], "1");

    // backup-restore
    let restored = run(&format!("backup-restore {incremental}")).properties();
    assert_eq!(
        restored["volume_name"],
        format!("restore_backup_{incremental}")
    );
    let target: VolumeId = id(&restored["volume_id"]);
    api.until_volume(target, VolumeStatus::Available).await;
    api.until_backup(incremental, BackupStatus::Available).await;
    let restored = run("backup-restore --name cli-restored cb2").properties();
    assert_eq!(restored["volume_name"], "cli-restored");
    let target = id(&restored["volume_id"]);
    api.until_volume(target, VolumeStatus::Available).await;
    api.until_backup(incremental, BackupStatus::Available).await;
    let restored = run(&format!("backup-restore --volume {volume} cb2")).properties();
    assert_eq!(restored["volume_id"], volume.to_string());
    api.until_volume(volume, VolumeStatus::Available).await;
    api.until_backup(incremental, BackupStatus::Available).await;

    // backup-export, backup-import
    let exported = run(&format!("backup-export {incremental}")).properties();
    let service = &exported["backup_service"];
    assert!(service.starts_with("cinder.backup.drivers"), "{service}");
    cinder
        .run(&format!(
            "backup-import {service} {}",
            exported["backup_url"]
        ))
        .fails("Backup already exists in database.");
    let record = api.export(incremental).await;
    assert_eq!(exported["backup_url"], record.url());
    let copy = BackupId::new();
    let url = record.with("id", copy.to_string()).url();
    let imported = run(&format!("backup-import {service} {url}")).properties();
    assert_eq!(imported["id"], copy.to_string());
    api.until_backup(copy, BackupStatus::Available).await;

    // backup-reset-state, backup-delete
    run(&format!("backup-reset-state --state error {copy}"));
    api.until_backup(copy, BackupStatus::Error).await;
    cinder.run(&format!("backup-delete {full}")).fails("");
    run(&format!("backup-delete {copy} {incremental}"));
    api.until_gone(copy).await;
    api.until_gone(incremental).await;
    run(&format!("backup-delete --force {full}"));
    api.until_gone(full).await;
    stack.assert_nothing_left_behind().await;
}
