//! Records of backups over HTTP: what one cloud gives away and another takes in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::domain::BackupId;
use serde_json::{Value, json};

use super::{Answer, Api, id_in, parse};

/// A record as it travels, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The class path of the driver that made the backup.
    pub service: String,
    /// Every column of its row.
    pub columns: Value,
}

impl Record {
    /// Opens what an export answered, or a manifest holds.
    ///
    /// # Panics
    /// When it is no record.
    #[must_use]
    pub fn open(travelling: &Value) -> Self {
        let url: String = parse(&travelling["backup_url"]);
        let bytes = STANDARD.decode(url).expect("a record is base64");
        Self {
            service: parse(&travelling["backup_service"]),
            columns: serde_json::from_slice(&bytes).expect("a record is JSON"),
        }
    }

    /// The same with another value in a column.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.columns[column] = value.into();
        self
    }

    /// Its base64.
    #[must_use]
    pub fn url(&self) -> String {
        STANDARD.encode(self.columns.to_string())
    }
}

impl Api {
    /// The record of a backup.
    pub async fn export(&self, id: BackupId) -> Record {
        let path = format!("/v3/backups/{id}/export_record");
        Record::open(&self.get(&path).await.expect(200)["backup-record"])
    }

    /// Asks to take a record in, and gives the answer.
    pub async fn ask_to_import(&self, record: &Record) -> Answer {
        let body = json!({"backup-record": {
            "backup_service": record.service, "backup_url": record.url(),
        }});
        self.post("/v3/backups/import_record", body).await
    }

    /// Takes a record in, which must be accepted.
    pub async fn import(&self, record: &Record) -> BackupId {
        id_in(&self.ask_to_import(record).await.expect(201)["backup"])
    }
}
