//! Whether there can be a database, asked without opening it.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{StoreError, sqlite_file};

/// The file of the database; its folder was tried with a file of another name.
///
/// # Errors
/// When the url is of no database that is served, or its folder cannot be written.
pub fn check_place(url: &str) -> Result<PathBuf, StoreError> {
    let file = sqlite_file(url).ok_or(StoreError::UnknownDatabase)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let probe = folder.join(format!(".emberkeep-probe-{}", Uuid::now_v7()));
    let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Ok(file),
        Err(source) => Err(StoreError::LockFile {
            path: probe,
            source,
        }),
    }
}
