//! Command lines as people type them, and what they printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::TestStack;
use serde_json::Value;

/// Set by `cargo xtask test --clients`: where the clients' programs are.
const CLIENTS: &str = "EMBERKEEP_TEST_CLIENTS";

/// Project of the commands that name one; the harness's own client belongs to it too.
pub(crate) const PROJECT: &str = "00000000000000000000000000000001";

/// Where the clients are.
pub(crate) fn programs() -> PathBuf {
    let found = std::env::var_os(CLIENTS).map(PathBuf::from);
    found.unwrap_or_else(|| panic!("{CLIENTS} is set by `cargo xtask test --clients`"))
}

/// A client with its environment.
#[derive(Debug, Clone)]
pub(crate) struct Cli {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Said {
    line: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Cli {
    /// A client in an environment of one's own choosing.
    pub(crate) fn with(
        bin: &Path,
        program: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            program: bin.join(program),
            environment,
        }
    }

    /// `openstack` without an identity.
    pub(crate) fn openstack(bin: &Path, stack: &TestStack) -> Self {
        let endpoint = format!("{}/v3", stack.api().base());
        Self::with(
            bin,
            "openstack",
            vec![
                ("OS_AUTH_TYPE", "none".to_owned()),
                ("OS_ENDPOINT", endpoint),
            ],
        )
    }

    /// `cinder` with its own plug-in for no authentication.
    pub(crate) fn cinder(bin: &Path, stack: &TestStack) -> Self {
        let endpoint = format!("{}/v3", stack.api().base());
        Self::with(
            bin,
            "cinder",
            vec![
                ("OS_AUTH_TYPE", "noauth".to_owned()),
                ("OS_USER_ID", "tester".to_owned()),
                ("OS_PROJECT_ID", PROJECT.to_owned()),
                ("CINDER_ENDPOINT", endpoint),
            ],
        )
    }

    /// Runs a command; its words stand between blanks.
    pub(crate) fn run(&self, line: &str) -> Said {
        let output = Command::new(&self.program)
            .args(line.split_whitespace())
            .env_clear()
            .envs(["PATH", "HOME", "TMPDIR"].iter().filter_map(|name| {
                let value = std::env::var_os(name)?;
                Some((name, value))
            }))
            .env("LC_ALL", "C.UTF-8")
            // Wide enough that no table is folded.
            .env("COLUMNS", "4000")
            .envs(self.environment.iter().cloned())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let program = self.program.file_name().unwrap_or_default();
        Said {
            line: format!("{} {line}", program.display()),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command that prints JSON and must succeed.
    pub(crate) fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} -f json")).succeeds();
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error} in what `{}` printed: {said:?}", said.line))
    }
}

impl Said {
    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It must have failed and said this.
    #[track_caller]
    pub(crate) fn fails(self, saying: &str) {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(
            self.code.is_some_and(|code| code != 0) && said.contains(saying),
            "no failure with `{saying}`: {self:#?}"
        );
    }

    /// The lines it printed.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines()
    }

    /// It must have printed this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(self.stdout.contains(text), "no `{text}` in {self:#?}");
    }

    /// The rows of the printed table, each by its heads.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<BTreeMap<String, String>> {
        let mut lines = self
            .stdout
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| {
                let cells = line.trim_matches('|').split('|');
                cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
            });
        let heads = lines
            .next()
            .unwrap_or_else(|| panic!("no table in {self:#?}"));
        lines
            .map(|cells| heads.iter().cloned().zip(cells).collect())
            .collect()
    }

    /// The printed table of properties and values.
    #[track_caller]
    pub(crate) fn properties(&self) -> BTreeMap<String, String> {
        let pair = |mut row: BTreeMap<String, String>| {
            let name = row.remove("Property");
            name.zip(row.remove("Value"))
                .unwrap_or_else(|| panic!("no table of properties in {self:#?}"))
        };
        self.rows().into_iter().map(pair).collect()
    }
}

/// The id that a command printed.
#[track_caller]
pub(crate) fn id<Id: std::str::FromStr>(text: impl AsRef<str>) -> Id {
    let text = text.as_ref();
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no id"))
}
