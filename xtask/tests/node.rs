//! A private broker, for real.

#![expect(clippy::print_stdout, reason = "a test that cannot run here says so")]

use xtask::rabbitmq::{self, Node};

#[tokio::test]
async fn a_node_keeps_its_address_and_login_over_a_crash_and_goes_with_its_owner() {
    if rabbitmq::server_script().is_none() {
        println!("SKIPPED: RabbitMQ is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path()).await.unwrap();
    let url = node.amqp_url();
    let first = node.server().unwrap();
    assert!(
        Node::start(dir.path()).await.is_err(),
        "a second node from the same folder"
    );
    node.kill().await.unwrap();
    assert!(!first.is_alive());
    node.start_again().await.unwrap();
    assert_eq!(node.amqp_url(), url);
    node.restart().await.unwrap();
    let (server, epmd) = (node.server().unwrap(), node.epmd().unwrap());
    drop(node);
    assert!(!server.is_alive() && !epmd.is_alive());
}
