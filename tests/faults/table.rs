//! What the suite shows: a row for each kind of fault, redrawn on a terminal while it runs.

#![expect(
    clippy::print_stdout,
    reason = "a program that is run by people talks to them"
)]

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A line.
pub(crate) fn say(text: impl Display) {
    println!("{text}");
}

/// One row's numbers.
#[derive(Debug, Clone)]
struct Line {
    name: &'static str,
    planned: usize,
    good: usize,
    bad: usize,
    /// Time of all its cases together.
    spent: Duration,
}

/// The table of a run.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Mutex<(Vec<Line>, usize)>,
    is_terminal: bool,
}

impl Table {
    /// A table of these rows, one name for each case.
    pub(crate) fn new(cases: impl Iterator<Item = &'static str>) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        for name in cases {
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.planned += 1,
                None => lines.push(Line {
                    name,
                    planned: 1,
                    good: 0,
                    bad: 0,
                    spent: Duration::ZERO,
                }),
            }
        }
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            lines: Mutex::new((lines, 0)),
            is_terminal,
        }
    }

    /// Notes a case; `story` is told if it ended badly.
    pub(crate) fn note(&self, row: &str, took: Duration, story: Option<&str>) {
        let mut guard = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, drawn) = &mut *guard;
        self.wipe(drawn);
        if let Some(story) = story {
            say(story);
        }
        let Some(line) = lines.iter_mut().find(|line| line.name == row) else {
            return;
        };
        line.spent += took;
        match story {
            None => line.good += 1,
            Some(_) => line.bad += 1,
        }
        if self.is_terminal {
            *drawn = draw(lines);
        } else if line.good + line.bad == line.planned {
            say(shown(line));
        }
    }

    /// Shows all of it a last time; whether all is good.
    pub(crate) fn close(&self, took: Duration) -> bool {
        let mut guard = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, drawn) = &mut *guard;
        self.wipe(drawn);
        draw(lines);
        let bad: usize = lines.iter().map(|line| line.bad).sum();
        let good: usize = lines.iter().map(|line| line.good).sum();
        say(format_args!(
            "{good} good, {bad} bad, in {} s",
            took.as_secs()
        ));
        bad == 0
    }

    fn wipe(&self, drawn: &mut usize) {
        if self.is_terminal && *drawn > 0 {
            print!("\x1b[{drawn}A\x1b[J");
        }
        *drawn = 0;
    }
}

/// Prints the table; how many lines that were.
fn draw(lines: &[Line]) -> usize {
    say(format_args!(
        "{:<12} {:>9} {:>5} {:>5} {:>8}",
        "row", "runs", "good", "bad", "seconds"
    ));
    for line in lines {
        say(shown(line));
    }
    lines.len() + 1
}

fn shown(line: &Line) -> String {
    let Line {
        name,
        planned,
        good,
        bad,
        spent,
    } = line;
    let runs = format!("{}/{planned}", good + bad);
    format!(
        "{name:<12} {runs:>9} {good:>5} {bad:>5} {:>8.1}",
        spent.as_secs_f64()
    )
}
