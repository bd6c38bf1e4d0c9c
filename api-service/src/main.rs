//! Configuration, logs, signals, then [`api_service::run`].

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use common::config::Settings;
use common::shutdown::StopSignals;
use common::telemetry;

/// The Block Storage API for volume backups, and the owner of all state.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file (TOML). Without it: defaults and environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings::load(arguments.config.as_deref())?;
    common::faults::start();
    telemetry::start(&settings.telemetry);
    let mut signals = StopSignals::install().context("listen to signals")?;
    let shutdown = async move {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
    };
    api_service::run(settings, shutdown).await
}
