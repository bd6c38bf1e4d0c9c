//! Failpoints: places where a test strikes a running process, and planted bugs.
//!
//! Without the feature `failpoints` every word here is nothing: no branch, no name in the program.
//! With it, `FAILPOINTS` says what happens where, in the language of the crate `fail`:
//! `backup.segment.after=2*off->1*return(kill)` kills the process after its third segment.
//!
//! | `return(…)` | does |
//! |---|---|
//! | `kill` | SIGKILL to this process: nothing is unwound, flushed or told |
//! | `stop` | SIGSTOP to this process: it keeps all it has, until somebody sends SIGCONT |
//! | `eio`, `enospc` | where I/O may fail ([`io`]): that error, which may pass |
//! | `lasting` | the same, with an error that trying again will not mend |
//! | `skip` | where something may be left out ([`skips`]): it is |
//! | `trace` | a line with the point's name in the file `trace` of `EMBERKEEP_FAULTS` |
//!
//! `kill` and `stop` happen once for each point and directory `EMBERKEEP_FAULTS`, so that the process
//! which is started again lives. Jobs that clean up come and go by themselves, so nothing but
//! `clean.begin` strikes on their threads: what a test sets is for the job that the test began.
//!
//! `EMBERKEEP_PLANTED` names a bug to have: see [`planted`].

/// A durable point: a place before the deed, and one after it.
#[macro_export]
macro_rules! durable {
    ($name:literal, $deed:expr) => {{
        $crate::faults::here(concat!($name, ".before"));
        let done = $deed;
        $crate::faults::here(concat!($name, ".after"));
        done
    }};
}

/// One place.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::faults::here($name)
    };
}

#[cfg(feature = "failpoints")]
pub use struck::{here, io, planted, skips, start};

#[cfg(not(feature = "failpoints"))]
pub use quiet::{here, io, planted, skips, start};

#[cfg(not(feature = "failpoints"))]
mod quiet {
    use std::io;

    /// Nothing, in this build.
    #[inline(always)]
    pub fn start() {}

    /// Nothing, in this build.
    #[inline(always)]
    pub fn here(_name: &'static str) {}

    /// Never fails, in this build.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn io(_name: &'static str) -> io::Result<()> {
        Ok(())
    }

    /// Never, in this build.
    #[inline(always)]
    #[must_use]
    pub fn skips(_name: &'static str) -> bool {
        false
    }

    /// Never, in this build.
    #[inline(always)]
    #[must_use]
    pub fn planted(_bug: &'static str) -> bool {
        false
    }
}

#[cfg(feature = "failpoints")]
mod struck {
    use std::fs::OpenOptions;
    use std::io::{self, Write as _};
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    /// How long a process takes to heed a signal of its own, on a busy machine.
    const HEEDED_WITHIN: Duration = Duration::from_millis(300);

    /// Reads `FAILPOINTS`; to be called before the first point.
    pub fn start() {
        // What is set up stays for as long as the process lives.
        std::mem::forget(fail::FailScenario::setup());
    }

    /// A place where the process may be struck.
    pub fn here(name: &'static str) {
        if let Some(action) = action(name) {
            act(name, &action);
        }
    }

    /// A place where I/O may fail.
    ///
    /// # Errors
    /// When `FAILPOINTS` says so.
    pub fn io(name: &'static str) -> io::Result<()> {
        let Some(action) = action(name) else {
            return Ok(());
        };
        match action.as_str() {
            "eio" => Err(io::Error::from_raw_os_error(5)),
            "enospc" => Err(io::Error::from_raw_os_error(28)),
            "lasting" => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a planted error",
            )),
            other => {
                act(name, other);
                Ok(())
            }
        }
    }

    /// Whether what comes next is to be left out.
    #[must_use]
    pub fn skips(name: &'static str) -> bool {
        match action(name) {
            Some(action) if action == "skip" => true,
            Some(action) => {
                act(name, &action);
                false
            }
            None => false,
        }
    }

    /// Whether this run has that bug: one that the tests must find. `tests/faults/rows/promises.rs` lists them.
    #[must_use]
    pub fn planted(bug: &'static str) -> bool {
        static PLANTED: OnceLock<Option<String>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| from_environment("EMBERKEEP_PLANTED"));
        planted.as_deref() == Some(bug)
    }

    /// The thread of jobs that clean up, as `backup-worker` names it.
    const CLEANING: &str = "clean-job";

    fn action(name: &'static str) -> Option<String> {
        if std::thread::current().name() == Some(CLEANING) && name != "clean.begin" {
            return None;
        }
        fail::eval(name, |action| action.unwrap_or_default())
    }

    fn act(name: &'static str, action: &str) {
        match action {
            "kill" => once(name, Signal::KILL),
            "stop" => once(name, Signal::STOP),
            "trace" => trace(name),
            // A build with a wrong test in it must not look like one that passes.
            other => panic!("failpoint {name} knows no action `{other}`"),
        }
    }

    fn directory() -> PathBuf {
        let directory = from_environment("EMBERKEEP_FAULTS");
        PathBuf::from(directory.expect("EMBERKEEP_FAULTS names a directory"))
    }

    fn once(name: &str, signal: Signal) {
        let struck = directory().join(name);
        let first = OpenOptions::new().write(true).create_new(true).open(struck);
        if first.is_ok() {
            kill_process(getpid(), signal).expect("a process may signal itself");
            // The signal goes to the process, and another thread may be the first to heed it: this one
            // must not come past the point meanwhile.
            std::thread::sleep(HEEDED_WITHIN);
        }
    }

    fn trace(name: &str) {
        let trace = directory().join("trace");
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(trace)
            .expect("the trace can be written");
        file.write_all(format!("{name}\n").as_bytes())
            .expect("the trace can be written");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test strikes by environment, beside the configuration"
    )]
    fn from_environment(variable: &str) -> Option<String> {
        std::env::var(variable).ok()
    }
}
