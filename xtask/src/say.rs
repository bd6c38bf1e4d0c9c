//! Words to the user on standard output: plain, or with a little weight on a terminal.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program talks to its user"
)]

use std::fmt::Display;
use std::io::IsTerminal as _;

/// A line.
pub fn line(text: impl Display) {
    println!("{text}");
}

/// A line that stands out.
pub fn heading(text: impl Display) {
    println!("{}", bold(text));
}

/// A line that says that something is true.
pub fn good(text: impl Display) {
    println!("  {} {text}", styled("32", "✓"));
}

/// A line of something typed or shown, set in from the prose.
pub fn shown(text: impl Display) {
    for line in text.to_string().lines() {
        println!("      {}", styled("2", line));
    }
}

/// Why a command failed, on standard error.
pub fn failure(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Text with weight.
#[must_use]
pub fn bold(text: impl Display) -> String {
    styled("1", text)
}

fn styled(style: &str, text: impl Display) -> String {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// Bytes for people: `1.0 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}
