//! A private PostgreSQL cluster: its own port, login and data, on loopback. It is for tests: nothing of it is safe
//! from a power cut unless that is asked for, and it ends with the thread that starts it.
//!
//! PostgreSQL refuses to run as root, so for root it runs as the user `postgres` of Debian's package, or as nobody; and
//! its files lie in the system's folder for temporary files, because that user need not be able to enter ours.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use tokio::process::Command;

use crate::files;
use crate::process::Process;

/// How long it may take to start: a second on an idle machine, far more on a busy one.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to stop in good order.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Its only login, which may do all.
const USER: &str = "emberkeep";

/// A cluster. It is killed, and its files are removed, when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    password: String,
    run_as: Option<(u32, u32)>,
    /// It waits for the disk at each commit.
    is_durable: bool,
    server: Option<Process>,
}

impl Cluster {
    /// Makes a cluster, starts it, and returns when it takes connections.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub async fn start() -> Result<Self> {
        Self::start_as(false).await
    }

    /// The same, but each commit is on the disk before it is answered, as where nothing may be lost: to be measured.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_durable() -> Result<Self> {
        Self::start_as(true).await
    }

    async fn start_as(is_durable: bool) -> Result<Self> {
        let name = format!("emberkeep-postgres-{}", files::random_hex::<4>()?);
        let [port] = files::free_ports()?;
        let mut cluster = Self {
            dir: std::env::temp_dir().join(name),
            port,
            password: files::random_hex::<12>()?,
            run_as: other_user()?,
            is_durable,
            server: None,
        };
        cluster.make().await?;
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// `postgres://emberkeep:password@127.0.0.1:port/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}:{}@{}:{}/postgres",
            self.password,
            Ipv4Addr::LOCALHOST,
            self.port
        )
    }

    /// The server's process, while one is known.
    #[must_use]
    pub fn server(&self) -> Option<Process> {
        self.server
    }

    /// Stops it in good order: whoever is connected is cut off, and what they committed stays.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            // Not SIGTERM: for that it waits until all have left.
            let _ = server.signal(Signal::INT);
            anyhow::ensure!(
                server.gone_within(STOP_PATIENCE).await,
                "PostgreSQL does not stop"
            );
        }
        Ok(())
    }

    /// Starts it after [`Cluster::stop`], at the same place with the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> Result<()> {
        let settings = [
            format!("listen_addresses={}", Ipv4Addr::LOCALHOST),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            format!("fsync={}", if self.is_durable { "on" } else { "off" }),
        ];
        let mut arguments = self.as_the_user();
        arguments.extend(["--pdeathsig".to_owned(), "KILL".to_owned()]);
        arguments.push(program("postgres")?.display().to_string());
        arguments.extend(["-D".to_owned(), self.data().display().to_string()]);
        for setting in settings {
            arguments.extend(["-c".to_owned(), setting]);
        }
        let arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        let log = self.dir.join("server.log");
        let setpriv = Path::new("setpriv");
        let server = Process::spawn_detached(setpriv, &arguments, &log, |command| {
            command.current_dir(&self.dir);
        })?;
        self.server = Some(server);
        let up = tokio::time::timeout(START_PATIENCE, self.answers());
        tokio::select! {
            up = up => up.context("PostgreSQL takes too long to start")?,
            () = server.gone() => Err(anyhow::anyhow!("PostgreSQL ended while it was starting")),
        }
        .with_context(|| {
            let end = files::tail(&log, 15);
            format!("see {}, which ends:\n{end}", log.display())
        })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What `setpriv` is told so that the program after it runs as another user, if it must.
    fn as_the_user(&self) -> Vec<String> {
        match self.run_as {
            Some((user, group)) => vec![
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ],
            None => Vec::new(),
        }
    }

    async fn make(&self) -> Result<()> {
        files::make_private_dir(&self.dir)?;
        let password = self.dir.join("password");
        files::write_private(&password, &self.password)?;
        if let Some((user, group)) = self.run_as {
            for path in [&self.dir, &password] {
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
                rustix::fs::chown(path, Some(user), Some(group))
                    .with_context(|| format!("give {} away", path.display()))?;
            }
        }
        let output = Command::new("setpriv")
            .args(self.as_the_user())
            .arg(program("initdb")?)
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .await
            .context("start initdb")?;
        anyhow::ensure!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    async fn answers(&self) -> Result<()> {
        let pg_isready = program("pg_isready")?;
        let mut clock = tokio::time::interval(Duration::from_millis(50));
        loop {
            clock.tick().await;
            let asked = Command::new(&pg_isready)
                .args(["--quiet", "--host", "127.0.0.1"])
                .args(["--port", &self.port.to_string()])
                .stdin(Stdio::null())
                .status()
                .await
                .context("start pg_isready")?;
            if asked.success() {
                return Ok(());
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server {
            // Its processes end with it, without a last word to the disk.
            let _ = server.signal(Signal::QUIT);
            for _ in 0..100 {
                if !server.is_alive() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            server.kill_now();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A program of PostgreSQL: Debian keeps those of each version apart, and most out of the path.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    if let Some(program) = files::find_program(name) {
        return Some(program);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<u32> = versions
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    versions
        .iter()
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{name}")))
        .find(|program| program.is_file())
}

fn program(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("`{name}` of PostgreSQL is not installed"))
}

/// User and group to run as, for root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let found = ["postgres", "nobody"]
        .iter()
        .find_map(|name| ids_of(&users, name));
    found.map(Some).context("find a user for PostgreSQL")
}

fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut numbers = fields.skip(1).map(|field| field.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "post:x:1:1::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/sh\n";
        assert_eq!(ids_of(users, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(users, "nobody"), None);
    }
}
