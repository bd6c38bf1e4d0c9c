//! `docs/messages.md` shows what the programs send: every example is read and written by their types.

use std::collections::BTreeMap;

use common::broker::{parked, topology};
use common::messages::events::{CloudEvent, ProgressData, StatusData, WorkerData};
use common::messages::jobs::JobMessage;
use common::messages::published::{PublishedReply, PublishedRequest, RejectedData};
use common::messages::rpc::{Renewed, Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

const PAGE: &str = include_str!("../../docs/messages.md");

/// The page's examples by what they are examples of.
fn examples() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for block in PAGE.split("```json ").skip(1) {
        let (what, rest) = block.split_once('\n').expect("a line ends");
        let (text, _) = rest.split_once("```").expect("a block ends");
        found.entry(what).or_default().push(text);
    }
    found
}

fn is_as_sent<T: DeserializeOwned + Serialize>(text: &str) {
    let message: T = serde_json::from_str(text).expect("it can be read");
    let sent = serde_json::to_value(message).expect("it can be written");
    let shown: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(sent, shown);
}

/// A request may leave out what has a default.
fn is_accepted<T: DeserializeOwned + Serialize>(text: &str) {
    let request: T = serde_json::from_str(text).expect("it can be read");
    let again = serde_json::to_string(&request).expect("it can be written");
    is_as_sent::<T>(&again);
}

#[test]
fn every_example_is_what_the_programs_send() {
    let examples = examples();
    for (what, texts) in &examples {
        for text in texts {
            match *what {
                "job" => is_as_sent::<JobMessage>(text),
                "rpc" => is_as_sent::<Request>(text),
                "request" => is_accepted::<PublishedRequest>(text),
                "reply" => is_as_sent::<PublishedReply>(text),
                "rejected" => is_as_sent::<CloudEvent<RejectedData>>(text),
                "answer" => is_as_sent::<Reply<Renewed>>(text),
                "status" => is_as_sent::<CloudEvent<StatusData>>(text),
                "progress" => is_as_sent::<CloudEvent<ProgressData>>(text),
                "worker" => is_as_sent::<CloudEvent<WorkerData>>(text),
                other => panic!("an example of `{other}` is read by nothing"),
            }
        }
    }
    assert_eq!(examples.len(), 9);
}

#[test]
fn every_name_on_the_broker_is_documented() {
    for name in [
        topology::JOBS,
        topology::UNROUTED,
        topology::RPC,
        topology::EVENTS,
        topology::CONTROL,
        topology::DEAD,
        topology::PARKED,
        parked::ERROR_CODE,
        parked::ERROR,
        parked::EXCHANGE,
        parked::PUBLISHED_BY,
    ] {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}
