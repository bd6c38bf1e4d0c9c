//! Metrics as Prometheus reads them, and what is built on them in `deploy/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use common::domain::VolumeId;
use common::metrics::{ALL, Kind, Metric};
use harness::TestStack;
use reqwest::Method;

const BOARD: &str = include_str!("../../deploy/grafana/emberkeep.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// The metric that a name in a query or in the text form belongs to.
fn metric_of(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| {
        let rest = name.strip_prefix(metric.name);
        match metric.kind {
            Kind::Counter | Kind::Gauge => rest == Some(""),
            Kind::Duration => matches!(rest, Some("_bucket" | "_sum" | "_count")),
        }
    })
}

fn names_in(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("emberkeep_"))
        .collect()
}

#[test]
fn every_metric_of_the_board_and_the_alerts_exists_and_every_metric_is_used() {
    let names: BTreeSet<_> = names_in(BOARD).union(&names_in(ALERTS)).copied().collect();
    assert!(names.len() > 10, "{names:?}");
    let mut unused: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    for name in names {
        let metric = metric_of(name).unwrap_or_else(|| panic!("there is no metric {name}"));
        unused.remove(metric.name);
    }
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}

#[test]
fn every_alert_and_every_metric_is_explained() {
    let alerts = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
        count += 1;
        assert!(OPERATIONS.contains(&format!("**{alert}**")), "{alert}");
    }
    assert!(count > 5);
    for metric in ALL {
        assert!(
            OPERATIONS.contains(&format!("`{}`", metric.name)),
            "{}",
            metric.name
        );
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "xtask counts these lines")]
fn promtool_accepts_the_alert_rules() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/alerts.yml");
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .arg(rules)
        .output();
    let Ok(checked) = checked else {
        println!("SKIPPED: promtool is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

/// The samples of a text: name, labels, value.
fn samples(text: &str) -> Vec<(&str, BTreeMap<&str, &str>, f64)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
                let (key, value) = label.split_once('=')?;
                Some((key, value.trim_matches('"')))
            });
            let value = value.parse().expect("a value is a number");
            (name, labels.collect(), value)
        })
        .collect()
}

async fn worker_metrics(stack: &TestStack) -> String {
    let log = stack.worker(1).log();
    let (_, address) = log.split_once("probes on http://").expect("it says where");
    let address = address.split_whitespace().next().expect("an address");
    let url = format!("http://{address}/metrics");
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let answer = client.get(url).send().await.expect("an answer");
    answer.text().await.expect("a text")
}

#[tokio::test]
async fn both_services_count_what_they_did_and_never_by_an_id() {
    let build = TestStack::build().set("worker.listen", "127.0.0.1:0");
    let stack = build.start().await;
    let volume = stack.managed_volume("v.raw", &[7; 200_000]).await;
    let backup = stack.api().back_up(volume).await;
    stack.api().bring_back(backup.id).await;
    let nowhere = VolumeId::new();
    stack.api().get(&format!("/v3/volumes/{nowhere}")).await;

    let answer = stack.api().try_send(Method::GET, "/metrics", None).await;
    drop(answer.expect("the api-service answers").expect(200));
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{}/metrics", stack.api().base());
    let api = client.get(url).send().await.expect("an answer");
    let api = api.text().await.expect("a text");
    let worker = worker_metrics(&stack).await;

    let api = samples(&api);
    let worker = samples(&worker);
    for (name, labels, _) in api.iter().chain(&worker) {
        let metric = metric_of(name).unwrap_or_else(|| panic!("{name} is in no table"));
        let found: BTreeSet<_> = labels.keys().copied().filter(|key| *key != "le").collect();
        assert_eq!(found, metric.labels.iter().copied().collect(), "{name}");
        for value in labels.values() {
            assert!(!value.contains(&backup.id.to_string()), "{name}");
            assert!(!value.contains(&nowhere.to_string()), "{name}");
        }
    }
    let sum =
        |samples: &[(&str, BTreeMap<&str, &str>, f64)], wanted: &str, label: (&str, &str)| -> f64 {
            let of = samples.iter().filter(|(name, labels, _)| {
                *name == wanted && (label.0.is_empty() || labels.get(label.0) == Some(&label.1))
            });
            of.map(|(_, _, value)| value).sum()
        };
    let is = |found: f64, wanted: f64, what: &str| {
        assert!((found - wanted).abs() < 0.5, "{what}: {found}")
    };
    is(
        sum(&api, "emberkeep_jobs_settled_total", ("kind", "backup")),
        1.0,
        "backups",
    );
    is(
        sum(&api, "emberkeep_jobs_settled_total", ("kind", "restore")),
        1.0,
        "restores",
    );
    is(
        sum(&api, "emberkeep_jobs_unsettled", ("", "")),
        0.0,
        "unsettled jobs",
    );
    is(
        sum(&api, "emberkeep_workers_alive", ("", "")),
        1.0,
        "workers",
    );
    is(sum(&api, "emberkeep_broker_up", ("", "")), 1.0, "broker");
    is(
        sum(&api, "emberkeep_http_requests_total", ("status", "404")),
        1.0,
        "not found",
    );
    is(
        sum(&worker, "emberkeep_executions_total", ("kind", "backup")),
        1.0,
        "executions",
    );
    is(sum(&worker, "emberkeep_slots", ("", "")), 4.0, "slots");
    is(
        sum(&worker, "emberkeep_volume_bytes_total", ("what", "read")),
        400_000.0,
        "bytes read",
    );
    assert!(sum(&worker, "emberkeep_hashed_bytes_total", ("", "")) >= 200_000.0);
    assert!(
        sum(
            &worker,
            "emberkeep_target_duration_seconds_count",
            ("operation", "publish_parts")
        ) > 0.0
    );
    assert!(
        sum(
            &worker,
            "emberkeep_phase_duration_seconds_count",
            ("phase", "transfer")
        ) > 0.0
    );
}
