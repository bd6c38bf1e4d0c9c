//! Our sources as text.

use std::path::{Path, PathBuf};

/// One Rust file of the workspace.
pub(crate) struct Source {
    /// Its path below the workspace, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// The workspace.
pub(crate) fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests lie in the workspace")
        .to_owned()
}

/// All Rust files whose path begins like this, sorted.
pub(crate) fn sources(beginning: &str) -> Vec<Source> {
    let root = workspace();
    let mut found = Vec::new();
    for member in ["common", "api-service", "backup-worker", "tests", "xtask"] {
        collect(&root, &root.join(member), &mut found);
    }
    found.retain(|source| source.path.starts_with(beginning));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        !found.is_empty(),
        "no file is at `{beginning}`: the rule looks in the wrong place"
    );
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    let entries = directory.read_dir().expect("a folder can be read");
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(root).expect("it lies in the workspace");
            found.push(Source {
                path: below.to_string_lossy().replace('\\', "/"),
                text: std::fs::read_to_string(&path).expect("a source is text"),
            });
        }
    }
}

impl Source {
    /// Lines of code with their numbers: without comments, and without what is only for tests.
    pub(crate) fn code(&self) -> Vec<(usize, &str)> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let lines: Vec<_> = (1..).zip(self.text.lines()).collect();
        // By habit the tests within a file are its last part.
        let opens_tests = |pair: &[(usize, &str)]| {
            pair[0].1 == "#[cfg(test)]" && pair[1].1.starts_with("mod ") && pair[1].1.ends_with('{')
        };
        let end = lines.windows(2).position(opens_tests);
        let mut code = lines;
        code.truncate(end.unwrap_or(usize::MAX));
        code.retain(|(_, line)| !line.trim_start().starts_with("//"));
        code
    }

    /// Places where the code has this word, as `path:line`.
    pub(crate) fn places_of(&self, word: &str) -> Vec<String> {
        self.code()
            .into_iter()
            .filter(|(_, line)| has_word(line, word))
            .map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}

/// Whether the line has the word, and not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let begins = !word.starts_with(is_name) || before.is_none_or(|c| !is_name(c));
        let ends = !word.ends_with(is_name) || after.is_none_or(|c| !is_name(c));
        begins && ends
    })
}

#[test]
fn a_word_is_no_part_of_a_longer_one() {
    assert!(has_word("use lapin::Channel;", "lapin"));
    assert!(!has_word("use grapelapin::Channel;", "lapin"));
    assert!(!has_word("let lapin_like = 1;", "lapin"));
    assert!(has_word("use crate::http::error;", "crate::http"));
    assert!(!has_word("use crate::https;", "crate::http"));
}
