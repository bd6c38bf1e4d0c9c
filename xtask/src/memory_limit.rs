//! A limit of the kernel's for the memory of processes: the system tests' workers run under it, and the bench's memory rows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::files::random_hex;

/// Who is in a group.
const MEMBERS: &str = "cgroup.procs";

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
        let name = random_hex::<8>().map_err(|error| error.to_string())?;
        let group = parent.join(format!("emberkeep-{name}"));
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
    /// # Errors
    /// When the system refuses, as it does when there is no such process.
    pub fn hold(&self, process_id: u32) -> io::Result<()> {
        self.write(MEMBERS, &process_id.to_string())
    }

    /// The same command, under the limit from its first instruction: a shell puts itself there and becomes it.
    #[must_use]
    pub fn around(&self, command: &Command) -> Command {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(self.group.join(MEMBERS))
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            limited.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        limited
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.group.join(file), value)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group); // refused while a process is in it, as after a failed test
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_in_the_group_before_it_is_that_command() {
        let folder = tempfile::tempdir().unwrap();
        let limit = MemoryLimit {
            group: folder.path().join("a group"),
        };
        fs::create_dir(&limit.group).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo "$$ $1 $WORD"; pwd"#, "sh", "a b"])
            .env("WORD", "kept")
            .current_dir("/");
        let output = limit.around(&command).output().unwrap();
        let members = fs::read_to_string(limit.group.join(MEMBERS)).unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{} a b kept\n/\n", members.trim())
        );
    }

    #[test]
    fn a_command_does_not_run_without_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let limit = MemoryLimit {
            group: folder.path().join("gone"),
        };
        let output = limit.around(Command::new("echo").arg("ran")).output();
        let output = output.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
    }

    #[test]
    fn a_command_that_holds_more_than_the_limit_is_killed() {
        let limit = match MemoryLimit::new(64 << 20) {
            Ok(limit) => limit,
            Err(why) => return crate::say::line(format_args!("SKIPPED: {why}")),
        };
        let has_room = |mebibytes: u32| {
            let mut holder = Command::new("sh");
            // The shell holds in a variable what it was told.
            let script = r#"x=$(head -c "$1" /dev/zero | tr '\0' x); test ${#x} -eq "$1""#;
            holder.args(["-c", script, "sh"]);
            holder.arg((mebibytes << 20).to_string());
            limit.around(&holder).status().unwrap().success()
        };
        assert!(has_room(1));
        assert!(!has_room(200));
    }
}
