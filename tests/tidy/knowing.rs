//! Who may know whom. Reading goes downhill:
//!
//! ```text
//! api-service ──► common ◄── backup-worker        common: domain ◄── messages ◄── broker
//! http, jobs ──► store; rules see values          consumer ──► jobs ──► engine ──► driver traits
//! ```

use crate::source::{Source, sources};

/// Names libraries only to keep their logs down.
const LOG_FILTER: &str = "common/src/telemetry/mod.rs";

/// Fails if code at `here` has one of the words, except in files whose path begins like one of `but`.
fn forbid(words: &[&str], here: &str, but: &[&str], reason: &str) {
    let allowed = |source: &Source| but.iter().any(|but| source.path.starts_with(but));
    let places: Vec<_> = sources(here)
        .into_iter()
        .filter(|source| !allowed(source))
        .flat_map(|source| {
            words
                .iter()
                .flat_map(|word| source.places_of(word))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(places.is_empty(), "{reason}: {places:#?}");
}

#[test]
fn the_domain_knows_no_io() {
    forbid(
        &[
            "crate::messages",
            "crate::broker",
            "crate::config",
            "async",
            "std::fs",
            "std::net",
        ],
        "common/src/domain/",
        &[],
        "the words of the trade are values; they do no I/O and know nothing that is built of them",
    );
}

#[test]
fn messages_do_not_know_how_they_travel() {
    forbid(
        &["crate::broker", "async", "std::fs", "std::net"],
        "common/src/messages/",
        &[],
        "a message is a value that reads the same whatever carries it",
    );
}

#[test]
fn only_broker_code_speaks_amqp() {
    forbid(
        &["lapin"],
        "",
        &[
            "common/src/broker/",
            LOG_FILTER,
            "api-service/src/jobs/",
            "backup-worker/src/consumer",
            "tests/",
        ],
        "connections fail in ways that only the supervisor and the consumers know how to handle",
    );
}

#[test]
fn only_lanes_and_three_system_calls_are_unsafe() {
    forbid(
        &["unsafe", "unsafe_code"],
        "",
        &[
            "backup-worker/src/lanes/x86_64/",
            "backup-worker/src/priority.rs",
            "backup-worker/src/volume/file/blocks.rs",
            "tests/",
        ],
        "what the compiler cannot check stands in few places, where it is small and tested on every path",
    );
}

#[test]
fn only_the_store_speaks_sql() {
    forbid(
        &["sqlx"],
        "",
        &["api-service/src/store/", LOG_FILTER, "tests/"],
        "each query has a name that says what it is for, and stands beside its tables",
    );
}

#[test]
fn rules_see_values() {
    forbid(
        &[
            "crate::store::Store",
            "sqlx",
            "async",
            "await",
            "crate::http",
            "crate::jobs",
        ],
        "api-service/src/rules/",
        &[],
        "a rule that asks a database cannot be asked by the claim and by HTTP alike",
    );
}

#[test]
fn the_store_does_not_know_who_calls_it() {
    forbid(
        &["crate::http", "axum", "lapin"],
        "api-service/src/store/",
        &[],
        "http and jobs know the store, not the other way round",
    );
}

#[test]
fn jobs_do_not_know_http() {
    forbid(
        &["crate::http", "axum"],
        "api-service/src/jobs/",
        &[],
        "the protocol with the workers goes on whether or not anyone calls over HTTP",
    );
}

#[test]
fn only_the_error_module_chooses_a_status_of_failure() {
    forbid(
        &[
            "StatusCode::BAD_REQUEST",
            "StatusCode::UNAUTHORIZED",
            "StatusCode::FORBIDDEN",
            "StatusCode::NOT_FOUND",
            "StatusCode::CONFLICT",
            "StatusCode::PAYLOAD_TOO_LARGE",
            "StatusCode::UNSUPPORTED_MEDIA_TYPE",
            "StatusCode::NOT_ACCEPTABLE",
            "StatusCode::INTERNAL_SERVER_ERROR",
            "StatusCode::from_u16",
        ],
        "api-service/src/",
        &["api-service/src/http/error.rs"],
        "the same fault must be answered the same way wherever it is found",
    );
}

#[test]
fn the_engine_knows_only_seams() {
    forbid(
        &[
            "crate::jobs",
            "crate::consumer",
            "tokio",
            "lapin",
            "async",
            "await",
            "FileVolumes",
            "PosixStore",
        ],
        "backup-worker/src/engine/",
        &[],
        "the engine is straight-line code over driver traits; what drives it may change",
    );
}

#[test]
fn only_the_wiring_names_a_concrete_driver() {
    forbid(
        &["FileVolumes", "PosixStore"],
        "backup-worker/src/",
        &[
            "backup-worker/src/main.rs",
            "backup-worker/src/lib.rs",
            "backup-worker/src/volume/",
            "backup-worker/src/store/",
        ],
        "a driver is done when it passes its conformance tests; nobody else may lean on which it is",
    );
}

#[test]
fn drivers_know_no_job() {
    for drivers in ["backup-worker/src/volume/", "backup-worker/src/store/"] {
        forbid(
            &["crate::jobs", "crate::engine", "crate::consumer", "lapin"],
            drivers,
            &[],
            "a driver serves whoever calls it",
        );
    }
}

#[test]
fn the_two_services_know_each_other_only_by_messages() {
    forbid(
        &["backup_worker"],
        "api-service/src/",
        &[],
        "the api-service never opens a volume or a target",
    );
    forbid(
        &["api_service"],
        "backup-worker/src/",
        &[],
        "a worker opens no database",
    );
}
