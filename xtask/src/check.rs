//! `check`: what every commit must pass: format, lints, unit tests. Needs no broker and installs nothing.

use anyhow::Result;

use crate::build::cargo;
use crate::stage::{Stages, succeed};
use crate::test::{Counts, Runner};

/// Packages whose unit tests need nothing but themselves.
const UNIT_TESTED: [&str; 8] = [
    "-p",
    "common",
    "-p",
    "api-service",
    "-p",
    "backup-worker",
    "-p",
    "xtask",
];

/// Runs it all.
///
/// # Errors
/// When a stage fails.
pub async fn run() -> Result<()> {
    let mut stages = Stages::new(vec!["format", "lints", "unit tests"]);
    stages.run(format()).await?;
    stages.run(lints()).await?;
    let mut counts = Counts::default();
    let unit_tests = async {
        let mut arguments = UNIT_TESTED.to_vec();
        arguments.extend(["--lib", "--bins"]);
        Runner::find().await.run(&arguments, &[], &mut counts).await
    };
    stages.run(unit_tests).await?;
    counts.report();
    Ok(())
}

/// Every file is as rustfmt has it.
pub(crate) async fn format() -> Result<()> {
    succeed(cargo(&["fmt", "--all", "--check"])).await
}

/// Clippy has nothing to say.
pub(crate) async fn lints() -> Result<()> {
    let mut command = cargo(&["clippy", "--workspace", "--all-targets"]);
    command.args(["--features", "tests/clients"]);
    command.args(["--", "-D", "warnings"]);
    succeed(command).await
}
