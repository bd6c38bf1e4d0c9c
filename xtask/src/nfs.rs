//! `test --nfs`: the nfs target on the kernel's own client and server, in a guest that has both.
//!
//! The guest starts its NFS server, then runs two programs that were built here: the tests that every driver of a backup
//! target inherits, on shares of it, and the stories of `tests/nfs`: whole stacks. Their broker alone is not in the guest,
//! where its start takes minutes, but in a network that it shares with the guest.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::build::target_dir;
use crate::files::ScratchDir;
use crate::stage::Stages;
use crate::test::{Counts, MANAGEMENT_URL};
use crate::uml::Network;
use crate::{build, say, uml};

/// A line of the table.
const ROW: &str = "ROW: ";

/// The guest's server: one export, whose root is that of NFS v4, and in it a folder for each use. Leases are short, so
/// that a server that comes back serves at once.
const SERVER: &str = r"
for module in ext4 nfs nfsv3 nfsv4 nfsd; do modprobe $module; done
mkfs.ext4 -q -F /dev/ubda 2> /dev/null
mkdir -p /srv/nfs /var/lib/nfs/sm /var/lib/nfs/sm.bak /run/rpcbind
mount /dev/ubda /srv/nfs
mkdir /srv/nfs/three /srv/nfs/four
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state
echo '/srv/nfs 127.0.0.1(rw,sync,no_root_squash,no_subtree_check,fsid=0,insecure)' > /etc/exports
rpcbind -w
mount -t nfsd nfsd /proc/fs/nfsd
for time in nfsv4leasetime nfsv4gracetime; do echo 10 > /proc/fs/nfsd/$time; done
exportfs -ra
rpc.nfsd -H 127.0.0.1 2
rpc.mountd 2> /dev/null
";

/// Says what will be done to this machine.
pub fn introduce() {
    say::line(
        "This builds the services and their tests, and runs those of the nfs target in a second Linux, an ordinary",
    );
    say::line(
        "program (User Mode Linux): a kernel with an NFS server and client. On this machine nothing is mounted or served:",
    );
    say::line(
        "a private RabbitMQ node is started in a network of its own, which goes with the guest.",
    );
}

/// Builds, starts the guest, runs the tests there.
///
/// # Errors
/// When a stage fails.
pub async fn run(only: Option<&str>) -> Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "this needs root: the guest's files are this machine's, and it gets a network of its own"
    );
    let mut stages = Stages::new(vec!["build", "broker", "nfs"]);
    let programs = stages.run(programs()).await?;
    let mut dir = ScratchDir::new(&target_dir().await?, "nfs")?;
    let network = Network::new().await?;
    let broker = stages.run(Broker::start(dir.path(), &network)).await?;
    let mut told = Told::default();
    let ran = stages
        .run(in_guest(
            dir.path(),
            &network,
            &broker,
            &programs,
            only,
            &mut told,
        ))
        .await;
    told.report();
    if ran.is_err() {
        dir.keep();
        say::line(format_args!(
            "The guest's console and output are in {}",
            dir.path().display()
        ));
    }
    ran
}

/// The tests that drivers inherit, and the stories.
struct Programs {
    conformance: String,
    stories: String,
}

async fn programs() -> Result<Programs> {
    build::build_services().await?;
    let arguments = [
        "--workspace",
        "--features",
        "tests/nfs",
        "--lib",
        "--test",
        "nfs",
    ];
    let built = build::build_tests(&arguments).await?;
    let named = |name: &str| {
        let found = built.iter().find(|(program, _)| {
            let (stem, _hash) = program.rsplit_once('-').unwrap_or((program, ""));
            stem == name
        });
        let (_, path) = found.with_context(|| format!("cargo built no tests `{name}`"))?;
        let path = path.to_str().context("a path is text")?;
        anyhow::ensure!(!path.contains('\''), "the guest cannot use {path}");
        Ok(path.to_owned())
    };
    Ok(Programs {
        conformance: named("backup_worker")?,
        stories: named("nfs")?,
    })
}

/// One broker for all stories. What starts it is this very program, in the guest's network.
struct Broker {
    /// Ends with this.
    _process: Child,
    /// Lines of a shell by which tests find it.
    environment: String,
}

impl Broker {
    async fn start(dir: &Path, network: &Network) -> Result<Self> {
        let this = std::env::current_exe().context("find this program")?;
        let mut process = network
            .command(&this)?
            .arg("broker")
            .arg("--dir")
            .arg(dir.join("rabbitmq"))
            .args(["--address", &uml::HOST.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start nsenter")?;
        let said = process.stdout.take().context("its output is piped")?;
        let mut said = BufReader::new(said).lines();
        let mut environment = String::new();
        while !environment.contains(MANAGEMENT_URL) {
            let line = said.next_line().await.context("wait for the broker")?;
            environment += &line.context("the broker did not start")?;
            environment.push('\n');
        }
        Ok(Self {
            _process: process,
            environment,
        })
    }
}

async fn in_guest(
    dir: &Path,
    network: &Network,
    broker: &Broker,
    programs: &Programs,
    only: Option<&str>,
    told: &mut Told,
) -> Result<()> {
    let Programs {
        conformance,
        stories,
    } = programs;
    let only = only.unwrap_or_default();
    anyhow::ensure!(!only.contains('\''), "no test has such a name");
    let script = format!(
        "{SERVER}
export EMBERKEEP_TEST_NFS_SHARES='127.0.0.1:/srv/nfs/three 127.0.0.1:/four'
failed=0
if [ -z '{only}' ]; then '{conformance}' --test-threads=1 store::nfs::tests::real || failed=1; fi
{}
'{stories}' --test-threads=1 --nocapture '{only}' || failed=1
exit $failed
",
        broker.environment
    );
    let status = uml::run(dir, network, &script, |line| told.hear(line)).await?;
    anyhow::ensure!(status == 0, "tests failed in the guest");
    anyhow::ensure!(told.counts.passed > 0, "the guest ran no test");
    Ok(())
}

/// What was heard from the guest.
#[derive(Debug, Default)]
struct Told {
    rows: Vec<String>,
    counts: Counts,
}

impl Told {
    fn hear(&mut self, line: &str) {
        match line.strip_prefix(ROW) {
            Some(row) => self.rows.push(row.to_owned()),
            None => say::line(line),
        }
        self.counts.hear(line);
    }

    fn report(&self) {
        if !self.rows.is_empty() {
            say::heading("== what was seen");
        }
        for row in &self.rows {
            say::line(row);
        }
        self.counts.report();
    }
}
