//! Memory that a process may have, and that it had.

use std::path::{Path, PathBuf};
use std::{fs, io};

use uuid::Uuid;

use crate::process::Process;

/// A control group of the kernel whose processes may hold so many bytes together, page cache included, and no swap.
///
/// One that needs more is killed. It is removed when this is dropped, after its processes have ended.
#[derive(Debug)]
pub struct MemoryLimit {
    group: PathBuf,
}

impl MemoryLimit {
    /// A group with this limit.
    ///
    /// # Errors
    /// Why the system has none for us.
    pub fn new(bytes: u64) -> Result<Self, String> {
        let (parent, version) = parent_group()?;
        let group = parent.join(format!("emberkeep-test-{}", Uuid::now_v7()));
        fs::create_dir(&group)
            .map_err(|error| format!("no control group in {}: {error}", parent.display()))?;
        let limit = Self { group };
        let bytes = bytes.to_string();
        let (own, swap) = match version {
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
            Version::Two => ("memory.max", "memory.swap.max"),
        };
        limit
            .write(own, &bytes)
            .map_err(|error| format!("no memory limit in {}: {error}", limit.group.display()))?;
        // Absent where swap is not counted; then there is none to flee to, or the numbers below tell.
        let none = match version {
            Version::One => bytes.as_str(),
            Version::Two => "0",
        };
        match limit.write(swap, none) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("no swap limit: {error}"))
            }
            Ok(()) | Err(_) => Ok(limit),
        }
    }

    /// Puts a running process under the limit.
    ///
    /// # Panics
    /// When it cannot be.
    pub fn hold(&self, process: &Process) {
        self.write("cgroup.procs", &process.id().to_string())
            .unwrap_or_else(|error| panic!("limit the memory of {}: {error}", process.name()));
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.group.join(file), value)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group); // refused while a process of a failed test is in it
    }
}

#[derive(Debug, Clone, Copy)]
enum Version {
    One,
    Two,
}

/// Where a group can be made: in this program's own, so that no limit that is above it is left.
fn parent_group() -> Result<(PathBuf, Version), String> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| format!("no control groups: {path}: {error}"))
    };
    let (mounts, own) = (read("/proc/self/mounts")?, read("/proc/self/cgroup")?);
    let mounted = |wanted: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind, options) = (words.next()?, words.next()?, words.next()?);
            (kind == wanted && options.split(',').any(|word| word == option))
                .then(|| PathBuf::from(point))
        })
    };
    // `4:memory:/path`, and `0::/path` of version 2.
    let own_below = |mount: &Path, controller: &str| {
        let path = own.lines().find_map(|line| {
            let mut words = line.splitn(3, ':').skip(1);
            let controllers = words.next()?;
            let is_it = controllers.split(',').any(|word| word == controller);
            words.next().filter(|_| is_it).map(str::to_owned)
        });
        let path = mount.join(path.unwrap_or_default().trim_start_matches('/'));
        // In a container the path may be one of the host's.
        if path.is_dir() {
            path
        } else {
            mount.to_owned()
        }
    };
    if let Some(mount) = mounted("cgroup", "memory") {
        return Ok((own_below(&mount, "memory"), Version::One));
    }
    let mount = mounted("cgroup2", "rw").ok_or("no control groups that can be written to")?;
    let parent = own_below(&mount, "");
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_whitespace().any(|word| word == "memory") {
        return Err(format!("no memory controller in {}", parent.display()));
    }
    fs::write(parent.join("cgroup.subtree_control"), "+memory")
        .map_err(|error| format!("no memory controller below {}: {error}", parent.display()))?;
    Ok((parent, Version::Two))
}
