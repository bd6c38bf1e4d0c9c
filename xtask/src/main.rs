//! `cargo xtask`: see `cargo xtask --help`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use xtask::install::Need;
use xtask::rabbitmq::Node;
use xtask::stack::{self, Broker, Options, Stack};
use xtask::{
    bench, build, chaos, check, compose, config_file, demo, faults, install, nfs, say, test,
};

/// Everything a machine needs to build, show and test Emberkeep.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Back up a volume, lose it, and bring it back, before your eyes
    Demo {
        /// Leave everything running at the end, and say how to reach it
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        machine: Machine,
    },
    /// Start a broker, an api-service and workers that live on in the background
    Up {
        /// Folder for everything the stack writes
        #[arg(long)]
        dir: PathBuf,
        /// How many workers
        #[arg(long, default_value_t = 1)]
        workers: u32,
        /// Address of the API; a free port of loopback by default
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// More configuration, for example `--set backup.compression=zstd`
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = config_file::parse_setting)]
        settings: Vec<(String, String)>,
        #[command(flatten)]
        machine: Machine,
    },
    /// End what `up` or `demo --keep` started; its files stay
    Down {
        /// The stack's folder
        #[arg(long)]
        dir: PathBuf,
    },
    /// Start a private broker, print the environment in which tests find it, and end it when this ends
    Broker {
        /// Folder for the broker's files
        #[arg(long)]
        dir: PathBuf,
        /// Where clients reach it
        #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
        address: Ipv4Addr,
    },
    /// A large backup whose worker is killed again and again, before your eyes
    Chaos {
        #[command(flatten)]
        wishes: chaos::Wishes,
        #[command(flatten)]
        machine: Machine,
    },
    /// Format, lints and unit tests: for every commit
    Check,
    /// Measure the engine beside Cinder, restic, borg and qemu-img, and write docs/benchmarks.md
    Bench {
        #[command(flatten)]
        options: bench::Options,
        /// Refuse to install programs; say what is missing instead
        #[arg(long)]
        no_install: bool,
    },
    /// All that CI runs
    Test {
        /// Without the slow system tests, the clients and the demo
        #[arg(long)]
        quick: bool,
        /// Only the clients that people have and the real Cinder, against running stacks
        #[arg(long, conflicts_with = "quick")]
        clients: bool,
        /// Only what is run on PostgreSQL: the api-service's own tests and the system's
        #[arg(long, conflicts_with_all = ["quick", "clients"])]
        postgres: bool,
        /// Only the fault suite: processes killed, stopped and cut off in every way they should survive
        #[arg(long, conflicts_with_all = ["quick", "clients", "postgres"])]
        faults: bool,
        /// Only the planted bugs: each must be found by the case that is named for it
        #[arg(long, conflicts_with_all = ["quick", "clients", "postgres", "faults"])]
        planted: bool,
        /// Only the nfs target, on the kernel's own NFS client and server, in User Mode Linux
        #[arg(long, conflicts_with_all = ["quick", "clients", "faults", "planted"])]
        nfs: bool,
        /// Only docker-compose.yml: its images built, brought up, and lived with, in a Docker engine of its own
        #[arg(long, conflicts_with_all = ["quick", "clients", "postgres", "faults", "planted", "nfs"])]
        compose: bool,
        /// With `--nfs`: only stories whose names have this word
        #[arg(long, value_name = "WORD", requires = "nfs")]
        story: Option<String>,
        /// With `--faults`: `--full`, `--part K/N`, `--seed S`, `--row NAME`, `--case N`, `--lanes N`
        #[command(flatten)]
        wishes: faults::Wishes,
        #[command(flatten)]
        machine: Machine,
    },
}

/// What may be used of the machine.
#[derive(Debug, Args)]
struct Machine {
    /// Refuse to install programs; say what is missing instead
    #[arg(long)]
    no_install: bool,
    /// A broker to use in place of a private one
    #[arg(
        long,
        env = "EMBERKEEP__AMQP__URL",
        value_name = "URL",
        hide_env_values = true
    )]
    amqp_url: Option<String>,
}

impl Machine {
    fn broker(&self) -> Broker {
        match &self.amqp_url {
            Some(url) => Broker::Given {
                amqp_url: url.clone(),
            },
            None => Broker::Private,
        }
    }

    async fn ensure(&self, mut needs: Vec<Need>) -> Result<()> {
        if self.amqp_url.is_none() {
            needs.push(Need::RabbitMq);
        }
        install::ensure(&needs, !self.no_install).await
    }

