//! Every failpoint of the programs has its place in the fault suite.

use std::collections::BTreeSet;

use crate::source::sources;

#[path = "../faults/points.rs"]
#[expect(dead_code, reason = "the suite reads the rest of it")]
mod points;

/// Places that are no pair, and the row of the suite that uses each.
const OTHERS: &[(&str, &str)] = &[
    ("clean.begin", "promises"),
    ("store.io", "io"),
    ("store.sync", "promises"),
    ("store.rename", "promises"),
    ("volume.io", "io"),
    ("volume.write", "stopped"),
    ("rpc.answer", "messages"),
];

/// The text literals that come first in calls of `call`.
fn named_by(call: &str, here: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources(here) {
        for (at, _) in source.text.match_indices(call) {
            let rest = source.text[at + call.len()..].trim_start();
            let name = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            if let Some((name, _)) = name {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

fn in_the_programs(call: &str) -> BTreeSet<String> {
    let mut names = named_by(call, "api-service/src/");
    names.extend(named_by(call, "backup-worker/src/"));
    names.extend(named_by(call, "common/src/broker/"));
    names
}

#[test]
fn every_failpoint_has_a_row_in_the_fault_suite() {
    let mut pairs = in_the_programs("durable!(");
    let mut others = in_the_programs("failpoint!(");
    others.extend(in_the_programs("faults::io("));
    others.extend(in_the_programs("faults::skips("));
    // A pair may stand around more than one statement.
    for name in others.clone() {
        let pair = name.strip_suffix(".before").or(name.strip_suffix(".after"));
        if let Some(pair) = pair {
            pairs.insert(pair.to_owned());
            others.remove(&name);
        }
    }
    let mut listed: BTreeSet<String> = BTreeSet::new();
    for point in points::POINTS {
        assert!(!point.deeds.is_empty(), "{} strikes nothing", point.name);
        listed.insert(point.name.to_owned());
    }
    let extra: BTreeSet<String> = OTHERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let traced = "store.sync".to_owned();
    pairs.remove(&traced);
    others.insert(traced);
    assert_eq!(pairs, listed, "durable points and `tests/faults/points.rs`");
    assert_eq!(others, extra, "other places and the list above");
}

#[test]
fn every_bug_that_can_be_planted_has_its_case() {
    let planted: BTreeSet<String> = in_the_programs("planted(");
    let cases = sources("tests/faults/rows/promises.rs");
    let unnamed: Vec<_> = planted
        .iter()
        .filter(|bug| !cases[0].text.contains(&format!("\"{bug}\"")))
        .collect();
    assert!(unnamed.is_empty(), "no case finds {unnamed:?}");
}
