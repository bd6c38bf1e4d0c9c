//! Where the rows of one test are: a file of SQLite, or a schema of its own on PostgreSQL.

use std::path::Path;
use std::process::Command;

use uuid::Uuid;
use xtask::postgres::{Cluster, find};

/// Set when the tests are to run on PostgreSQL: the url of a database that `cargo xtask test` gives.
const POSTGRES_URL: &str = "EMBERKEEP_TEST_POSTGRES_URL";

/// A database that lives as long as this value, or as the cluster it is on.
#[derive(Debug)]
pub(crate) enum Database {
    File,
    Schema(String),
    Own(Box<Cluster>),
}

/// Whether tests run on PostgreSQL. Says that a test is skipped when they do not: only that serves several api-services.
#[must_use]
#[expect(clippy::print_stdout, reason = "a test that cannot run says why")]
pub fn on_postgres() -> bool {
    let is_set = std::env::var_os(POSTGRES_URL).is_some();
    if !is_set {
        println!("SKIPPED: {POSTGRES_URL} is not set");
    }
    is_set
}

impl Database {
    /// A schema where PostgreSQL is given, else a file.
    pub(crate) fn usual() -> Self {
        let Some(server) = std::env::var_os(POSTGRES_URL) else {
            return Self::File;
        };
        let server = server.into_string().expect("a url is text");
        let schema = format!("test_{}", Uuid::now_v7().simple());
        let output = Command::new(find("psql").expect("psql is installed"))
            .arg(&server)
            .args(["--quiet", "--no-psqlrc", "--command"])
            .arg(format!("CREATE SCHEMA {schema}"))
            .output()
            .expect("psql can be run");
        assert!(output.status.success(), "a schema can be made: {output:?}");
        Self::Schema(format!("{server}?options[search_path]={schema}"))
    }

    /// A cluster that serves one test alone.
    pub(crate) async fn private() -> Self {
        let started = Cluster::start().await;
        Self::Own(Box::new(started.expect("PostgreSQL can be started")))
    }

    /// Its url, for a stack with its files in `root`.
    pub(crate) fn url_in(&self, root: &Path) -> String {
        match self {
            Self::File => format!("sqlite://{}/emberkeep.db", root.display()),
            Self::Schema(url) => url.clone(),
            Self::Own(cluster) => cluster.url(),
        }
    }

    fn cluster(&mut self) -> &mut Cluster {
        match self {
            Self::Own(cluster) => cluster,
            Self::File | Self::Schema(_) => panic!("only a private database may be stopped"),
        }
    }

    pub(crate) async fn stop(&mut self) {
        let stopped = self.cluster().stop().await;
        stopped.expect("PostgreSQL can be stopped");
    }

    pub(crate) async fn start(&mut self) {
        let started = self.cluster().start_again().await;
        started.expect("PostgreSQL can be started again");
    }
}
