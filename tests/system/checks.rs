//! `check-config` of both programs: what they find, and that they leave nothing.

use harness::{Process, TestStack};

fn is_well(printed: &str) {
    assert!(
        !printed.is_empty() && printed.lines().all(|line| line.starts_with("ok ")),
        "{printed}"
    );
}

/// The one line about something that is not well.
fn complaint(process: &Process) -> String {
    let (status, printed) = process.try_run("check-config");
    assert_eq!(status.code(), Some(1), "{printed}");
    let mut bad = printed.lines().filter(|line| line.starts_with("NOT OK"));
    let line = bad
        .next()
        .unwrap_or_else(|| panic!("nothing is wrong in {printed}"));
    assert!(bad.next().is_none(), "{printed}");
    line.to_owned()
}

#[tokio::test]
async fn a_configuration_that_works_is_well_and_the_probe_leaves_nothing() {
    let stack = TestStack::start().await;
    let before = stack.target().files();
    is_well(&stack.api_service().run("check-config"));
    is_well(&stack.worker(1).run("check-config"));
    assert_eq!(stack.target().files(), before);
    // Neither has disturbed the services that run.
    let volume = stack.managed_volume("v.raw", b"some").await;
    stack.api().back_up(volume).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn what_would_be_in_the_way_is_named() {
    let stack = TestStack::build().spare_worker().start().await;
    let (api, worker) = (stack.api_service(), stack.worker(2));
    api.set("database.url", "sqlite:///nowhere/at/all/e.db");
    let said = complaint(api);
    assert!(
        said.contains("database.url") && said.contains("/nowhere/at/all"),
        "{said}"
    );

    worker.set("volume_backends.main.path", "/nowhere/at/all");
    let said = complaint(worker);
    assert!(said.contains("volume_backends.main"), "{said}");
    worker.set(
        "volume_backends.main.path",
        &stack.volumes().display().to_string(),
    );

    let unmarked = stack.volumes().display().to_string();
    worker.set("backup.path", &unmarked);
    let said = complaint(worker);
    assert!(
        said.contains("backup.path") && said.contains(&unmarked),
        "{said}"
    );
}

#[tokio::test]
async fn a_login_that_the_broker_refuses_is_named_without_its_password() {
    let stack = TestStack::build().spare_worker().start().await;
    let worker = stack.worker(2);
    let mut url: reqwest::Url = stack.broker().amqp_url().parse().expect("a url");
    url.set_password(Some("hush-hush")).expect("a password");
    worker.set("amqp.url", url.as_str());
    let said = complaint(worker);
    assert!(said.contains("amqp.url"), "{said}");
    assert!(!said.contains("hush-hush"), "{said}");
}
