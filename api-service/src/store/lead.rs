//! Who of several api-services does what only one may do at a time: the one that has the lead.
//!
//! On PostgreSQL the lead is a lock of a session that its holder keeps alive. The server ends a session that is
//! silent for [`SERVER_PATIENCE`] and gives the lock to the next who asks; a holder that is not answered within
//! [`HOLDER_PATIENCE`] takes it for lost well before. One that was frozen in between may still act for a moment
//! after it wakes up: whatever is done under the lead looks at the rows again in the change it makes.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor, Row};

use super::engine::Engine;
use super::{Store, StoreError, failed};

/// How often whoever has the lead says so, and whoever has not asks for it.
pub(crate) const TRY_LEAD_AGAIN: Duration = Duration::from_secs(1);
/// How long the holder waits for an answer.
const HOLDER_PATIENCE: Duration = Duration::from_secs(4);
/// How long the server waits for the holder: more than the two above together.
const SERVER_PATIENCE: &str = "SET idle_session_timeout = '10s'";

/// The lock is named by a table, so whoever finds that asks for the same.
const ASK: &str = "SELECT pg_try_advisory_lock(\
    1164796518::BIGINT << 32 | 'jobs'::REGCLASS::OID::BIGINT) AS got";

/// The lead, for as long as it is kept. Another may have it as soon as this is dropped.
#[derive(Debug)]
pub(crate) struct Lead(Option<PgConnection>);

impl Store {
    /// The lead, if nobody has it. Who has a file of SQLite has it always.
    ///
    /// # Errors
    /// When the database fails, or does not answer in time.
    pub(crate) async fn try_lead(&self) -> Result<Option<Lead>, StoreError> {
        match self.0.engine {
            Engine::Sqlite { .. } => Ok(Some(Lead(None))),
            Engine::Postgres => {
                let asked = in_time(ask(&self.settings().database.url)).await;
                let lead = asked.map_err(failed("ask for the lead"))?;
                Ok(lead.map(|session| Lead(Some(session))))
            }
        }
    }
}

impl Lead {
    /// Keeps it.
    ///
    /// # Errors
    /// When it is, or may be, another's by now.
    pub(crate) async fn keep(&mut self) -> Result<(), StoreError> {
        let Some(session) = &mut self.0 else {
            return Ok(());
        };
        let kept = in_time(session.ping()).await;
        kept.map_err(failed("keep the lead"))
    }

    /// Gives it to whoever asks next.
    pub(crate) async fn give_up(self) {
        if let Some(session) = self.0 {
            // The server would find out too, only later.
            let _ = in_time(session.close()).await;
        }
    }
}

async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(HOLDER_PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

async fn ask(url: &str) -> sqlx::Result<Option<PgConnection>> {
    let options: PgConnectOptions = url.parse()?;
    let mut session = PgConnection::connect_with(&options).await?;
    session.execute(SERVER_PATIENCE).await?;
    let got: bool = session.fetch_one(ASK).await?.try_get("got")?;
    if got {
        return Ok(Some(session));
    }
    session.close().await?;
    Ok(None)
}
