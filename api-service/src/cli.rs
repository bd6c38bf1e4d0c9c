//! The command line: what can be asked of the binary. What is done about it is in
//! [`commands`](crate::commands).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

/// The Block Storage API for volume backups, and the owner of all state. With a command: looks into
/// the database, whether or not an api-service serves it.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Configuration file (TOML). Without it: defaults and environment.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Without one: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// All but serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Looks for what would be in the way of a start, and prints it. Needs no database yet.
    CheckConfig,
    /// Shows who holds what: every job that is not settled.
    Jobs(AsJson),
    /// Decides about messages that nobody could handle.
    #[command(subcommand)]
    Parked(Parked),
}

/// How it is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct AsJson {
    /// Print JSON, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What can be done with parked messages.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// Lists them, with the reasons.
    List(AsJson),
    /// Shows one whole, as JSON.
    Show {
        /// Its id, from the list.
        id: Uuid,
    },
    /// Sends messages once more, as new ones: the broker counts their deliveries anew.
    Redrive(Which),
    /// Forgets messages.
    Drop(Which),
}

/// Which messages.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Their ids, from the list.
    pub ids: Vec<Uuid>,
    /// Every one there is.
    #[arg(long)]
    pub all: bool,
}
