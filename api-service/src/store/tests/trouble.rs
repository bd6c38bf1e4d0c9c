//! A database in trouble: locked, full, killed. What does not become true leaves nothing.

use std::path::Path;

use sqlx::{AnyConnection, AssertSqlSafe, Executor};

use super::*;

/// Another process at the database.
pub(crate) struct Stranger {
    connection: AnyConnection,
    engine: Engine,
}

impl Stranger {
    /// Comes to the database of a store, which is told to wait for nobody longer than a moment.
    pub(crate) async fn beside(store: &Store) -> Self {
        let engine = store.0.engine.clone();
        set(
            store,
            match engine {
                Engine::Sqlite { .. } => "PRAGMA busy_timeout = 20",
                Engine::Postgres => "SET lock_timeout = 20",
            },
        )
        .await;
        let url = &store.settings().database.url;
        Self {
            connection: AnyConnection::connect(url).await.unwrap(),
            engine,
        }
    }

    /// Keeps every other writer out.
    pub(crate) async fn lock(&mut self) {
        let begin = self.engine.begin();
        self.connection.execute(begin).await.unwrap();
        if let Some(turn) = self.engine.take_turn() {
            self.connection.execute(turn).await.unwrap();
        }
    }

    pub(crate) async fn let_go(&mut self) {
        self.connection.execute("ROLLBACK").await.unwrap();
    }
}

/// Sets something on the writer's connection.
pub(crate) async fn set(store: &Store, statement: &'static str) {
    let mut writer = store.0.writer.acquire().await.unwrap();
    writer.execute(statement).await.unwrap();
}

/// Lets commits wait for no disk.
pub(crate) async fn hurry(store: &Store) {
    let statement = match store.0.engine {
        Engine::Sqlite { .. } => "PRAGMA synchronous = OFF",
        Engine::Postgres => "SET synchronous_commit = off",
    };
    set(store, statement).await;
}

/// Leaves room for so many pages more than there are, until the writer's connection is replaced.
async fn leave_pages(store: &Store, room: u64) {
    // One that SQLite has rolled back on its own is replaced by this.
    store.write().await.unwrap().commit().await.unwrap();
    let pages = count(store, "SELECT page_count AS n FROM pragma_page_count").await;
    let limit = format!("PRAGMA max_page_count = {}", pages + room);
    let mut writer = store.0.writer.acquire().await.unwrap();
    let limited = sqlx::query(AssertSqlSafe(limit));
    limited.execute(&mut *writer).await.unwrap();
}

async fn count(store: &Store, sql: &'static str) -> u64 {
    let mut conn = store.read().await.unwrap();
    let row = sqlx::query(sql).fetch_one(&mut *conn).await.unwrap();
    row::Columns(&row).count("n").unwrap()
}

/// Volumes, the jobs that make them, and the messages about both: two for each.
async fn rows(store: &Store) -> [u64; 3] {
    [
        count(store, "SELECT COUNT(*) AS n FROM volumes").await,
        count(store, "SELECT COUNT(*) AS n FROM jobs").await,
        count(store, "SELECT COUNT(*) AS n FROM outbox").await,
    ]
}

fn new_volume(description: &str) -> NewVolume {
    NewVolume {
        size_gib: 1,
        description: Some(description.to_owned()),
        ..NewVolume::default()
    }
}

async fn create(world: &World, description: &str) -> Result<(), RequestError> {
    let new = new_volume(description);
    let created = world.store.create_volume(&world.caller, new).await;
    created.map(drop)
}

#[track_caller]
fn assert_transient(result: Result<(), RequestError>) {
    match result {
        Err(RequestError::Store(error)) => assert!(error.is_transient(), "{error:?}"),
        other => panic!("the database was in the way: {other:?}"),
    }
}

