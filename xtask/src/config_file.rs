//! The one TOML file both services read, written from keys with dots.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

/// Keys with dots and their values, as `--set` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {
    values: BTreeMap<String, String>,
}

impl ConfigFile {
    /// Sets a key; what was set before goes.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.values.insert(key.into(), value.into());
    }

    /// The value of a key, if it is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The file's text. Numbers and booleans stand bare, everything else is a string.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut tables: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (key, value) in &self.values {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
            tables.entry(table).or_default().push((name, value));
        }
        let mut text = String::new();
        for (table, entries) in tables {
            if !table.is_empty() {
                let _ = writeln!(text, "[{table}]");
            }
            for (name, value) in entries {
                let _ = writeln!(text, "{name} = {}", literal(value));
            }
            text.push('\n');
        }
        text
    }
}

/// Splits `section.key=value`.
///
/// # Errors
/// When there is no `=`, or the key has another form.
pub fn parse_setting(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .context("write it as section.key=value")?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    anyhow::ensure!(
        key.contains('.') && key.split('.').all(is_word),
        "`{key}` is no key: write it as section.key=value"
    );
    Ok((key.to_owned(), value.to_owned()))
}

fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_tables_and_values_keep_their_type() {
        let mut file = ConfigFile::default();
        for setting in [
            "worker.slots=4",
            "volume_backends.local.path=/tmp/a \"b\\c",
            "volume_backends.local.driver=file",
            "jobs.lease=2s",
            "jobs.lease=4s",
        ] {
            let (key, value) = parse_setting(setting).unwrap();
            file.set(key, value);
        }
        assert_eq!(
            file.to_toml(),
            "[jobs]\nlease = \"4s\"\n\n\
             [volume_backends.local]\ndriver = \"file\"\npath = \"/tmp/a \\\"b\\\\c\"\n\n\
             [worker]\nslots = 4\n\n"
        );
        assert_eq!(file.get("jobs.lease"), Some("4s"));
    }

    #[test]
    fn a_setting_without_section_or_value_is_refused() {
        for bad in ["lease=2s", "jobs.lease", "jobs..lease=2s", ".=1", "a b.c=1"] {
            assert!(parse_setting(bad).is_err(), "{bad}");
        }
    }
}
