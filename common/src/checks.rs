//! What `check-config` looked at, and what it found.

use std::fmt::{self, Display};

/// One line for each thing that was looked at.
#[derive(Debug, Default)]
pub struct Checks(Vec<(String, Result<String, String>)>);

impl Checks {
    /// Notes what was found: a word about what is well, or what is not.
    pub fn note(&mut self, what: impl Into<String>, found: Result<String, String>) {
        self.0.push((what.into(), found));
    }

    /// Whether all is well.
    #[must_use]
    pub fn all_well(&self) -> bool {
        self.0.iter().all(|(_, found)| found.is_ok())
    }
}

impl Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, found) in &self.0 {
            match found {
                Ok(well) => writeln!(f, "ok       {what}: {well}")?,
                Err(why) => writeln!(f, "NOT OK   {what}: {why}")?,
            }
        }
        Ok(())
    }
}
