//! The escape hatch: commands on a stored tree alone, for the day when there is no api-service, no
//! broker, no database and no configuration file, but the directory of backups is still there.
//!
//! ```text
//! restore ─┐
//! verify  ─┼─► repository: finds backups and parents by file names ─┬─► engine ─► format, store
//! list    ─┤                                                        └─► format
//! backup  ─┘   watch: progress bar, Ctrl-C      output: where restore writes
//! ```
//!
//! A command is what a job is without the state owner: the same engine, format and drivers. What a
//! sheet would tell is on the command line, or in the stored files, which are not trusted.
//!
//! **Invariants.** Nothing but `backup` writes to the tree. A command that ends with 0 has checked
//! all that it read. Text goes to standard output and errors to standard error; with `--json` standard output
//! has one JSON document, whatever happens.

mod backup;
mod failure;
mod list;
mod output;
mod repository;
mod restore;
mod strays;
mod verify;
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use common::config::Worker;
use serde::Serialize;

pub use failure::{Failure, Finding, Findings};
pub use repository::Repository;
pub use verify::{Chosen, Verified, verify};
pub use watch::Watch;

use crate::cli::{Rates, Standalone};
use crate::engine::{EngineLimits, Throttle, Throttles};

/// Does what was asked, and says what came of it.
pub fn run(command: &Standalone) -> ExitCode {
    let json = match command {
        Standalone::Restore(options) => options.json,
        Standalone::Verify(options) => options.json,
        Standalone::List(options) => options.json,
        Standalone::Backup(options) => options.json,
    };
    let code = Watch::of_process(json).and_then(|watch| {
        Ok(match command {
            Standalone::Restore(options) => tell(json, 0, &restore::run(options, &watch)?),
            Standalone::Verify(options) => {
                let verified = verify::run(options, &watch)?;
                tell(json, verified.exit_code(), &verified)
            }
            Standalone::List(options) => tell(json, 0, &list::run(options, &watch)?),
            Standalone::Backup(options) => tell(json, 0, &backup::run(options, &watch)?),
        })
    });
    code.unwrap_or_else(|failure| tell_failure(json, &failure))
        .into()
}

/// Prints a report.
fn tell(json: bool, code: u8, report: &(impl Serialize + Display)) -> u8 {
    let printed = if json {
        print_json(report)
    } else {
        writeln!(io::stdout(), "{report}")
    };
    match printed {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failure::COULD_NOT,
        _ => code,
    }
}

fn tell_failure(json: bool, failure: &Failure) -> u8 {
    /// A failure in JSON.
    #[derive(Serialize)]
    struct Told<'a> {
        error: String,
        #[serde(flatten)]
        found: Option<&'a Findings>,
    }
    // Nothing is left to be done about an error that cannot be printed.
    let _ = writeln!(io::stderr(), "error: {failure}");
    if json {
        let found = match failure {
            Failure::Damaged(found) => Some(found),
            Failure::CouldNot(_) | Failure::Usage(_) => None,
        };
        let _ = print_json(&Told {
            error: failure.to_string(),
            found,
        });
    }
    failure.exit_code()
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// As a worker without configuration has them.
fn limits() -> EngineLimits {
    crate::limits_of(&Worker::default())
}

/// As a worker has it that has one job.
fn throttle(rates: Rates) -> Throttle {
    let worker = Worker {
        read_rate: rates.read_rate,
        store_rate: rates.store_rate,
        ..Worker::default()
    };
    Throttles::new(&worker).for_job()
}
