//! Commands for operators, run beside a serving api-service or without one.
//!
//! They read the database, and change nothing but parked messages: a message that is sent once more goes
//! into the outbox, from where the api-service sends it.

mod check;
mod jobs;
mod parked;
mod table;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context;
use common::config::Settings;
use common::domain::SystemClock;
use serde::Serialize;

use crate::cli::Command;
use crate::store::Store;

/// Does what a command line asks, and prints to `out`.
///
/// # Errors
/// When there is no database, or a message cannot be had.
pub async fn run(
    command: &Command,
    settings: Settings,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (store, done) = match command {
        Command::CheckConfig => return check::show(&settings, out).await,
        Command::Jobs(form) => {
            let store = open(settings).await?;
            let done = jobs::show(&store, *form, out).await;
            (store, done)
        }
        Command::Parked(parked) => {
            let store = open(settings).await?;
            let done = parked::run(&store, parked, out).await;
            (store, done)
        }
    };
    store.close().await;
    done
}

async fn open(settings: Settings) -> anyhow::Result<Store> {
    Store::open_beside(Arc::new(settings), Arc::new(SystemClock))
        .await
        .context("open the database; the api-service makes it when it starts")
}

fn print_json<T: Serialize>(value: &T, out: &mut impl Write) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("write JSON")?;
    print(&text, out)
}

fn print(text: &str, out: &mut impl Write) -> anyhow::Result<()> {
    match writeln!(out, "{}", text.trim_end()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("print"),
    }
}

#[cfg(test)]
mod tests;
