//! Rows as a test wants to find them, whatever led there.

use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;

use super::super::{Tx, failed};

impl Tx {
    /// Empties the database.
    pub(crate) async fn arrange_nothing(&mut self) {
        for table in [
            "generations",
            "jobs",
            "attempts",
            "backups",
            "snapshots",
            "volumes",
            "outbox",
            "quotas",
        ] {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(self.conn())
                .await
                .unwrap_or_else(|error| panic!("{table}: {error}"));
        }
    }

    /// Writes a row: texts, whole numbers and nulls by their columns.
    pub(crate) async fn arrange(&mut self, table: &str, row: &Map<String, Value>) {
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        // A null has no type to be bound as.
        let mut bound = 0;
        let places: Vec<String> = row
            .values()
            .map(|value| {
                if value.is_null() {
                    return "NULL".to_owned();
                }
                bound += 1;
                format!("${bound}")
            })
            .collect();
        let sql = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            columns.join(", "),
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in row.values() {
            query = match value {
                Value::String(text) => query.bind(text.clone()),
                Value::Number(number) => query.bind(number.as_i64().expect("a whole number")),
                Value::Null => query,
                other => panic!("no column holds {other}"),
            };
        }
        query
            .execute(self.conn())
            .await
            .map_err(failed("arrange a row"))
            .unwrap_or_else(|error| panic!("{table} {row:?}: {error:?}"));
    }
}
