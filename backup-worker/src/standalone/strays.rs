//! `list --strays`: what lies in the containers of a tree and belongs to no whole backup.
//!
//! Nothing here is ever removed: only the database knows which names are a job's, and a job removes what is its own.

use std::collections::{BTreeMap, BTreeSet};

use common::domain::ContainerName;
use serde::Serialize;

use super::failure::Failure;
use super::repository::{Repository, id_of, prefix_of, scratch_of};
use super::watch::Watch;
use crate::store::posix;

/// One name that no whole backup accounts for.
#[derive(Debug, Serialize)]
pub(super) struct Stray {
    /// Below the repository.
    pub(super) path: String,
    pub(super) why: &'static str,
}

/// Finds all of them, container by container.
pub(super) fn find(repository: &Repository, watch: &Watch) -> Result<Vec<Stray>, Failure> {
    let mut containers = BTreeSet::new();
    // What cannot be looked into is told by the list of backups.
    let _ = posix::containers(repository.path(), &mut |container| {
        containers.insert(container);
        Ok::<_, Failure>(())
    })?;
    let mut strays = Vec::new();
    for container in &containers {
        watch.check()?;
        for (name, why) in in_container(repository, container)? {
            let path = format!("{container}/{name}");
            let is_container = ContainerName::new(path.clone())
                .is_ok_and(|container| containers.contains(&container));
            if !is_container {
                strays.push(Stray { path, why });
            }
        }
    }
    Ok(strays)
}

fn in_container(
    repository: &Repository,
    container: &ContainerName,
) -> Result<BTreeMap<String, &'static str>, Failure> {
    let mut strays = BTreeMap::new();
    let mut whole = Vec::new();
    for name in repository.store().list(container, "")? {
        let why = match prefix_of(&name) {
            _ if scratch_of(&name).is_some() => {
                "scratch place: a backup is being made, or was broken off"
            }
            Some((prefix, is_metadata)) if id_of(&prefix).is_some() => {
                if is_metadata {
                    whole.push(prefix);
                }
                "no metadata file names it"
            }
            _ => "unknown: no name that a backup has",
        };
        strays.insert(name, why);
    }
    for prefix in whole {
        let Some(backup_id) = id_of(&prefix) else {
            continue;
        };
        let backup = common::messages::sheet::StoredBackup {
            backup_id,
            container: container.clone(),
            prefix,
        };
        let read = repository.head(&backup, &mut |object| {
            strays.remove(&object.name);
            Ok(())
        });
        strays.remove(&backup.prefix.metadata());
        strays.remove(&backup.prefix.sha256file());
        match read {
            Ok(_) => {}
            // The list says that it is unreadable; what it would name is not known to be strange.
            Err(Failure::Damaged(_)) => {
                strays.retain(|name, _| !name.starts_with(backup.prefix.as_str()));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(strays)
}
