//! The files and variables a node starts with: all that it would otherwise look for in the system's folders.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Node, Record};
use crate::files;

impl Node {
    /// Files it reads at its start.
    pub(super) fn write_configuration(&self) -> Result<()> {
        for folder in ["home", "data", "log", "generated"] {
            files::make_private_dir(&self.dir.join(folder))?;
        }
        let Record {
            user,
            password,
            address,
            ports,
            ..
        } = &self.record;
        let configuration = format!(
            "listeners.tcp.1 = {address}:{amqp}\n\
             management.tcp.ip = {address}\n\
             management.tcp.port = {management}\n\
             default_user = {user}\n\
             default_pass = {password}\n\
             loopback_users.{user} = {only_loopback}\n\
             collect_statistics_interval = 1000\n\
             # A small machine is enough: neither alarm may go off for want of what other programs use.\n\
             vm_memory_high_watermark.absolute = 1GB\n\
             disk_free_limit.absolute = 50MB\n\
             raft.wal_max_size_bytes = 67108864\n{settings}\n",
            settings = self.settings,
            only_loopback = address.is_loopback(),
            amqp = ports.amqp,
            management = ports.management,
        );
        files::write_private(&self.dir.join("rabbitmq.conf"), &configuration)?;
        // Erlang makes one that for a moment everybody can read, and refuses to start if it is looked at in that moment.
        let cookie = self.dir.join("home/.erlang.cookie");
        if !cookie.exists() {
            files::write_private(&cookie, &files::random_hex::<16>()?)?;
        }
        files::write_private(
            &self.dir.join("enabled_plugins"),
            "[rabbitmq_management].\n",
        )?;
        files::write_private(&self.dir.join("env.conf"), "")
    }

    /// Runs `rabbitmqctl` against the running node.
    ///
    /// # Errors
    /// When it is not installed or does not succeed.
    pub async fn control(&self, arguments: &[&str]) -> Result<()> {
        let beside = super::server_script().context("RabbitMQ is not installed")?;
        let mut command = Command::new(beside.with_file_name("rabbitmqctl"));
        self.prepare(&mut command);
        command.args(["-n", &self.record.name]).args(arguments);
        let output = tokio::process::Command::from(command).output().await;
        let output = output.context("start rabbitmqctl")?;
        anyhow::ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// The environment of its start, without anything that is meant for another node.
    pub(super) fn prepare(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["RABBITMQ_", "ERL_", "EMBERKEEP_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        let dir = &self.dir;
        let ports = &self.record.ports;
        command
            .current_dir(dir)
            .env("HOME", dir.join("home"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", ports.epmd.to_string())
            .env("RABBITMQ_NODENAME", &self.record.name)
            .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            // Two schedulers are plenty here and keep its memory small on a machine of many cores.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
            )
            // The script becomes the node instead of waiting for it, so the id is the node's own.
            .env("RUNNING_UNDER_SYSTEMD", "true");
    }
}
