//! What the deployment promises about rights: the broker's users may do what their service does and no more, and no
//! container may do what it need not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::Value;

use super::project::{Container, Project, WORKERS};
use crate::{files, say};

/// Who looks at the broker's users: made for that with `rabbitmqctl`, and removed again.
const INSPECTOR: &str = "inspector";

/// Looks at the broker's users and at every container.
pub(super) async fn users_and_rights(project: &Project) -> Result<()> {
    let broker = project.running("rabbitmq").await?;
    let broker = broker.first().context("no broker runs")?;
    let password = files::random_hex::<12>()?;
    let ctl = ["exec", broker.id(), "rabbitmqctl", "--quiet"];
    let add = ["add_user", INSPECTOR, &password];
    let promote = ["set_user_tags", INSPECTOR, "administrator"];
    for command in [&add[..], &promote] {
        project.docker(&[&ctl, command].concat()).await?;
    }
    let looked = broker_users(project, &password).await;
    project
        .docker(&[&ctl[..], &["delete_user", INSPECTOR]].concat())
        .await?;
    looked?;
    for container in project.containers().await? {
        few_rights(&container).with_context(|| container.name().to_owned())?;
        if container.runs() {
            let uids = uids(project, &container).await?;
            anyhow::ensure!(
                !uids.contains(&0),
                "{} has a process of root: user ids {uids:?}",
                container.name()
            );
            say::good(format_args!(
                "{}: not privileged, no capability, no root (user {})",
                container.name(),
                uids[0]
            ));
        }
    }
    Ok(())
}

/// The metrics of the api-service, with all workers in them.
pub(super) async fn metrics_answer(project: &Project) -> Result<()> {
    let client = client()?;
    let heard = format!("emberkeep_workers_alive {WORKERS}");
    let wait = async {
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        loop {
            clock.tick().await;
            let answer = client
                .get(format!("{}/metrics", project.endpoint()))
                .send()
                .await?;
            anyhow::ensure!(
                answer.status().is_success(),
                "it answered {}",
                answer.status()
            );
            if answer.text().await?.lines().any(|line| line == heard) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .with_context(|| format!("/metrics does not say `{heard}`"))?
        .context("ask for /metrics")?;
    say::good(format_args!("/metrics answers: {heard}"));
    Ok(())
}

fn client() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30));
    builder.build().context("make an HTTP client")
}

async fn broker_users(project: &Project, password: &str) -> Result<()> {
    let client = client()?;
    let ask = async |user: &str, password: &str, path: &str| -> Result<(StatusCode, Value)> {
        let url = format!("{}/api/{path}", project.management());
        let request = client.get(&url).basic_auth(user, Some(password));
        let answer = request.send().await.with_context(|| format!("GET {url}"))?;
        Ok((answer.status(), answer.json().await.unwrap_or_default()))
    };
    let (status, _) = ask("guest", "guest", "whoami").await?;
    anyhow::ensure!(
        status == StatusCode::UNAUTHORIZED,
        "guest was answered {status}"
    );
    say::good("the broker has no guest");

    let loaded = project.read("deploy/secrets/rabbitmq-definitions.json")?;
    let loaded: Value = serde_json::from_str(&loaded).context("understand the definitions")?;
    let wanted = summary(&loaded["users"], "name", &["tags"]);
    let (_, users) = ask(INSPECTOR, password, "users").await?;
    let mut found = summary(&users, "name", &["tags"]);
    found.retain(|user| !user.starts_with(INSPECTOR));
    anyhow::ensure!(
        found == wanted,
        "the broker's users are {found:?}, not {wanted:?}"
    );
    say::good(format_args!(
        "its users and their tags: {}",
        found.join(", ")
    ));

    let rights = ["vhost", "configure", "write", "read"];
    let (_, permissions) = ask(INSPECTOR, password, "permissions").await?;
    let found = summary(&permissions, "user", &rights);
    let wanted = summary(&loaded["permissions"], "user", &rights);
    anyhow::ensure!(
        found == wanted,
        "permissions are {found:#?}, not {wanted:#?}"
    );
    say::good("each may do what definitions.json says, and nobody else anything");

    let users = loaded["users"]
        .as_array()
        .context("the definitions have no users")?;
    for user in users {
        let name = user["name"].as_str().context("a user has a name")?;
        let login = user["password"].as_str().context("a user has a password")?;
        let (overview, _) = ask(name, login, "overview").await?;
        let (administration, _) = ask(name, login, "users").await?;
        let may_look = user["tags"].to_string().contains("monitoring");
        anyhow::ensure!(
            overview.is_success() == may_look,
            "{name} was answered {overview} at the management API"
        );
        anyhow::ensure!(
            !administration.is_success(),
            "{name} may see all users at the management API"
        );
        let what = if may_look {
            "sees how the broker does, and may"
        } else {
            "may"
        };
        say::good(format_args!("{name} {what} not manage it"));
    }
    Ok(())
}

