//! Where a test has its rows.

use std::path::Path;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Set for tests on PostgreSQL: the url of a database in which each test makes a schema of its own.
const POSTGRES: &str = "EMBERKEEP_TEST_POSTGRES_URL";

/// The url of a database of the test's own: a file in the directory, unless the tests run on PostgreSQL.
pub(crate) async fn fresh_database(directory: &Path) -> String {
    let Some(server) = postgres() else {
        return format!("sqlite://{}", directory.join("e.db").display());
    };
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut session = PgConnection::connect(&server).await.unwrap();
    let sql = format!("CREATE SCHEMA {schema}");
    session.execute(AssertSqlSafe(sql)).await.unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}options[search_path]={schema}")
}

/// Where PostgreSQL is, if the tests run on it.
pub(crate) fn postgres() -> Option<String> {
    let url = std::env::var_os(POSTGRES)?;
    Some(url.into_string().expect("a url is text"))
}
