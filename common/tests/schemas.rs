//! `docs/schemas/` holds the JSON Schemas of what others send and receive, made from the types.
//!
//! `EMBERKEEP_WRITE_SCHEMAS=1 cargo test -p common --test schemas` writes them anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::broker::topology;
use common::messages::events::{CloudEvent, ProgressData, StatusData, WorkerData};
use common::messages::jobs::JobMessage;
use common::messages::published::{PublishedReply, PublishedRequest, RejectedData};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

const ASYNCAPI: &str = include_str!("../../docs/asyncapi.yaml");

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas")
}

fn schema<T: JsonSchema>() -> String {
    let text = serde_json::to_string_pretty(&schema_for!(T)).expect("a schema is JSON");
    text + "\n"
}

fn schemas() -> [(&'static str, String); 7] {
    [
        ("job.json", schema::<JobMessage>()),
        ("request.json", schema::<PublishedRequest>()),
        ("reply.json", schema::<PublishedReply>()),
        ("status-event.json", schema::<CloudEvent<StatusData>>()),
        ("progress-event.json", schema::<CloudEvent<ProgressData>>()),
        ("worker-event.json", schema::<CloudEvent<WorkerData>>()),
        ("rejected-event.json", schema::<CloudEvent<RejectedData>>()),
    ]
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let directory = directory();
    let writes = std::env::var_os("EMBERKEEP_WRITE_SCHEMAS").is_some();
    for (name, expected) in schemas() {
        let path = directory.join(name);
        if writes {
            std::fs::create_dir_all(&directory).expect("the folder can be made");
            std::fs::write(&path, &expected).expect("a schema can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found, expected,
            "{name} is not what the types say; see the head of this file"
        );
    }
    let names: BTreeSet<_> = schemas().map(|(name, _)| name.to_owned()).into();
    let files: BTreeSet<_> = std::fs::read_dir(&directory)
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("it can be listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(files, names);
}

#[test]
fn the_asyncapi_document_names_every_schema_and_exchange_for_others() {
    for (name, _) in schemas() {
        assert!(
            ASYNCAPI.contains(&format!("$ref: ./schemas/{name}")),
            "{name}"
        );
    }
    for reference in ASYNCAPI
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$ref: ./schemas/"))
    {
        assert!(directory().join(reference).is_file(), "{reference}");
    }
    for exchange in [topology::JOBS, topology::EVENTS] {
        assert!(
            ASYNCAPI.contains(&format!("name: {exchange}")),
            "{exchange}"
        );
    }
}

#[test]
fn what_can_be_sent_and_heard_has_a_schema_that_says_its_kind() {
    for (name, text) in schemas() {
        let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
        let properties = &schema["properties"];
        let marked = properties["schema"]["const"].is_string() || properties["type"].is_object();
        assert!(marked, "{name}");
    }
}
