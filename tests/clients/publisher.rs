//! A publisher in Python, written from `docs/messages.md`.

use std::path::Path;
use std::process::Command;

use harness::{Permissions, TestStack};

use crate::cli::{PROJECT, programs};

#[tokio::test]
async fn a_publisher_in_python_is_served_and_refused_as_the_page_says() {
    let bin = programs();
    let stack = TestStack::start().await;
    let volume = stack.managed_volume("v.raw", b"some bytes").await;
    let others = stack.api().as_project("others").create_volume(1).await;
    let login = stack.broker().publisher();
    let rights = Permissions::publisher(&login);
    let url = stack.broker().log_in(&login, &rights).await;

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(bin.join("python"))
        .arg(here.join("clients/publisher_test.py"))
        .args([&url, &login, PROJECT])
        .args([volume.to_string(), others.to_string()])
        .arg(here.join("../docs"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    let (said, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{wrong}");
    assert!(said.contains("PUBLISHER OK"), "{said}\n{wrong}");
}
