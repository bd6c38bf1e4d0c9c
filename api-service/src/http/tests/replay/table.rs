//! The one list of deviations: the table under a heading of `docs/clients.md`.

use std::path::Path;

use super::compare::Difference;

/// The heading that the table stands under.
const HEADING: &str = "## Where we differ from Cinder";

/// One row: what is expected to differ, and where. Each pattern counts what it was needed for.
#[derive(Debug)]
pub(super) struct Deviation {
    exchanges: Vec<(String, usize)>,
    places: Vec<(String, usize)>,
}

impl Deviation {
    /// Whether the row is about the difference; then its patterns are counted.
    pub(super) fn covers(&mut self, exchange: &str, difference: &Difference) -> bool {
        let one = |patterns: &[(String, usize)], text: &str| {
            let mut patterns = patterns.iter();
            patterns.position(|(pattern, _)| matches(pattern, text))
        };
        let places = one(&self.places, &difference.place);
        let both = one(&self.exchanges, exchange).zip(places);
        if let Some((exchange, place)) = both {
            self.exchanges[exchange].1 += 1;
            self.places[place].1 += 1;
        }
        both.is_some()
    }

    /// Patterns that nothing differs by.
    pub(super) fn idle(&self) -> impl Iterator<Item = &str> {
        let both = self.exchanges.iter().chain(&self.places);
        both.filter(|(_, used)| *used == 0)
            .map(|(pattern, _)| pattern.as_str())
    }
}

/// The rows.
pub(super) fn deviations() -> Vec<Deviation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (_, below) = page.split_once(HEADING).expect("the heading is there");
    let section = below.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let mut patterns = || {
            let cell = cells.next().expect("a cell");
            // Code stands between the backticks.
            let words = cell.split('`').skip(1).step_by(2);
            words.map(|word| (word.to_owned(), 0)).collect::<Vec<_>>()
        };
        let deviation = Deviation {
            exchanges: patterns(),
            places: patterns(),
        };
        let complete = !deviation.exchanges.is_empty() && !deviation.places.is_empty();
        assert!(complete, "the row names no exchange or no place: {row}");
        deviation
    })
    .collect()
}

/// Whether the text is the pattern, where `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| matches(rest, &text[at..]))
        }),
    }
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("a/*.b", "a/x.y.b"));
    assert!(matches("*", ""));
    assert!(matches("a", "a"));
    assert!(!matches("a/*.b", "a/b"));
    assert!(!matches("a", "ab"));
}
