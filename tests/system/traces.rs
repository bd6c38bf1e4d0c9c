//! One trace goes from a request through the broker to the last step of its job, in whichever process that is.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::domain::BackupStatus;
use harness::volume::noise;
use harness::{Collector, NewBackup, TestStack, TracedSpan, comes_of, trace_tree};

use crate::strike;

/// What a caller says: its trace, and its own span in it.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// The names on the way from the trace's root to a span.
fn way_to(spans: &[TracedSpan], name: &str) -> Vec<String> {
    let mut way = Vec::new();
    let mut next = spans.iter().find(|span| span.name == name);
    while let Some(span) = next {
        way.push(format!("{}: {}", span.service, span.name));
        next = spans.iter().find(|other| other.id == span.parent);
    }
    way.reverse();
    way
}

#[expect(clippy::print_stdout, reason = "the trace is shown to who looks")]
fn show(spans: &[TracedSpan]) {
    println!("{}", trace_tree(spans));
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_the_metadata_file() {
    let collector = Collector::start();
    let build = TestStack::build().set("telemetry.otlp_endpoint", &collector.endpoint());
    let stack = build.start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000_000)).await;
    let mut events = stack.listen("status.backup.#").await;
    let backup = stack
        .api()
        .traced(&traceparent())
        .create_backup(&NewBackup::of(id))
        .await;
    let (_, event) = events
        .hear("the backup's end", |event| {
            event.event_type == "backup.available.v1"
        })
        .await;
    assert_eq!(event.subject, backup.to_string());
    let told = event.traceparent.expect("the event names its trace");
    assert_eq!(told.trace(), TRACE);

    let spans = collector
        .until_trace(
            TRACE,
            CALLER,
            &[
                "POST /v3/backups",
                "publish emberkeep.job.v1",
                "claim",
                "backup job",
                "snapshot",
                "frozen",
                "transfer",
                "read",
                "digest",
                "encode",
                "write",
                "seal",
                "commit",
                "sha256 file",
                "metadata file",
                "clean up",
                "finish",
                "publish backup.available.v1",
            ],
        )
        .await;
    show(&spans);
    assert_eq!(
        way_to(&spans, "metadata file"),
        [
            "api-service: POST /v3/backups",
            "api-service: publish emberkeep.job.v1",
            "backup-worker: backup job",
            "backup-worker: metadata file",
        ]
    );
    let roots: Vec<_> = spans.iter().filter(|span| span.parent == CALLER).collect();
    assert_eq!(roots.len(), 1, "the caller's one child is its request");
    for span in &spans {
        assert!(comes_of(&spans, span, CALLER), "{span:#?} hangs loose");
    }
    let last = spans.iter().find(|span| span.name == "metadata file");
    assert_eq!(last.map(|span| span.instance.as_str()), Some("worker-1"));
    for log in [stack.api_service().log(), stack.worker(1).log()] {
        assert!(log.contains(TRACE), "a line of the log names the trace");
    }

    // What nobody looks at for its own sake is in no trace.
    let probes = collector.spans();
    let probes: Vec<_> = probes
        .iter()
        .filter(|span| span.name.contains("/readyz"))
        .collect();
    assert!(probes.is_empty(), "{probes:#?}");
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_job_that_goes_on_elsewhere_stays_in_its_trace() {
    let collector = Collector::start();
    let build = TestStack::build().slow().spare_worker();
    let build = build.set("telemetry.otlp_endpoint", &collector.endpoint());
    let stack = build.start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack
        .api()
        .traced(&traceparent())
        .create_backup(&NewBackup::of(id))
        .await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.worker(1).kill();
    stack.worker(2).start();
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    let spans = collector
        .until_trace(TRACE, CALLER, &["metadata file", "finish"])
        .await;
    show(&spans);
    let last = spans.iter().find(|span| span.name == "metadata file");
    assert_eq!(last.map(|span| span.instance.as_str()), Some("worker-2"));
    let way = way_to(&spans, "metadata file");
    assert!(
        way.contains(&"backup-worker: backup job".to_owned()),
        "{way:?}"
    );
}

#[tokio::test]
async fn a_callers_trace_goes_on_through_services_that_send_none() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 100_000)).await;
    let mut events = stack.listen("status.#").await;
    let api = stack.api();
    let backup = api.traced(&traceparent()).back_up(id).await;
    for status in ["creating", "available"] {
        let (_, event) = events
            .hear(status, |event| {
                event.event_type == format!("backup.{status}.v1")
            })
            .await;
        assert_eq!(event.subject, backup.id.to_string());
        let told = event.traceparent.map(|place| place.to_string());
        assert_eq!(told, Some(traceparent()));
    }
    // And who says nothing gets none.
    api.delete_backup(backup.id).await;
    let (_, event) = events
        .hear("deleted", |event| event.event_type == "backup.deleted.v1")
        .await;
    assert_eq!(event.traceparent, None);
}

/// How long a service may take to stop when all its work is done.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_collector_that_is_away_or_silent_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let away = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let endpoint = |listener: &TcpListener| {
        let address = listener.local_addr().expect("a listener has an address");
        format!("http://{address}")
    };
    let endpoints = [endpoint(&silent), endpoint(&away)];
    drop(away);
    for endpoint in endpoints {
        let build = TestStack::build().set("telemetry.otlp_endpoint", &endpoint);
        let stack = build.start().await;
        let id = stack.managed_volume("v.raw", &noise(1, 100_000)).await;
        let began = Instant::now();
        stack.api().back_up(id).await;
        harness::until("the loss to be logged", async || {
            let log = stack.api_service().log();
            log.contains("traces cannot be sent").then_some(())
        })
        .await;
        stack.api().back_up(id).await;
        let worked = began.elapsed();
        for process in [stack.worker(1), stack.api_service()] {
            let began = Instant::now();
            process.ask_to_stop();
            let status = process.ended().await;
            let took = began.elapsed();
            assert!(status.success(), "{} ended with {status}", process.name());
            assert!(
                took < STOPS_WITHIN,
                "{} took {took:?} to stop",
                process.name()
            );
            show_times(&endpoint, process.name(), worked, took);
            let lost = process.log().matches("traces cannot be sent").count();
            assert_eq!(lost, 1, "{} says it once", process.name());
        }
    }
}

#[expect(clippy::print_stdout, reason = "the times are shown to who looks")]
fn show_times(endpoint: &str, name: &str, worked: Duration, stopped: Duration) {
    println!("{endpoint}: two backups in {worked:?}, {name} stopped in {stopped:?}");
}
