//! `test`: all that CI runs, from a fresh clone to one line of numbers.
//!
//! One private broker serves every test that needs one; the tests find it by
//! `EMBERKEEP_TEST_AMQP_URL` and `EMBERKEEP_TEST_MANAGEMENT_URL`. All that stands on the database is run once more on
//! PostgreSQL, on a private cluster at `EMBERKEEP_TEST_POSTGRES_URL`. A test that cannot run on this machine prints
//! `SKIPPED: why` and is counted as skipped, not as passed.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::build::{cargo, target_dir};
use crate::files::ScratchDir;
use crate::postgres::Cluster;
use crate::rabbitmq::Node;
use crate::stack::Broker;
use crate::stage::{Stages, shown, succeed};
use crate::{build, check, demo, faults, files, python, say};

/// What a test prints when it cannot run here.
const SKIPPED: &str = "SKIPPED: ";

/// What `--quick` leaves out: the module of `tests/system` whose tests wait for leases to end, processes to drain or
/// brokers to come back, and long histories. The clients and the demo are left out too.
const SLOW: &str = "slow_ones::";

/// The module of `tests/system` that only PostgreSQL can run.
const REPLICAS: &str = "replicas::";

/// What runs on PostgreSQL: all that stands on the database. A worker's memory does not.
const ON_POSTGRES: &str =
    "package(api-service) | (binary_id(tests::system) - test(/^slow_ones::memory::/))";

/// The stage of those.
const POSTGRES_TESTS: &str = "tests on PostgreSQL";

/// Tells tests where PostgreSQL is.
const POSTGRES: &str = "EMBERKEEP_TEST_POSTGRES_URL";

/// The stages of the clients: they are installed, then driven.
const CLIENTS: &str = "clients";
const CLIENT_TESTS: &str = "client tests";
const FAULTS: &str = "faults";

/// Tells the tests of the clients where those are.
const CLIENT_PROGRAMS: &str = "EMBERKEEP_TEST_CLIENTS";

/// Those tests, which nothing else builds or runs.
const CLIENT_ARGUMENTS: &[&str] = &[
    "--workspace",
    "--features",
    "tests/clients",
    "--test",
    "clients",
];

/// Says what the tests will do to this machine, before anything is done.
pub fn introduce(broker: &Broker, quick: bool) {
    say::line("This builds the workspace, checks it, and runs its tests against a broker.");
    if !quick {
        say::line("Clients from PyPI, and a real Cinder, are installed into your cache, once.");
    }
    if *broker == Broker::Private {
        say::line("For that a private RabbitMQ node is started on loopback, and ended again.");
    }
}

/// Runs it all.
///
/// # Errors
/// When a stage fails; the rest is not run.
pub async fn run(broker: Broker, quick: bool, may_install: bool) -> Result<()> {
    let mut plan = vec!["build", "format", "lints", "documentation"];
    plan.extend(["dependencies", "broker", "tests", "doc tests"]);
    plan.push(POSTGRES_TESTS);
    if !quick {
        plan.extend([CLIENTS, CLIENT_TESTS, FAULTS, "demo"]);
    }
    let mut stages = Stages::new(plan);
    let mut counts = Counts::default();
    let runner = Runner::find().await;

    stages.run(builds()).await?;
    stages.run(check::format()).await?;
    stages.run(check::lints()).await?;
    stages.run(documentation()).await?;
    stages.run(dependencies(&mut counts)).await?;

    let scratch = ScratchDir::new(&target_dir().await?, "test")?;
    let (node, mut environment) = stages.run(start_broker(&broker, &scratch)).await?;
    let tests = async {
        // After `--`, nextest understands the options of a test binary too.
        let mut arguments = vec!["--workspace", "--all-targets", "--", "--skip", REPLICAS];
        if quick {
            arguments.extend(["--skip", SLOW]);
        }
        runner.run(&arguments, &environment, &mut counts).await
    };
    stages.run(tests).await?;
    let doc_tests = async {
        let arguments = ["--workspace", "--doc"];
        Runner::Cargo
            .run(&arguments, &environment, &mut counts)
            .await
    };
    stages.run(doc_tests).await?;
    let on_postgres = run_on_postgres(runner, &environment, &mut counts);
    stages.run(on_postgres).await?;
    if !quick {
        let programs = stages.run(python::CLIENTS.ensure(may_install)).await?;
        environment.push((CLIENT_PROGRAMS, programs));
        let tests = runner.run(CLIENT_ARGUMENTS, &environment, &mut counts);
        stages.run(tests).await?;
        let struck = strike(node.is_some(), &environment, &mut counts);
        stages.run(struck).await?;
    }
    if let Some(mut node) = node {
        node.stop().await?;
    }
    if !quick {
        stages.run(demo::run(broker, false)).await?;
    }
    counts.report();
    Ok(())
}