    /// For a guest, which reaches no other broker than its own.
    async fn ensure_with_broker(&self, mut needs: Vec<Need>) -> Result<()> {
        needs.push(Need::RabbitMq);
        install::ensure(&needs, !self.no_install).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Dropping the unfinished command ends what it started.
    let ended = tokio::select! {
        ended = run(command) => ended,
        stopped = stop_signal() => stopped.and_then(|()| Err(anyhow::anyhow!("stopped"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo { keep, machine } => {
            demo::introduce(&machine.broker());
            machine.ensure(vec![Need::Ext4Tools]).await?;
            demo::run(machine.broker(), keep).await
        }
        Command::Up {
            dir,
            workers,
            listen,
            settings,
            machine,
        } => {
            let options = Options {
                dir,
                workers,
                listen,
                settings,
                broker: machine.broker(),
            };
            up(options, machine).await
        }
        Command::Down { dir } => {
            for (name, how) in stack::down(&dir).await? {
                say::line(format_args!("{name}: {how}"));
            }
            Ok(())
        }
        Command::Broker { dir, address } => {
            let mut node = Node::start_bound_at(&dir, address).await?;
            for (name, value) in test::environment_of(&node) {
                say::line(format_args!("export {name}='{value}'"));
            }
            // What stops this drops the node.
            let server = node.server().context("the broker has a process")?;
            server.gone().await;
            node.stop().await?;
            anyhow::bail!("the broker ended by itself")
        }
        Command::Chaos { wishes, machine } => {
            machine.ensure(wishes.needs()).await?;
            chaos::run(machine.broker(), &wishes).await
        }
        Command::Check => check::run().await,
        Command::Bench {
            options,
            no_install,
        } => bench::run(&options, !no_install).await,
        Command::Test {
            clients: true,
            machine,
            ..
        } => {
            test::introduce_clients(&machine.broker());
            machine.ensure(vec![Need::PythonVenv]).await?;
            test::run_clients(machine.broker(), !machine.no_install).await
        }
        Command::Test {
            postgres: true,
            machine,
            ..
        } => {
            machine.ensure(vec![Need::PostgreSql]).await?;
            test::run_postgres(machine.broker()).await
        }
        Command::Test {
            faults: true,
            wishes,
            machine,
            ..
        } => {
            machine.ensure(vec![]).await?;
            faults::run(machine.broker(), &wishes).await
        }
        Command::Test {
            planted: true,
            wishes,
            machine,
            ..
        } => {
            machine.ensure(vec![]).await?;
            faults::run_planted(machine.broker(), &wishes).await
        }
        Command::Test {
            nfs: true,
            story,
            machine,
            ..
        } => {
            nfs::introduce();
            let needs = [Need::UserModeLinux, Need::NfsServer, Need::Ext4Tools];
            machine.ensure_with_broker(needs.to_vec()).await?;
            nfs::run(story.as_deref()).await
        }
        Command::Test {
            compose: true,
            machine,
            ..
        } => {
            compose::introduce()?;
            let needs = [
                Need::Docker,
                Need::Debootstrap,
                Need::PythonVenv,
                Need::Ext4Tools,
            ];
            install::ensure(&needs, !machine.no_install).await?;
            compose::run(!machine.no_install).await
        }
        Command::Test { quick, machine, .. } => {
            test::introduce(&machine.broker(), quick);
            let mut needs = vec![
                Need::Ext4Tools,
                Need::XfsTools,
                Need::Promtool,
                Need::PostgreSql,
            ];
            if !quick {
                needs.push(Need::PythonVenv);
            }
            machine.ensure(needs).await?;
            test::run(machine.broker(), quick, !machine.no_install).await
        }
    }
}

async fn up(options: Options, machine: Machine) -> Result<()> {
    say::line(format_args!(
        "This builds and starts in the background, with files in {}:",
        options.dir.display()
    ));
    if options.broker == Broker::Private {
        say::line("  a private RabbitMQ node, on loopback");
    }
    match options.listen {
        Some(address) => say::line(format_args!("  an api-service, on {address}")),
        None => say::line("  an api-service, on loopback"),
    }
    say::line(format_args!("  backup-workers: {}", options.workers));
    machine.ensure(vec![]).await?;
    let binaries = build::build_services().await?;
    let mut stack = Stack::up(options, binaries).await?;
    stack.live_on();
    let state = stack.state();
    say::line(format_args!("Ready: {}", state.endpoint));
    say::shown(format_args!(
        "export OS_AUTH_TYPE=none OS_ENDPOINT={}/v3\nopenstack volume list\ncargo xtask down --dir {}",
        state.endpoint,
        state
            .config
            .parent()
            .context("the configuration has a folder")?
            .display()
    ));
    Ok(())
}

async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
