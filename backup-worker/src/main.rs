//! What is asked, configuration, logs, signals, then [`backup_worker::run`].

use std::process::ExitCode;

use anyhow::Context;
use backup_worker::cli::{Arguments, Command, InitTarget};
use backup_worker::standalone;
use clap::Parser;
use common::config::Settings;
use common::shutdown::StopSignals;
use common::telemetry::traces::Service;
use common::{metrics, telemetry};
use futures_util::stream;

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { config, command } = Arguments::parse();
    let settings = || Settings::load(config.as_deref());
    match command {
        Some(Command::Standalone(command)) => return Ok(standalone::run(&command)),
        Some(Command::InitTarget(InitTarget { path: Some(path) })) => {
            print_id(backup_worker::init_target_at(&path)?);
        }
        Some(Command::InitTarget(_)) => print_id(backup_worker::init_target(&settings()?)?),
        Some(Command::CheckConfig) => return checked(&settings()?),
        None => work(settings()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the id is what the command is for")]
fn print_id(target_id: uuid::Uuid) {
    println!("{target_id}");
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn checked(settings: &Settings) -> anyhow::Result<ExitCode> {
    let checks = backup_worker::check_config(settings).await;
    print!("{checks}");
    Ok(ExitCode::from(u8::from(!checks.all_well())))
}

#[tokio::main]
async fn work(settings: Settings) -> anyhow::Result<()> {
    common::faults::start();
    let service = Service {
        name: "backup-worker",
        instance: settings.worker.name.as_str(),
    };
    let _traces = telemetry::start(&settings.telemetry, service)?;
    metrics::start();
    let signals = StopSignals::install().context("listen to signals")?;
    let signals = stream::unfold(signals, |mut signals| async move {
        let signal = signals.next().await;
        Some((signal, signals))
    });
    Ok(backup_worker::run(settings, signals).await?)
}
