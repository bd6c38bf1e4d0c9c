//! Opening the database: the lock or none, the connections, the schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::config::Settings;
use common::domain::Clock;
use sqlx::Executor;
use sqlx::any::AnyPoolOptions;
use tokio::sync::{Notify, broadcast};

use super::engine::Engine;
use super::{Inner, SETTLED_BACKLOG, Store, StoreError, failed};

/// How long a connection is waited for.
const ACQUIRE: Duration = Duration::from_secs(10);

impl Store {
    /// Opens the database, creates a file if there is none, and brings the schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, or another api-service has the file.
    pub async fn open(settings: Arc<Settings>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let engine = Engine::of(&settings.database.url).ok_or(StoreError::UnknownDatabase)?;
        let lock = match &engine {
            Engine::Sqlite { file } => Some(lock_beside(file)?),
            Engine::Postgres => None,
        };
        let store = Self::connect(engine, settings, clock, lock, true).await?;
        sqlx::migrate!()
            .run(&store.0.writer)
            .await
            .map_err(StoreError::Migrate)?;
        Ok(store)
    }

    /// Opens a database that is there, whether or not an api-service serves it: for commands that look,
    /// or leave a message in the outbox. Leases and their ends are left to the server.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn open_beside(
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let engine = Engine::of(&settings.database.url).ok_or(StoreError::UnknownDatabase)?;
        Self::connect(engine, settings, clock, None, false).await
    }

    async fn connect(
        engine: Engine,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        lock: Option<File>,
        as_server: bool,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let url = engine.connect_to(&settings.database.url, as_server);
        let session = engine.session();
        let pool = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        for statement in session {
                            connection.execute(*statement).await?;
                        }
                        Ok(())
                    })
                })
        };
        let open = async |connections| {
            let opened = pool(connections).connect(&url).await;
            opened.map_err(failed("open the database"))
        };
        Ok(Self(Arc::new(Inner {
            writer: open(1).await?,
            readers: open(4).await?,
            engine,
            settings: Arc::clone(&settings),
            clock,
            outbox_waker: Arc::new(Notify::new()),
            settled: broadcast::channel(SETTLED_BACKLOG).0,
            _lock: lock,
        })))
    }
}

/// Takes the lock that makes this process the database's only server. It goes with the process.
fn lock_beside(database: &Path) -> Result<File, StoreError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(StoreError::LockFile { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::LockFile { path, source }),
    }
}
