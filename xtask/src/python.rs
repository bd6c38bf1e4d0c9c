//! Programs from Python's package index: pinned, each set in an environment of its own, which is kept in the user's cache and used again.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::build::target_dir;
use crate::files::{find_program, make_private_dir, write_private};
use crate::say;
use crate::stage::succeed;

/// The Python clients that tests drive, and the Cinder they come from.
pub const CLIENTS: Pinned = Pinned {
    name: "clients",
    file: "tests/clients/requirements.txt",
    pins: include_str!("../../tests/clients/requirements.txt"),
    otherwise: "there are no clients to test; `cargo xtask test --quick` leaves them out",
};

/// Compose, a program of its own that Python's package index carries.
pub const COMPOSE: Pinned = Pinned {
    name: "compose",
    file: "xtask/src/compose/requirements.txt",
    pins: include_str!("compose/requirements.txt"),
    otherwise: "docker-compose.yml cannot be tested",
};

/// Written when all of it is installed.
const COMPLETE: &str = "emberkeep-complete";

/// A set of programs.
#[derive(Debug, Clone, Copy)]
pub struct Pinned {
    name: &'static str,
    /// Where the pins stand.
    file: &'static str,
    /// What is installed, each version pinned.
    pins: &'static str,
    /// What follows when it cannot be installed.
    otherwise: &'static str,
}

impl Pinned {
    /// Finds the programs' folder, and installs them first when these pins were never installed here.
    ///
    /// # Errors
    /// When they may not or cannot be installed.
    pub async fn ensure(&self, allowed: bool) -> Result<String> {
        let Self { name, file, .. } = self;
        let place = cache().await?.join(format!("{name}-{}", hash(self.pins)));
        make_private_dir(&place)?;
        let programs = place.join("venv/bin");
        // Two that start at once install it once. The lock goes with the file.
        let lock = File::create(place.join("lock")).context("make a lock")?;
        lock.lock().context("wait for another installation")?;
        if place.join(COMPLETE).exists() {
            say::line(format_args!(
                "{file}: installed earlier, in {}",
                programs.display()
            ));
            return as_text(programs);
        }
        anyhow::ensure!(allowed, "--no-install forbids to install what {file} names");
        say::line(format_args!(
            "Installing what {file} names from PyPI, into {}",
            place.display()
        ));
        self.install(&place).await?;
        write_private(&place.join(COMPLETE), self.pins)?;
        as_text(programs)
    }

    async fn install(&self, place: &Path) -> Result<()> {
        let pins = place.join("requirements.txt");
        write_private(&pins, self.pins)?;
        let python = find_program("python3").context("find python3")?;
        let venv = place.join("venv");
        let mut command = Command::new(python);
        command.args(["-m", "venv", "--clear"]).arg(&venv);
        succeed(command).await.context(
            "make a Python environment; on Debian the package python3-venv has what it needs",
        )?;
        let mut command = Command::new(venv.join("bin/python"));
        command
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&pins);
        succeed(command).await.with_context(|| {
            format!(
                "download from PyPI: what pip said stands above. Without a network {}",
                self.otherwise
            )
        })
    }
}

/// A path as the environment of a command carries it.
fn as_text(path: PathBuf) -> Result<String> {
    let text = path.into_os_string().into_string();
    text.map_err(|path| anyhow::anyhow!("{} is no text", path.display()))
}

/// The user's cache; without a home, cargo's target folder.
pub(crate) async fn cache() -> Result<PathBuf> {
    let given = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let cache = match given("XDG_CACHE_HOME") {
        Some(cache) => cache,
        None => match given("HOME") {
            Some(home) => home.join(".cache"),
            None => target_dir().await?,
        },
    };
    Ok(cache.join("emberkeep"))
}

/// Other pins, another place.
fn hash(pins: &str) -> String {
    let lines = pins.lines().map(str::trim);
    let pins: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    hex::encode(&Sha256::digest(pins.join("\n"))[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pins_have_another_place_and_comments_do_not_matter() {
        assert_eq!(hash("a==1\nb==2\n"), hash("# why\na==1\n\nb==2"));
        assert_ne!(hash("a==1"), hash("a==2"));
    }

    #[test]
    fn everything_is_pinned() {
        for set in [CLIENTS, COMPOSE] {
            let pins = set.pins.lines().filter(|line| !line.starts_with('#'));
            for pin in pins.filter(|line| !line.is_empty()) {
                assert!(pin.contains("=="), "{pin}");
            }
        }
    }
}