/// The fault suite; its races are among the tests before. It makes vhosts, raises alarms and kills: a broker that others use is not struck.
/// Like the tests of whole systems it has a second try, which is told.
async fn strike(
    is_private: bool,
    environment: &[(&'static str, String)],
    counts: &mut Counts,
) -> Result<()> {
    if !is_private {
        say::line(format_args!(
            "{SKIPPED}the fault suite strikes the broker, and the given one may have other users"
        ));
        counts.skipped += 1;
        return Ok(());
    }
    let programs = faults::build_all().await?;
    let Err(error) = faults::run_suite(&programs, environment, &[]).await else {
        return Ok(());
    };
    say::line(format_args!(
        "FLAKY, unless it is red again: {error}; it runs once more"
    ));
    faults::run_suite(&programs, environment, &[]).await
}

/// Says what the tests of the clients will do to this machine.
pub fn introduce_clients(broker: &Broker) {
    say::line(
        "This builds the services and drives them with clients from PyPI, and a real Cinder with them.",
    );
    say::line("Those are installed into a folder of your cache, once.");
    if *broker == Broker::Private {
        say::line("A private RabbitMQ node is started on loopback, and ended again.");
    }
}

/// Runs the clients that people have, and the real Cinder, against running stacks.
///
/// # Errors
/// When a stage fails; the rest is not run.
pub async fn run_clients(broker: Broker, may_install: bool) -> Result<()> {
    let mut stages = Stages::new(vec![CLIENTS, "build", "broker", CLIENT_TESTS]);
    let mut counts = Counts::default();
    let runner = Runner::find().await;
    let programs = stages.run(python::CLIENTS.ensure(may_install)).await?;
    stages.run(builds()).await?;
    let scratch = ScratchDir::new(&target_dir().await?, "test")?;
    let (node, mut environment) = stages.run(start_broker(&broker, &scratch)).await?;
    environment.push((CLIENT_PROGRAMS, programs));
    let tests = runner.run(CLIENT_ARGUMENTS, &environment, &mut counts);
    stages.run(tests).await?;
    if let Some(mut node) = node {
        node.stop().await?;
    }
    counts.report();
    Ok(())
}

/// Runs what depends on the database on PostgreSQL.
///
/// # Errors
/// When a stage fails; the rest is not run.
pub async fn run_postgres(broker: Broker) -> Result<()> {
    let mut stages = Stages::new(vec!["build", "broker", POSTGRES_TESTS]);
    let mut counts = Counts::default();
    let runner = Runner::find().await;
    stages.run(builds()).await?;
    let scratch = ScratchDir::new(&target_dir().await?, "test")?;
    let (node, environment) = stages.run(start_broker(&broker, &scratch)).await?;
    let tests = run_on_postgres(runner, &environment, &mut counts);
    stages.run(tests).await?;
    if let Some(mut node) = node {
        node.stop().await?;
    }
    counts.report();
    Ok(())
}

/// The broker of the tests, and the environment in which they find it.
pub(crate) async fn start_broker(
    broker: &Broker,
    scratch: &ScratchDir,
) -> Result<(Option<Node>, Vec<(&'static str, String)>)> {
    match broker {
        Broker::Private => {
            let node = Node::start_bound(&scratch.path().join("rabbitmq"), "").await?;
            let environment = environment_of(&node);
            Ok((Some(node), environment))
        }
        Broker::Given { amqp_url } => {
            Ok((None, vec![("EMBERKEEP_TEST_AMQP_URL", amqp_url.clone())]))
        }
    }
}

/// Where tests find a node's management API: the last of [`environment_of`].
pub(crate) const MANAGEMENT_URL: &str = "EMBERKEEP_TEST_MANAGEMENT_URL";

/// In what environment tests find a node.
#[must_use]
pub fn environment_of(node: &Node) -> Vec<(&'static str, String)> {
    vec![
        ("EMBERKEEP_TEST_AMQP_URL", node.amqp_url()),
        (MANAGEMENT_URL, node.management_url()),
    ]
}

/// Runs on PostgreSQL what depends on the database, on a private cluster that ends with the stage.
async fn run_on_postgres(
    runner: Runner,
    environment: &[(&'static str, String)],
    counts: &mut Counts,
) -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let mut environment = environment.to_vec();
    environment.push((POSTGRES, cluster.url()));
    let runs: &[&[&str]] = match runner {
        Runner::Nextest => &[&[
            "--workspace",
            "--lib",
            "--test",
            "system",
            "-E",
            ON_POSTGRES,
        ]],
        Runner::Cargo => &[
            &["--package", "api-service", "--lib"],
            &["--package", "tests", "--test", "system"],
        ],
    };
    for arguments in runs {
        runner.run(arguments, &environment, counts).await?;
    }
    cluster.stop().await
}

/// The services' programs, which the system tests start.
async fn builds() -> Result<()> {
    build::build_services().await.map(|_| ())
}

/// Every link in the documentation leads somewhere.
async fn documentation() -> Result<()> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    succeed(command).await
}

/// Licences, sources and unwanted crates, by `deny.toml`.
async fn dependencies(counts: &mut Counts) -> Result<()> {
    if files::find_program("cargo-deny").is_none() {
        say::line(format_args!("{SKIPPED}cargo-deny is not installed"));
        counts.skipped += 1;
        return Ok(());
    }
    let command = cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]);
    succeed(command).await
}

/// How many tests came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and passed.
    pub passed: usize,
    /// Ran and failed.
    pub failed: usize,
    /// Could not run here, by their own word.
    pub skipped: usize,
}

