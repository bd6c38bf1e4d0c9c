//! Planted bugs: this program once more for each, with the bug switched on in the programs it
//! strikes. The case that is named for the bug must turn red.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::Arguments;
use crate::rows::promises;
use crate::table::say;

/// What became of a bug.
struct Hunt {
    bug: &'static str,
    case: usize,
    found: bool,
    /// What the case said.
    said: String,
}

/// Plants each bug; success when all are found, and when nothing is found without one.
pub(crate) fn run(arguments: &Arguments, seed: u64) -> ExitCode {
    say("first without any bug: every case must be green");
    let (clean, said) = run_case(arguments, seed, None);
    if !clean {
        say(said);
        return ExitCode::FAILURE;
    }
    let mut left: Vec<_> = promises::bugs().zip(1..).collect();
    left.reverse();
    let left = Mutex::new(left);
    let hunts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.lanes.max(1) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((bug, case)) = next else { return };
                    let (green, said) = run_case(arguments, seed, Some((bug, case)));
                    let hunt = Hunt {
                        bug,
                        case,
                        found: !green,
                        said,
                    };
                    say(shown(&hunt));
                    let mut hunts = hunts.lock().unwrap_or_else(PoisonError::into_inner);
                    hunts.push(hunt);
                }
            });
        }
    });
    let mut hunts = hunts.into_inner().unwrap_or_else(PoisonError::into_inner);
    hunts.sort_by_key(|hunt| hunt.case);
    let found = hunts.iter().filter(|hunt| hunt.found).count();
    say("");
    for hunt in &hunts {
        say(shown(hunt));
    }
    say(format_args!(
        "{found} of {} planted bugs found",
        hunts.len()
    ));
    if found == hunts.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn shown(hunt: &Hunt) -> String {
    let Hunt {
        bug,
        case,
        found,
        said,
    } = hunt;
    let verdict = if *found { "found" } else { "NOT FOUND" };
    format!("{verdict:<9} {bug:<24} promises {case:<3} {said}")
}

/// Runs all promises, or one of them with its bug. Whether it was green, and what it said if not.
fn run_case(arguments: &Arguments, seed: u64, bug: Option<(&str, usize)>) -> (bool, String) {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.args(["--row", "promises", "--seed", &seed.to_string()]);
    command.arg("--logs").arg(&arguments.logs);
    match bug {
        Some((bug, case)) => {
            command.args(["--lanes", "1", "--case", &case.to_string()]);
            command.env("EMBERKEEP_PLANTED", bug);
        }
        None => {
            command.args(["--lanes", &arguments.lanes.to_string()]);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("this program can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = match bug {
        Some(_) => text
            .lines()
            .skip_while(|line| !line.starts_with("FAILED"))
            .nth(2),
        None => Some(&*text),
    };
    (output.status.success(), said.unwrap_or_default().to_owned())
}
