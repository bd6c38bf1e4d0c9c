//! Whether there can be a database, asked without opening it.

use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, Connection};
use uuid::Uuid;

use super::engine::Engine;
use super::{StoreError, failed};

/// What there is at the place of the database, in words. The folder of a file was tried with a file of another name; a
/// server was logged in to, and nothing was asked.
///
/// # Errors
/// When the url is of no database that is served, its folder cannot be written, or its server does not let us in.
pub async fn check_place(url: &str) -> Result<String, StoreError> {
    match Engine::of(url).ok_or(StoreError::UnknownDatabase)? {
        Engine::Sqlite { file } => {
            try_folder_of(&file)?;
            Ok(format!("{} can be written", file.display()))
        }
        Engine::Postgres => {
            sqlx::any::install_default_drivers();
            let reached = AnyConnection::connect(url).await;
            let reached = reached.map_err(failed("log in to the database"))?;
            let closed = reached.close().await;
            closed.map_err(failed("log out of the database"))?;
            Ok("logged in".to_owned())
        }
    }
}

fn try_folder_of(file: &Path) -> Result<(), StoreError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let probe: PathBuf = folder.join(format!(".emberkeep-probe-{}", Uuid::now_v7()));
    let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    tried.map_err(|source| StoreError::LockFile {
        path: probe,
        source,
    })
}
