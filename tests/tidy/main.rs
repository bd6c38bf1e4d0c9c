//! House rules that a machine can check. Each failure says the rule's reason: it is the review
//! remark that need not be made again.

#![cfg(test)]

mod failpoints;
mod fixtures;
mod knowing;
mod source;

use source::sources;

/// Most lines of a file.
const LINES_MAX: usize = 500;

#[test]
fn no_file_is_longer_than_a_person_reads_at_once() {
    let long: Vec<_> = sources("")
        .into_iter()
        .filter(|source| source.text.lines().count() > LINES_MAX)
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "split these by idea, not by size: {long:#?}"
    );
}
