//! The fault suite: a running system is struck in every way it should survive, and one oracle looks
//! at what is left. `cargo xtask test --faults` builds what it needs and runs it; `docs/faults.md`
//! says what each row does.
//!
//! ```text
//! rows ──► cases ──► lanes: a thread with a stack each ──► scene: prepare, strike, revive ──► oracle
//!                         └──► table: rows, runs, good ones, seconds
//! ```

mod lanes;
mod oracle;
mod planted;
mod points;
mod rows;
mod scene;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What is run.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// All cases of the long run, in place of those of the short one
    #[arg(long)]
    full: bool,
    /// The K-th of N parts of the cases
    #[arg(long, value_name = "K/N", value_parser = parse_part, default_value = "1/1")]
    part: (usize, usize),
    /// Where all that is random comes from; a new one each time by default
    #[arg(long)]
    seed: Option<u64>,
    /// Only this row
    #[arg(long)]
    row: Option<String>,
    /// Only the case of this number
    #[arg(long, requires = "row")]
    case: Option<usize>,
    /// Plant each bug there is, and see that its case finds it
    #[arg(long, conflicts_with_all = ["full", "row", "part"])]
    planted: bool,
    /// How many cases run side by side
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    /// Where the logs of failed cases are kept
    #[arg(long, default_value = "faults-logs")]
    logs: PathBuf,
}

fn parse_part(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, of)| {
        let (part, of) = (part.parse().ok()?, of.parse().ok()?);
        (1 <= part && part <= of).then_some((part, of))
    });
    numbers.ok_or_else(|| format!("`{text}` is not K/N with 1 ≤ K ≤ N"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    table::say(format_args!("seed {seed}"));
    if arguments.planted {
        return planted::run(&arguments, seed);
    }
    let cases = rows::cases(&arguments);
    if cases.is_empty() {
        table::say("no such row or case");
        return ExitCode::FAILURE;
    }
    if lanes::run(cases, seed, &arguments) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
