//! The end of the story: the numbers, and how to tell it again by hand.

use std::path::Path;

use super::{Backup, filesystem};
use crate::say;
use crate::stack::State;

/// What is left to say when all came true.
pub(super) struct Summary {
    pub(super) full: Backup,
    pub(super) incremental: Backup,
    pub(super) restore_seconds: f64,
    pub(super) total_seconds: f64,
}

impl Summary {
    pub(super) fn print(&self) {
        let volume = say::bytes(filesystem::VOLUME_BYTES);
        say::line("");
        say::heading("In numbers");
        row("", "seconds", "volume", "stored", "objects");
        for (name, backup) in [
            ("full backup", &self.full),
            ("incremental backup", &self.incremental),
        ] {
            let stored = say::bytes(backup.stored_bytes);
            let objects = backup.objects.to_string();
            row(
                name,
                &format!("{:.1}", backup.seconds),
                &volume,
                &stored,
                &objects,
            );
        }
        row(
            "restore",
            &format!("{:.1}", self.restore_seconds),
            &volume,
            "",
            "",
        );
        row(
            "the whole demo",
            &format!("{:.1}", self.total_seconds),
            "",
            "",
            "",
        );
        say::line("");
        say::heading("The same story by hand, with OpenStack's own client");
        say::shown(BY_HAND);
    }
}

/// A fixed address, since the demo's own is gone at its end.
const BY_HAND: &str = "\
cargo xtask up --dir ember --workers 2 --listen 127.0.0.1:8776
export OS_AUTH_TYPE=none OS_ENDPOINT=http://127.0.0.1:8776/v3
truncate -s 1G ember/volumes/vol-1.raw && /sbin/mke2fs -q -t ext4 ember/volumes/vol-1.raw
openstack volume create --remote-source source-name=vol-1.raw --host local vol-1
openstack volume set --state in-use vol-1
openstack volume backup create --name full vol-1          # refused: the volume is in use
openstack volume backup create --name full --force vol-1
/sbin/debugfs -w -R 'write README.md README.md' ember/volumes/vol-1.raw
openstack volume backup create --name incremental --incremental --force vol-1
openstack volume backup list                              # wait until both are available
openstack volume set --state available vol-1
openstack volume delete vol-1
openstack volume backup restore incremental vol-1-restored
cargo xtask down --dir ember";

fn row(name: &str, seconds: &str, volume: &str, stored: &str, objects: &str) {
    let line = format!("  {name:<20}{seconds:>9}{volume:>13}{stored:>13}{objects:>9}");
    say::line(line.trim_end());
}

/// The files of a container; of many objects only the first and the last are shown.
pub(super) fn list(files: &[(String, u64)], prefix: &str) {
    const SHOWN_MAX: usize = 8;
    let left_out = match files.len() > SHOWN_MAX {
        true => 3..files.len() - 4,
        false => 0..0,
    };
    say::shown(format_args!("{prefix}…"));
    for (index, (name, bytes)) in files.iter().enumerate() {
        if index == left_out.start && !left_out.is_empty() {
            say::shown(format_args!("{:>12}  and {} more", "", left_out.len()));
        }
        if !left_out.contains(&index) {
            let rest = name.strip_prefix(prefix).unwrap_or(name);
            say::shown(format_args!("{:>12}  …{rest}", say::bytes(*bytes)));
        }
    }
}

/// For `--keep`: where everything is, and how it ends.
pub(super) fn how_to_go_on(state: &State, scratch: &Path) {
    say::line("");
    say::heading("Still running");
    say::shown(format_args!(
        "API       {}\n\
         broker    {}\n\
         volumes   {}\n\
         backups   {}\n\
         logs      {}",
        state.endpoint,
        state.amqp_url,
        state.volumes_path.display(),
        state.backups_path.display(),
        state.logs.display()
    ));
    say::line("  Look around:");
    say::shown(format_args!(
        "export OS_AUTH_TYPE=none OS_ENDPOINT={endpoint}/v3\n\
         openstack volume backup list\n\
         curl {endpoint}/v3/backups/detail",
        endpoint = state.endpoint
    ));
    say::line("  End it:");
    let dir = state.config.parent().unwrap_or(scratch);
    say::shown(format_args!(
        "cargo xtask down --dir {}\nrm -r {}",
        dir.display(),
        scratch.display()
    ));
}
