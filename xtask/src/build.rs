//! Building the two services, with cargo's own output shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// The services' programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `api-service`.
    pub api_service: PathBuf,
    /// `backup-worker`.
    pub backup_worker: PathBuf,
}

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    // Cargo tells where the sources are now; they may have moved since this was compiled.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().unwrap_or(&package).to_owned()
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When cargo does not say.
pub async fn target_dir() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"])
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("start cargo")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("understand `cargo metadata`")?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo names no target directory")
}

/// A cargo command in the workspace, by the cargo that runs this. It is ended when its value is dropped.
#[must_use]
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What selects the two services' programs. The whole workspace chooses the features of the dependencies, so that
/// tests, programs with failpoints and these share them, and a machine builds them once.
pub const SERVICES: [&str; 5] = [
    "--workspace",
    "--bin",
    "api-service",
    "--bin",
    "backup-worker",
];

/// Builds both services and tells where their programs are.
///
/// # Errors
/// When they do not build.
pub async fn build_services() -> Result<Binaries> {
    services(build_programs(&SERVICES).await?)
}

/// Builds both services as users have them, to be measured.
///
/// # Errors
/// When they do not build.
pub async fn build_services_for_release() -> Result<Binaries> {
    let mut arguments = vec!["--release"];
    arguments.extend(SERVICES);
    services(build_programs(&arguments).await?)
}

fn services(mut built: BTreeMap<String, PathBuf>) -> Result<Binaries> {
    let mut take = |name: &str| {
        let program = built.remove(name);
        program.with_context(|| format!("cargo built no {name}"))
    };
    Ok(Binaries {
        api_service: take("api-service")?,
        backup_worker: take("backup-worker")?,
    })
}

/// Builds with these arguments of `cargo build`, and tells where each program is.
///
/// # Errors
/// When it does not build.
pub async fn build_programs(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    built_by(&["build"], arguments).await
}

/// Builds tests with these arguments of `cargo test`, and tells where each program is; its name ends in a dash and a hash.
///
/// # Errors
/// When one does not build.
pub async fn build_tests(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    built_by(&["test", "--no-run"], arguments).await
}

async fn built_by(verb: &[&str], arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = cargo(verb);
    let mut cargo = command
        .arg("--message-format=json-render-diagnostics")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let output = cargo.stdout.take().context("cargo's output is piped")?;
    let mut lines = BufReader::new(output).lines();
    let mut programs = BTreeMap::new();
    while let Some(line) = lines.next_line().await.context("read cargo's messages")? {
        programs.extend(built_program(&line));
    }
    let status = cargo.wait().await.context("wait for cargo")?;
    anyhow::ensure!(
        status.success(),
        "`cargo {} {}` failed",
        verb.join(" "),
        arguments.join(" ")
    );
    Ok(programs)
}

/// Name and path of the program a cargo message is about.
fn built_program(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = Path::new(path).file_name()?.to_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}
