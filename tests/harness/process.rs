//! One process of ours, which a test may stop, freeze, kill and start again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// A process of this build with its log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Mutex<Vec<(String, String)>>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

/// Set for the fault suite: the directory of the programs that can be struck.
const BINARIES: &str = "EMBERKEEP_TEST_BINARIES";

/// What the crate `fail` reads.
const FAILPOINTS: &str = "FAILPOINTS";

/// Finds a binary of this build: beside the directory of the running test, unless the environment says where.
///
/// # Panics
/// When it has not been built.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let directory = std::env::var_os(BINARIES).map_or_else(
        || {
            let beside = test.ancestors().nth(2);
            beside
                .expect("a test lies in <target>/<profile>/deps")
                .to_owned()
        },
        PathBuf::from,
    );
    let program = directory.join(name);
    assert!(
        program.is_file(),
        "{} is not built; run the system tests with `cargo xtask test`",
        program.display()
    );
    program
}

impl Process {
    /// A process that is not started yet.
    pub(crate) fn new(
        name: impl Into<String>,
        program: &str,
        config: &Path,
        environment: Vec<(String, String)>,
        logs: &Path,
    ) -> Self {
        let name = name.into();
        Self {
            log: logs.join(format!("{name}.log")),
            name,
            program: binary(program),
            arguments: vec!["--config".into(), config.into()],
            environment: Mutex::new(environment),
            child: Mutex::new(None),
        }
    }

    /// Its name in the stack, for example `backup-worker-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes a configuration key for the next start.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    pub fn set(&self, key: &str, value: &str) {
        let mut environment = self.environment.lock().expect("not poisoned");
        let (variable, value) = override_variable(key, value);
        environment.retain(|(name, _)| *name != variable);
        environment.push((variable, value));
    }

    /// Where its failpoints note what they struck.
    pub(crate) fn strike_in(&self, directory: &Path) {
        let directory = directory.to_string_lossy().into_owned();
        let mut environment = self.environment.lock().expect("not poisoned");
        environment.push(("EMBERKEEP_FAULTS".to_owned(), directory));
    }

    /// Sets what the next start does at failpoints: see `common/src/faults.rs`.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    pub fn arm(&self, failpoints: &str) {
        let mut environment = self.environment.lock().expect("not poisoned");
        environment.retain(|(name, _)| name != FAILPOINTS);
        environment.push((FAILPOINTS.to_owned(), failpoints.to_owned()));
    }

    /// Kills it if it runs, and starts it with these failpoints; none is an ordinary start.
    pub fn restart_with(&self, failpoints: &str) {
        self.arm(failpoints);
        self.end();
        self.start();
    }

    /// Kills it if it runs.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    pub fn end(&self) {
        if let Some(mut child) = self.child.lock().expect("not poisoned").take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Whether it was started and is gone all the same.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut child = self.child.lock().expect("not poisoned");
        child
            .as_mut()
            .is_some_and(|child| child.try_wait().expect("a child can be asked").is_some())
    }

    /// Starts it; its log goes on in the same file.
    ///
    /// # Panics
    /// When it cannot be started, or runs already.
    pub fn start(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        assert!(child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be opened");
        *child = Some(self.command(log).spawn().expect("the binary can be run"));
    }

    /// Runs the same program with a subcommand, words apart, to its end, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run(&self, subcommand: &str) -> String {
        let (status, printed) = self.try_run(subcommand);
        assert!(
            status.success(),
            "`{} {subcommand}` ended with {status}: {printed}",
            self.name
        );
        printed
    }

    /// Runs the same program with a subcommand to its end, however that is; and what it printed.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn try_run(&self, subcommand: &str) -> (ExitStatus, String) {
        let log = File::create(self.log.with_extension(subcommand)).expect("a log can be made");
        let output = self
            .command(log)
            .args(subcommand.split_whitespace())
            .stdout(Stdio::piped())
            .output()
            .expect("the binary can be run");
        let printed = String::from_utf8(output.stdout).expect("it prints text");
        (output.status, printed)
    }

    fn command(&self, log: File) -> Command {
        // `setpriv` becomes the program, so the id is the program's own. The program ends with the
        // thread that started it, also when that is killed and can end nothing.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(&self.arguments)
            .envs(
                self.environment
                    .lock()
                    .expect("not poisoned")
                    .iter()
                    .cloned(),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().expect("a file can be shared")))
            .stderr(Stdio::from(log));
        command
    }

    /// Whether it was started and has not been ended by this harness.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.child.lock().expect("not poisoned").is_some()
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let mut child = self
            .child
            .lock()
            .expect("not poisoned")
            .take()
            .unwrap_or_else(|| panic!("{} does not run", self.name));
        assert!(
            child.try_wait().expect("a child can be asked").is_none(),
            "{} ended by itself before it was to be killed",
            self.name
        );
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Asks it to stop (SIGTERM).
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ended(&self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        let status = until(&what, async || {
            let mut child = self.child.lock().expect("not poisoned");
            child
                .as_mut()
                .unwrap_or_else(|| panic!("{} does not run", self.name))
                .try_wait()
                .expect("a child can be asked")
        })
        .await;
        *self.child.lock().expect("not poisoned") = None;
        status
    }

    /// Freezes it (SIGSTOP): it keeps everything and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The system's number of it.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        let child = self.child.lock().expect("not poisoned");
        let child = child.as_ref();
        child
            .unwrap_or_else(|| panic!("{} does not run", self.name))
            .id()
    }

    /// The most memory of its own that it ever had, in bytes: what the kernel calls `VmHWM`.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        let kib = kib.unwrap_or_else(|| panic!("{} has no memory: it ended", self.name));
        kib * 1024
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a child has a pid");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// All it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut()
            && let Some(child) = child
        {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The environment variable that overrides a configuration key.
pub(crate) fn override_variable(key: &str, value: &str) -> (String, String) {
    let name = key.to_uppercase().replace('.', "__");
    (format!("EMBERKEEP__{name}"), value.to_owned())
}
