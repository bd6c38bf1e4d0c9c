//! What is asked, configuration, logs, signals, then [`api_service::run`].

use anyhow::Context;
use api_service::cli::Arguments;
use api_service::commands;
use clap::Parser;
use common::config::Settings;
use common::shutdown::StopSignals;
use common::telemetry::traces::Service;
use common::{metrics, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { config, command } = Arguments::parse();
    let settings = Settings::load(config.as_deref())?;
    if let Some(command) = command {
        return commands::run(&command, settings, &mut std::io::stdout()).await;
    }
    common::faults::start();
    let instance = std::process::id().to_string();
    let service = Service {
        name: "api-service",
        instance: &instance,
    };
    let _traces = telemetry::start(&settings.telemetry, service)?;
    metrics::start();
    let mut signals = StopSignals::install().context("listen to signals")?;
    let shutdown = async move {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
    };
    api_service::run(settings, shutdown).await
}
