//! Configuration, logs, signals, then [`backup_worker::run`].

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use common::config::Settings;
use common::shutdown::StopSignals;
use common::telemetry;
use futures_util::stream;

/// Takes backup jobs from the broker and moves volume data.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file (TOML). Without it: defaults and environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Prepares the backup target and prints its id; one that is prepared keeps it.
    InitTarget,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings::load(arguments.config.as_deref())?;
    match arguments.command {
        Some(Command::InitTarget) => init_target(&settings),
        None => work(settings),
    }
}

#[expect(clippy::print_stdout, reason = "the id is what the command is for")]
fn init_target(settings: &Settings) -> anyhow::Result<()> {
    println!("{}", backup_worker::init_target(settings)?);
    Ok(())
}

#[tokio::main]
async fn work(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(&settings.telemetry);
    let signals = StopSignals::install().context("listen to signals")?;
    let signals = stream::unfold(signals, |mut signals| async move {
        let signal = signals.next().await;
        Some((signal, signals))
    });
    Ok(backup_worker::run(settings, signals).await?)
}