#[tokio::test]
async fn a_locked_database_refuses_and_goes_on_when_it_is_let_go() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let before = rows(&world.store).await;
    let mut stranger = Stranger::beside(&world.store).await;
    stranger.lock().await;
    assert_transient(create(&world, "").await);
    let reply: common::messages::rpc::Reply<common::messages::rpc::Claimed> =
        world.reply(world.claim_for(job.id)).await;
    assert!(
        matches!(reply, common::messages::rpc::Reply::TryAgain(_)),
        "{reply:?}"
    );
    // Reading goes on.
    world.backup_is(backup.id, BackupStatus::Creating).await;
    assert_eq!(rows(&world.store).await, before);

    stranger.let_go().await;
    create(&world, "").await.unwrap();
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
}

#[tokio::test]
async fn a_full_database_keeps_nothing_by_halves_and_goes_on_when_there_is_room() {
    if postgres().is_some() {
        skip("PostgreSQL has no limit of pages to set");
        return;
    }
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    // As many pages as there are, and a few to get into the middle of a change.
    set(&world.store, "PRAGMA max_page_count = 1").await;
    let pages = count(
        &world.store,
        "SELECT page_count AS n FROM pragma_page_count",
    )
    .await;
    let limit = format!("PRAGMA max_page_count = {}", pages + 2);
    set(&world.store, limit.leak()).await;

    let text = "x".repeat(1500);
    let mut accepted = 0;
    let [volumes, jobs, messages] = rows(&world.store).await;
    for room in [0, 1, 2, 3, 5, 8] {
        leave_pages(&world.store, room).await;
        loop {
            match create(&world, &text).await {
                Ok(()) => accepted += 1,
                refused => {
                    assert_transient(refused);
                    break;
                }
            }
            assert!(accepted < 1000, "it never became full");
        }
    }
    let after = rows(&world.store).await;
    let per_volume = 2;
    assert_eq!(
        after,
        [
            volumes + accepted,
            jobs + accepted,
            messages + accepted * per_volume
        ]
    );

    // Also the connection that met it is of use again.
    create(&world, &text).await.unwrap();
    world.complete(fence).await;
}

#[tokio::test]
async fn what_a_killed_api_service_had_not_committed_never_was() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let _: Committed = world.ask(Commit { fence, attempt: 1 }).await;

    // All of the end of a backup but its commit.
    let mut tx = world.store.write().await.unwrap();
    let held = tx.job(job.id).await.unwrap().unwrap();
    let outcome = world.backed_up();
    tx.settle(&held, &outcome, None).await.unwrap();
    let killed = Copy::of(&world).await;
    let row = killed.store.backup(&Scope::All, backup.id).await.unwrap();
    assert_eq!(row.status, BackupStatus::Creating);
    let held = killed.store.job(job.id).await.unwrap().unwrap();
    assert_eq!(held.state, JobState::Committing);

    tx.commit().await.unwrap();
    let killed = Copy::of(&world).await;
    let row = killed.store.backup(&Scope::All, backup.id).await.unwrap();
    assert_eq!(row.status, BackupStatus::Available);
    let settled = killed.store.job(job.id).await.unwrap().unwrap();
    assert_eq!(settled.state, JobState::Settled);
    let row = killed.store.volume(&Scope::All, volume.id).await.unwrap();
    assert_eq!(row.status, VolumeStatus::Available);
    let messages = killed.store.due_messages(1000).await.unwrap();
    let of_the_end = messages
        .iter()
        .filter(|m| m.message_type == "backup.available.v1");
    assert_eq!(of_the_end.count(), 1);
}

/// What a next start finds when the process ends now: the files as they are, or what the server has.
struct Copy {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Copy {
    async fn of(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = (*world.settings).clone();
        if let Engine::Sqlite { file } = &world.store.0.engine {
            let place = directory.path().join("e.db");
            for suffix in ["", "-wal"] {
                let with_suffix =
                    |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
                std::fs::copy(with_suffix(file), with_suffix(&place)).unwrap();
            }
            settings.database.url = format!("sqlite://{}", place.display());
        }
        let clock = Arc::clone(&world.store.0.clock);
        let store = Store::open(Arc::new(settings), clock).await.unwrap();
        Self {
            store,
            _directory: directory,
        }
    }
}
