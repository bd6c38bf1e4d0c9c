//! The images that ours are built on and run beside: pulled, and where no registry is to be had, made here from Debian's
//! packages and this machine's Rust. Those stand in under the real ones' names, not for their versions. Both are kept.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::engine::Engine;
use crate::files::{self, ScratchDir};
use crate::say;
use crate::stage::{answer, shown, succeed};

/// The Debian of all stand-ins.
const DEBIAN: Base = Base {
    tag: "debian:bookworm-slim",
    recipe: "debootstrap --variant=minbase bookworm",
    made: "debootstrap",
    files: &[],
};

/// All of them, the first first.
const BASES: [Base; 4] = [
    DEBIAN,
    Base {
        tag: "rust:1.95-bookworm",
        recipe: include_str!("images/rust.Dockerfile"),
        made: "Debian's C compiler and the Rust of this machine",
        files: &[],
    },
    Base {
        tag: "rabbitmq:3.13-management",
        recipe: include_str!("images/rabbitmq.Dockerfile"),
        made: "Debian's rabbitmq-server 3.10",
        files: &[],
    },
    Base {
        tag: "postgres:15",
        recipe: include_str!("images/postgres.Dockerfile"),
        made: "Debian's postgresql-15",
        files: &[("postgres.sh", include_str!("images/postgres.sh"))],
    },
];

/// Marks a stand-in, with the digest of how it was made. What was pulled has none.
const LABEL: &str = "emberkeep.stand-in";

/// How long a registry may take for one image.
const PULL_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// An image from outside, and how one is made that stands in for it.
struct Base {
    tag: &'static str,
    /// Its Dockerfile.
    recipe: &'static str,
    /// What of, in words.
    made: &'static str,
    /// What lies beside the Dockerfile: names and contents.
    files: &'static [(&'static str, &'static str)],
}

/// Sees to it that all are there.
pub(super) async fn ensure(engine: &Engine, scratch: &ScratchDir) -> Result<()> {
    let mut reachable = true;
    for base in &BASES {
        let digest = base.digest().await?;
        let label = format!("{{{{index .Config.Labels {LABEL:?}}}}}");
        let inspect = ["image", "inspect", "--format", &label, base.tag];
        // An image without any labels prints the same as one without this.
        match engine.ask(&inspect).await.as_deref().map(str::trim) {
            Ok("") => {
                say::good(format_args!("{} is there, pulled earlier", base.tag));
                continue;
            }
            Ok(of) if of == digest => {
                say::good(format_args!("{} is there, made here earlier", base.tag));
                continue;
            }
            Ok(_) | Err(_) => {}
        }
        if reachable {
            match pull(engine, base.tag).await {
                Ok(()) => {
                    say::good(format_args!("{} was pulled", base.tag));
                    continue;
                }
                Err(error) => {
                    say::line(format_args!("{} cannot be pulled: {error:#}", base.tag));
                    say::line("Images that stand in for the real ones are made here.");
                    reachable = false;
                }
            }
        }
        say::line(format_args!("Making {} from {}", base.tag, base.made));
        base.make(engine, scratch.path(), &digest)
            .await
            .with_context(|| format!("make an image that stands in for {}", base.tag))?;
        say::good(format_args!("{} was made", base.tag));
    }
    Ok(())
}

async fn pull(engine: &Engine, tag: &str) -> Result<()> {
    tokio::time::timeout(PULL_PATIENCE, engine.ask(&["pull", "--quiet", tag]))
        .await
        .context("the registry takes too long")?
        .map(|_| ())
}

impl Base {
    /// Of all that makes it what it is, except Debian's packages of the day.
    async fn digest(&self) -> Result<String> {
        let mut digest = Sha256::new();
        digest.update(DEBIAN.recipe);
        digest.update(self.recipe);
        for (name, text) in self.files {
            digest.update(name);
            digest.update(text);
        }
        if self.needs_rust() {
            digest.update(answer(rustc(&["-vV"])).await?);
        }
        Ok(hex::encode(&digest.finalize()[..8]))
    }

    fn needs_rust(&self) -> bool {
        self.tag.starts_with("rust:")
    }