impl Counts {
    /// Prints the one line.
    pub fn report(self) {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        say::line(format_args!(
            "{passed} passed, {failed} failed, {skipped} skipped"
        ));
    }

    /// Adds what a line of a test program tells of them, if it does.
    pub(crate) fn hear(&mut self, line: &str) {
        let (passed, failed) = result(line).unwrap_or_default();
        self.add(passed, failed, 0);
        self.add(0, 0, skips(line).count());
    }

    /// Adds a run of tests. The runner takes a test that skipped itself for one that passed.
    fn add(&mut self, passed: usize, failed: usize, skipped: usize) {
        self.passed = (self.passed + passed).saturating_sub(skipped);
        self.failed += failed;
        self.skipped += skipped;
    }
}

/// What runs tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// `cargo nextest run`, a process for each test.
    Nextest,
    /// `cargo test`.
    Cargo,
}

impl Runner {
    /// nextest where it is installed.
    pub async fn find() -> Self {
        let mut command = cargo(&["nextest", "--version"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        match command.status().await {
            Ok(status) if status.success() => Self::Nextest,
            Ok(_) | Err(_) => Self::Cargo,
        }
    }

    /// Runs tests and counts them.
    ///
    /// # Errors
    /// When one fails.
    pub async fn run(
        self,
        arguments: &[&str],
        environment: &[(&str, String)],
        counts: &mut Counts,
    ) -> Result<()> {
        let environment = environment.iter().map(|(name, value)| (*name, value));
        let before = counts.failed;
        let status = match self {
            Self::Nextest => {
                let mut command = cargo(&["nextest", "run", "--profile", "ci"]);
                command.args(arguments).envs(environment);
                // nextest keeps its reports there wherever cargo's own target folder is.
                let report = build::workspace().join("target/nextest/ci/junit.xml");
                let _ = std::fs::remove_file(&report);
                let status = command.status().await.context("start cargo nextest")?;
                count_report(&report, counts)?;
                status
            }
            Self::Cargo => {
                let mut command = cargo(&["test", "--no-fail-fast"]);
                command.args(arguments).envs(environment);
                if !arguments.contains(&"--") {
                    command.arg("--");
                }
                // A test that passes says only so that it was skipped.
                command.arg("--show-output");
                count_lines(command, counts).await?
            }
        };
        if !status.success() {
            counts.report();
            anyhow::bail!("{} tests failed", counts.failed - before);
        }
        Ok(())
    }
}

/// Reads nextest's report.
fn count_report(report: &Path, counts: &mut Counts) -> Result<()> {
    let text = std::fs::read_to_string(report)
        .with_context(|| format!("read nextest's report {}", report.display()))?;
    let (passed, failed, skipped) = numbers(&text).context("understand nextest's report")?;
    counts.add(passed, failed, skipped);
    for reason in skips(&text) {
        say::line(format_args!("{SKIPPED}{reason}"));
    }
    Ok(())
}

/// Passed, failed and skipped tests of a `JUnit` report.
fn numbers(report: &str) -> Option<(usize, usize, usize)> {
    let head = &report[report.find("<testsuites ")?..];
    let head = &head[..head.find('>')?];
    let number = |name: &str| -> Option<usize> {
        let value = head.split_once(&format!(" {name}=\""))?.1;
        value.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    Some((number("tests")? - failed, failed, skips(report).count()))
}

fn skips(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix(SKIPPED))
}

/// Runs `cargo test`, shows what it says, and counts.
async fn count_lines(
    mut command: Command,
    counts: &mut Counts,
) -> Result<std::process::ExitStatus> {
    let name = shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{name}`"))?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut lines = BufReader::new(output).lines();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    while let Some(line) = lines.next_line().await.context("read cargo's output")? {
        say::line(&line);
        skipped += skips(&line).count();
        if let Some((more_passed, more_failed)) = result(&line) {
            passed += more_passed;
            failed += more_failed;
        }
    }
    counts.add(passed, failed, skipped);
    child
        .wait()
        .await
        .with_context(|| format!("wait for `{name}`"))
}

/// Passed and failed tests of a line `test result: ok. 5 passed; 0 failed; …`.
fn result(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| -> Option<usize> {
        let before = rest.split_once(&format!(" {word}"))?.0;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let report = "<?xml version=\"1.0\"?>\n\
            <testsuites name=\"nextest-run\" tests=\"7\" failures=\"1\" errors=\"1\" uuid=\"x\">\n\
            <testsuite name=\"a\" tests=\"7\" disabled=\"0\" errors=\"0\" failures=\"2\">\n\
            <system-out>\nrunning 1 test\nSKIPPED: no XFS here\ntest a ... ok\n</system-out>\n";
        let (passed, failed, skipped) = numbers(report).unwrap();
        let mut counts = Counts::default();
        counts.add(passed, failed, skipped);
        let expected = Counts {
            passed: 4,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(counts, expected);
        assert_eq!(skips(report).collect::<Vec<_>>(), ["no XFS here"]);
    }

    #[test]
    fn the_result_line_of_a_test_binary_is_understood() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(result(line), Some((12, 3)));
        assert_eq!(result("running 3 tests"), None);
    }
}
