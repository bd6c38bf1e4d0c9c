//! `check-config`: everything the api-service needs to start, without starting it.

use std::io::Write;
use std::time::Duration;

use common::broker::reach;
use common::checks::Checks;
use common::config::Settings;
use common::telemetry::error_chain;

use crate::store;

/// How long the broker, or a database's server, may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what was found, and fails if something is not well.
pub(super) async fn show(settings: &Settings, out: &mut impl Write) -> anyhow::Result<()> {
    let checks = check_config(settings).await;
    super::print(&checks.to_string(), out)?;
    anyhow::ensure!(
        checks.all_well(),
        "an api-service would not work with this configuration"
    );
    Ok(())
}

/// Looks at the place of the database and at the broker. A service that runs is not disturbed.
async fn check_config(settings: &Settings) -> Checks {
    let mut checks = Checks::default();
    let asked = store::check_place(&settings.database.url);
    let database = tokio::time::timeout(PATIENCE, asked).await;
    checks.note(
        "database.url",
        database.map_or_else(
            |_| Err("the database does not answer".to_owned()),
            |found| found.map_err(|error| error_chain(&error)),
        ),
    );
    let broker = reach(&settings.amqp, PATIENCE).await;
    checks.note(
        format!("amqp.url {}", settings.amqp.shown_url()),
        broker.map(|()| "logged in; exchanges and queues are as they should be".to_owned()),
    );
    for (login, publisher) in &settings.amqp.publishers {
        let projects = publisher.projects.len();
        let found = match projects {
            0 => Err("it may act for no project".to_owned()),
            _ => Ok(format!("may act for {projects} projects")),
        };
        checks.note(format!("amqp.publishers.{login}"), found);
    }
    let backends = settings.volume_backends.len();
    let backends = match backends {
        0 => Err("none is configured: no volume can be made or managed".to_owned()),
        _ => Ok(format!("{backends} configured")),
    };
    checks.note("volume_backends", backends);
    checks
}
