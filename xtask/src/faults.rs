//! `test --faults` and `test --planted`: builds the programs that can be struck, and runs the suite on
//! them. What the suite does is in `tests/faults` and told in `docs/faults.md`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::process::Command;

use crate::files::ScratchDir;
use crate::stack::Broker;
use crate::stage::{Stages, succeed};
use crate::{build, test};

/// What of the suite is run.
#[derive(Debug, Clone, Default, Args)]
pub struct Wishes {
    /// All cases of the long run, in place of those of the short one
    #[arg(long, requires = "faults")]
    pub full: bool,
    /// The K-th of N parts of the cases
    #[arg(long, value_name = "K/N", requires = "faults")]
    pub part: Option<String>,
    /// Where all that is random comes from; a new one each time by default
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only this row
    #[arg(long, requires = "faults")]
    pub row: Option<String>,
    /// Only the case of this number in the row
    #[arg(long, requires = "row")]
    pub case: Option<usize>,
    /// How many cases run side by side
    #[arg(long)]
    pub lanes: Option<usize>,
}

/// The row that is no part of the suite's own program.
const RACES: &str = "races";

impl Wishes {
    /// Races are the first part's, and everybody's who asked for no other row.
    fn wants_races(&self) -> bool {
        let is_first = self
            .part
            .as_deref()
            .is_none_or(|part| part.starts_with("1/"));
        is_first && self.row.as_deref().is_none_or(|row| row == RACES)
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.full {
            arguments.push("--full".to_owned());
        }
        let mut push = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        push("part", self.part.clone());
        push("seed", self.seed.map(|seed| seed.to_string()));
        push("row", self.row.clone());
        push("case", self.case.map(|case| case.to_string()));
        push("lanes", self.lanes.map(|lanes| lanes.to_string()));
        arguments
    }
}

/// Runs the suite.
///
/// # Errors
/// When a stage fails; the rest is not run.
pub async fn run(broker: Broker, wishes: &Wishes) -> Result<()> {
    if wishes.wants_races() {
        let mut stages = Stages::new(vec![RACES]);
        stages.run(race(wishes.full)).await?;
    }
    if wishes.row.as_deref() == Some(RACES) {
        return Ok(());
    }
    stages(broker, wishes.arguments()).await
}

/// Races between requests of the api-service, which need no process to be struck: its own tests, more often.
async fn race(full: bool) -> Result<()> {
    let rounds = if full { "3000" } else { "200" };
    let environment = [("EMBERKEEP_RACES", rounds.to_owned())];
    let arguments = ["--workspace", "--lib", "store::tests::races"];
    let mut counts = test::Counts::default();
    let runner = test::Runner::find().await;
    runner.run(&arguments, &environment, &mut counts).await?;
    counts.report();
    Ok(())
}

/// Plants each bug and sees that it is found.
///
/// # Errors
/// When one is not found, or a case is red without any.
pub async fn run_planted(broker: Broker, wishes: &Wishes) -> Result<()> {
    let mut arguments = wishes.arguments();
    arguments.push("--planted".to_owned());
    stages(broker, arguments).await
}

async fn stages(broker: Broker, arguments: Vec<String>) -> Result<()> {
    anyhow::ensure!(
        broker == Broker::Private,
        "the fault suite strikes its broker, and the given one may have other users: unset EMBERKEEP__AMQP__URL"
    );
    let mut stages = Stages::new(vec!["build", "broker", "faults"]);
    let programs = stages.run(build_all()).await?;
    let scratch = ScratchDir::new(&build::target_dir().await?, "faults")?;
    let started = test::start_broker(&broker, &scratch);
    let (node, environment) = stages.run(started).await?;
    stages
        .run(run_suite(&programs, &environment, &arguments))
        .await?;
    if let Some(mut node) = node {
        node.stop().await?;
    }
    Ok(())
}

/// What the suite is run with.
#[derive(Debug)]
pub(crate) struct Programs {
    suite: PathBuf,
    /// The folder of the programs that can be struck.
    struck: PathBuf,
}

/// Builds the suite and the programs it strikes. Those are copied aside: ordinary programs of the same
/// names take their places at the next ordinary build.
///
/// # Errors
/// When something does not build.
pub(crate) async fn build_all() -> Result<Programs> {
    let mut built = build::build_programs(&["--workspace", "--bin", "faults"]).await?;
    let suite = built.remove("faults").context("cargo built no `faults`")?;
    let features = "api-service/failpoints,backup-worker/failpoints";
    let with_features = [&build::SERVICES[..], &["--features", features]].concat();
    let built = build::build_programs(&with_features).await?;
    let struck = build::target_dir().await?.join("faults/bin");
    std::fs::create_dir_all(&struck).with_context(|| format!("make {}", struck.display()))?;
    for (name, program) in built {
        // A program that runs cannot be written, but another can take its name.
        let (to, new) = (struck.join(&name), struck.join(format!("{name}.new")));
        std::fs::copy(&program, &new).with_context(|| format!("copy {}", program.display()))?;
        std::fs::rename(&new, &to).with_context(|| format!("place {}", to.display()))?;
    }
    // What others find under these names has no failpoints.
    build::build_programs(&build::SERVICES).await?;
    Ok(Programs { suite, struck })
}

/// Runs the suite on its programs.
///
/// # Errors
/// When it is red.
pub(crate) async fn run_suite(
    programs: &Programs,
    environment: &[(&'static str, String)],
    arguments: &[String],
) -> Result<()> {
    let logs = programs.struck.with_file_name("logs");
    // The suite, and all that it starts, ends with this process, also when this is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(&programs.suite)
        .args(arguments)
        .arg("--logs")
        .arg(logs)
        .env("EMBERKEEP_TEST_BINARIES", &programs.struck)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    succeed(command).await
}