    async fn make(&self, engine: &Engine, scratch: &Path, digest: &str) -> Result<()> {
        let label = format!("{LABEL}={digest}");
        if self.tag == DEBIAN.tag {
            return make_debian(engine, scratch, &label).await;
        }
        let folder = scratch.join(self.tag.replace([':', '.'], "-"));
        files::make_private_dir(&folder)?;
        let mut names = vec!["Dockerfile"];
        std::fs::write(folder.join("Dockerfile"), self.recipe).context("write a Dockerfile")?;
        for (name, text) in self.files {
            let file = folder.join(name);
            std::fs::write(&file, text)
                .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o755)))
                .with_context(|| format!("write {name}"))?;
            names.push(name);
        }
        if self.needs_rust() {
            names.extend(lay_out_rust(&folder).await?);
        }
        // Links are followed, so that a toolchain need not be copied first.
        let mut tar = Command::new("tar");
        tar.args(["--create", "--dereference", "--directory"])
            .arg(&folder)
            .args(names);
        // With the machine's network: that of this engine leads nowhere.
        let build = [
            "build",
            "--quiet",
            "--network=host",
            "--label",
            &label,
            "--tag",
            self.tag,
            "-",
        ];
        pipe(tar, engine.docker(&build)).await
    }
}

/// Names in the folder of what the image of Rust has beside its Dockerfile.
async fn lay_out_rust(folder: &Path) -> Result<[&'static str; 5]> {
    const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
    let toolchain = answer(rustc(&["--print", "sysroot"])).await?;
    let link = |of: &Path, name: &str| {
        symlink(of, folder.join(name)).with_context(|| format!("link to {}", of.display()))
    };
    link(Path::new(toolchain.trim()), "toolchain")?;
    link(Path::new(AUTHORITIES), "ca-certificates.crt")?;
    files::make_private_dir(&folder.join("cargo"))?;
    // How this machine reaches crates.
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    for config in ["config.toml", "config"] {
        if let Some(config) = home.as_ref().map(|home| home.join(config))
            && config.is_file()
        {
            link(&config, "cargo/config.toml")?;
            break;
        }
    }
    Ok([
        "ca-certificates.crt",
        "cargo",
        "toolchain/bin/cargo",
        "toolchain/bin/rustc",
        "toolchain/lib",
    ])
}

/// `rustc` of the toolchain that runs this.
fn rustc(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command
        .args(arguments)
        .current_dir(crate::build::workspace());
    command
}

async fn make_debian(engine: &Engine, scratch: &Path, label: &str) -> Result<()> {
    let root = scratch.join("debian");
    // In namespaces of its own, so that nothing of it stays running or mounted when it is ended.
    let mut debootstrap = Command::new("unshare");
    debootstrap
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg("debootstrap")
        .args(["--variant=minbase", "--include=ca-certificates", "bookworm"])
        .arg(&root)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    succeed(debootstrap).await?;
    // As in the real image: what is installed in a container starts no service.
    let policy = root.join("usr/sbin/policy-rc.d");
    std::fs::write(&policy, "#!/bin/sh\nexit 101\n")
        .and_then(|()| std::fs::set_permissions(&policy, Permissions::from_mode(0o755)))
        .context("write policy-rc.d")?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--one-file-system", "--directory"])
        .arg(&root)
        .args([
            "--exclude=./var/cache/apt/archives/*.deb",
            "--exclude=./var/lib/apt/lists/*",
        ])
        .arg(".");
    let change = format!("LABEL {label}");
    let import = [
        "import",
        "--change",
        "CMD [\"bash\"]",
        "--change",
        &change,
        "-",
        DEBIAN.tag,
    ];
    pipe(tar, engine.docker(&import)).await?;
    std::fs::remove_dir_all(&root).context("remove the folder of the Debian image")
}

/// Lets one program write what another reads.
async fn pipe(mut from: Command, mut to: Command) -> Result<()> {
    let (writer, reader) = (shown(&from), shown(&to));
    let mut from = from
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start `{writer}`"))?;
    let stream = from.stdout.take().context("the output is piped")?;
    let stream: Stdio = stream.try_into().context("hand a pipe over")?;
    to.stdin(stream);
    answer(to).await?;
    let status = from
        .wait()
        .await
        .with_context(|| format!("wait for `{writer}`"))?;
    anyhow::ensure!(
        status.success(),
        "`{writer}` failed ({status}), for `{reader}`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bases_are_those_that_users_have() {
        let compose = include_str!("../../../docker-compose.yml");
        let dockerfile = include_str!("../../../deploy/Dockerfile");
        for base in BASES {
            let tag = base.tag;
            assert!(
                compose.contains(&format!(":-{tag}}}"))
                    || dockerfile.contains(&format!("={tag}\n")),
                "neither docker-compose.yml nor the Dockerfile names {tag}"
            );
        }
    }
}
