//! What goes wrong on the clients' side, as their users see it; `docs/clients.md` says what to do instead.

use common::domain::{BackupId, BackupStatus};
use harness::TestStack;

use crate::cli::{Cli, PROJECT, programs};

#[tokio::test]
async fn a_cinder_client_that_is_told_too_little_asks_nothing() {
    let bin = programs();
    let stack = TestStack::start().await;
    let base = stack.api().base();
    // Its plug-in reads CINDER_ENDPOINT, not OS_ENDPOINT.
    let environment = vec![
        ("OS_AUTH_TYPE", "noauth".to_owned()),
        ("OS_USER_ID", "tester".to_owned()),
        ("OS_PROJECT_ID", PROJECT.to_owned()),
        ("OS_ENDPOINT", format!("{base}/v3")),
    ];
    let cinder = Cli::with(&bin, "cinder", environment);
    cinder
        .run("backup-list")
        .fails("Cannot determine API version.");
    let options = format!(
        "--os-auth-type noauth --os-user-id tester --os-project-id {PROJECT} \
         --os-endpoint {base}/v3"
    );
    let cinder = Cli::with(&bin, "cinder", vec![]);
    let list = cinder.run(&format!("{options} backup-list")).succeeds();
    assert!(list.rows().is_empty());
}

#[tokio::test]
async fn an_openstack_client_that_is_told_too_little_looks_for_an_identity_service() {
    let bin = programs();
    let stack = TestStack::start().await;
    let endpoint = format!("{}/v3", stack.api().base());
    let environment = vec![
        ("OS_AUTH_TYPE", "none".to_owned()),
        ("OS_BLOCK_STORAGE_ENDPOINT_OVERRIDE", endpoint),
    ];
    let openstack = Cli::with(&bin, "openstack", environment);
    openstack.run("volume backup list").fails("");
    let openstack = Cli::openstack(&bin, &stack);
    openstack.run("quota show --volume").fails("");
    openstack
        .run("versions show --service block-storage")
        .fails("");
}

#[tokio::test]
async fn what_openstack_gets_wrong_about_backups_ends_in_a_message_and_harms_nothing() {
    let bin = programs();
    let stack = TestStack::start().await;
    let api = stack.api();
    let openstack = Cli::openstack(&bin, &stack);
    let volume = api.create_volume(1).await;
    let mut ids: Vec<BackupId> = Vec::new();
    for _ in 0..3 {
        ids.push(api.back_up(volume).await.id);
    }
    let id = ids[0];

    // The record never leaves the client.
    let record = api.export(id).await;
    openstack
        .run(&format!(
            "volume backup record import {} {}",
            record.service,
            record.url()
        ))
        .fails("404");

    // It removes the properties that should stay, through an address that no service has.
    openstack
        .run(&format!(
            "volume backup set --property a=1 --property b=2 {id}"
        ))
        .succeeds();
    openstack
        .run(&format!("volume backup unset --property a {id}"))
        .fails("404");
    assert_eq!(api.backup(id).await.metadata.len(), 2);

    // It wants a name for the new volume.
    openstack
        .run(&format!("volume backup restore {id}"))
        .fails("");
    assert_eq!(api.backup(id).await.status, BackupStatus::Available);
    assert_eq!(api.volumes().await.len(), 1);

    // A limit is the size of its pages; only --max-items bounds the list.
    let count = |line: &str| openstack.json(line).as_array().map(Vec::len);
    assert_eq!(count("volume backup list --limit 1"), Some(3));
    assert_eq!(count("volume backup list --limit 1 --max-items 2"), Some(2));
}
