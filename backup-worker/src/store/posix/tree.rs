//! All containers of a target: for who has nothing but the files.

use std::os::fd::AsFd;
use std::path::Path;

use common::domain::ContainerName;
use rustix::fs::{Dir, FileType, Mode, OFlags};

use super::container::failed;
use super::root::{Root, entry};
use crate::store::StoreError;

/// Hands on every directory below `path` whose path can be a container's name, in order of their names.
///
/// Scratch places are left out and symbolic links are not followed. A directory that cannot be
/// looked into is told in what comes back; the rest is still visited.
///
/// # Errors
/// When the target itself cannot be read, or `visit` fails.
pub fn containers<E: From<StoreError>>(
    path: &Path,
    visit: &mut dyn FnMut(ContainerName) -> Result<(), E>,
) -> Result<Vec<StoreError>, E> {
    let shown = path.display().to_string();
    let root = Root::open(path, false).map_err(|errno| failed("open", &shown, errno))?;
    let mut closed = Vec::new();
    let mut waiting = directories(&root, None).map_err(|errno| failed("list", &shown, errno))?;
    while let Some(container) = waiting.pop() {
        match directories(&root, Some(&container)) {
            Ok(below) => waiting.extend(below),
            Err(rustix::io::Errno::NOENT) => continue, // removed meanwhile
            Err(errno) => {
                closed.push(failed("list", container.as_str(), errno));
                continue;
            }
        }
        visit(container)?;
    }
    Ok(closed)
}

/// The directories in one, last name first.
fn directories(
    root: &Root,
    within: Option<&ContainerName>,
) -> Result<Vec<ContainerName>, rustix::io::Errno> {
    let directory = match within {
        Some(container) => root.directory(container.as_str())?,
        None => entry(
            root.fd(),
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )?,
    };
    let mut found = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => {
                let no_link = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::statat(directory.as_fd(), name, no_link)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            }
            _ => false,
        };
        if !is_directory {
            continue;
        }
        let path = within.map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
        found.extend(ContainerName::new(path)); // a name that no container can have is none
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}