/// `name [members…]` of each object of a list, sorted.
fn summary(list: &Value, name: &str, members: &[&str]) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<_> = list
        .iter()
        .map(|entry| {
            let members: Vec<_> = members
                .iter()
                .map(|member| entry[member].to_string())
                .collect();
            format!(
                "{} {}",
                entry[name].as_str().unwrap_or("?"),
                members.join(" ")
            )
        })
        .collect();
    lines.sort();
    lines
}

/// How the container was made.
fn few_rights(container: &Container) -> Result<()> {
    let host = &container.0["HostConfig"];
    anyhow::ensure!(host["Privileged"] == false, "it is privileged");
    anyhow::ensure!(
        host["CapDrop"] == serde_json::json!(["ALL"])
            && host["CapAdd"].as_array().is_none_or(Vec::is_empty),
        "it keeps capabilities: dropped {}, added {}",
        host["CapDrop"],
        host["CapAdd"]
    );
    anyhow::ensure!(
        host["SecurityOpt"]
            .to_string()
            .contains("no-new-privileges"),
        "its processes may gain privileges"
    );
    for mode in ["NetworkMode", "PidMode", "IpcMode"] {
        anyhow::ensure!(host[mode] != "host", "its {mode} is the host's");
    }
    let user = container.0["Config"]["User"].as_str().unwrap_or_default();
    let name = user.split(':').next().unwrap_or_default();
    anyhow::ensure!(
        !matches!(name, "" | "0" | "root"),
        "it is made to run as root"
    );
    let ports = container.0["NetworkSettings"]["Ports"].as_object();
    for published in ports.into_iter().flat_map(|ports| ports.values()) {
        for at in published.as_array().into_iter().flatten() {
            anyhow::ensure!(
                at["HostIp"] == "127.0.0.1",
                "it listens on {}",
                at["HostIp"]
            );
        }
    }
    Ok(())
}

/// Whose processes run in it.
async fn uids(project: &Project, container: &Container) -> Result<Vec<u32>> {
    let top = project
        .docker(&["top", container.id(), "-eo", "pid,uid"])
        .await?;
    top.lines()
        .skip(1)
        .map(|line| {
            let uid = line
                .split_whitespace()
                .nth(1)
                .context("ps shows a user id")?;
            uid.parse()
                .with_context(|| format!("`{uid}` is no user id"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_with_any_right_too_many_is_refused() {
        let modest = json!({
            "Config": {"User": "10001:10001"},
            "HostConfig": {
                "Privileged": false, "CapDrop": ["ALL"], "CapAdd": null, "NetworkMode": "emberkeep_default",
                "PidMode": "", "IpcMode": "private", "SecurityOpt": ["no-new-privileges:true"],
            },
            "NetworkSettings": {"Ports": {"8776/tcp": [{"HostIp": "127.0.0.1", "HostPort": "61000"}], "1/tcp": null}},
        });
        few_rights(&Container(modest.clone())).unwrap();
        for (pointer, value) in [
            ("/HostConfig/Privileged", json!(true)),
            ("/HostConfig/CapDrop", json!(null)),
            ("/HostConfig/CapAdd", json!(["SYS_ADMIN"])),
            ("/HostConfig/SecurityOpt", json!(null)),
            ("/HostConfig/NetworkMode", json!("host")),
            ("/HostConfig/PidMode", json!("host")),
            ("/Config/User", json!("")),
            ("/Config/User", json!("0:0")),
            ("/Config/User", json!("root")),
            (
                "/NetworkSettings/Ports/8776~1tcp/0/HostIp",
                json!("0.0.0.0"),
            ),
        ] {
            let mut bold = modest.clone();
            *bold.pointer_mut(pointer).unwrap() = value.clone();
            assert!(few_rights(&Container(bold)).is_err(), "{pointer} = {value}");
        }
    }
}
