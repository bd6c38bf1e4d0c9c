//! What a process and its children have of the machine, as the kernel tells it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::process::Process;

/// Ticks of processor time in a second: the kernel's `USER_HZ`, 100 on every machine we build for.
const TICKS: f64 = 100.0;

/// Processor time and memory of a process with its children.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Used {
    /// User and system time since its start, in seconds.
    pub(super) cpu_s: f64,
    /// Resident bytes; what children share with it counts for each.
    pub(super) rss_bytes: u64,
    /// Proportional bytes: what is shared counts in parts.
    pub(super) pss_bytes: u64,
}

impl Used {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            cpu_s: self.cpu_s + other.cpu_s,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            pss_bytes: self.pss_bytes + other.pss_bytes,
        }
    }
}

/// Now, of a process and all that descend from it. Nothing of one that has ended.
pub(super) fn used_by(root: Process) -> Used {
    if !root.is_alive() {
        return Used::default();
    }
    let stats = all_stats();
    let mut family = vec![root.pid];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        at += 1;
        let children = stats.iter().filter(|(_, stat)| stat.parent == parent);
        family.extend(children.map(|(pid, _)| *pid));
    }
    let mut used = Used::default();
    for pid in family {
        let ticks = stats.get(&pid).map_or(0, |stat| stat.ticks);
        let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let memory = memory.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let cpu_s = ticks as f64 / TICKS;
        used = used.plus(Used {
            cpu_s,
            rss_bytes: kilobytes(&memory, "Rss:") << 10,
            pss_bytes: kilobytes(&memory, "Pss:") << 10,
        });
    }
    used
}

/// Lets the kernel forget how much memory a process had at most so far.
///
/// # Errors
/// When that is not this user's process.
pub(super) fn forget_peak(process: Process) -> Result<()> {
    let path = format!("/proc/{}/clear_refs", process.pid);
    std::fs::write(&path, "5").with_context(|| format!("write {path}"))
}

/// The most memory a process had at a time since then, in bytes.
///
/// # Errors
/// When it is gone.
pub(super) fn peak_bytes(process: Process) -> Result<u64> {
    let path = format!("/proc/{}/status", process.pid);
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(kilobytes(&status, "VmHWM:") << 10)
}

struct Stat {
    parent: i32,
    /// Of its own and of its children that have ended.
    ticks: u64,
}

fn all_stats() -> BTreeMap<i32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stat = |name: &str| -> Option<(i32, Stat)> {
        let pid = name.parse().ok()?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, read_stat(&text)?))
    };
    entries
        .filter_map(|entry| stat(entry.file_name().to_str()?))
        .collect()
}

/// The second field is the program's name in parentheses, and may itself hold blanks and parentheses.
fn read_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

fn kilobytes(smaps: &str, name: &str) -> u64 {
    let line = smaps.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    number
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b) S 7 42 42 0 -1 4194560 100 0 0 0 3 4 5 6 20 0 1 0 12345 0 0";
        let stat = read_stat(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 18));
    }

    #[test]
    fn memory_is_read_in_kilobytes() {
        let text = "5581 rollup\nRss:                2048 kB\nPss:                1024 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), 2048);
        assert_eq!(kilobytes(text, "Pss:"), 1024);
        assert_eq!(kilobytes(text, "Swap:"), 0);
    }

    #[test]
    fn a_peak_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        // 64 MiB that the shell has for a moment only: the number it prints is the sign that they are gone.
        let script =
            "x=$(head -c 67108864 /dev/zero | tr '\\0' x); unset x; sleep 1000 & echo $!; wait";
        let log = folder.path().join("log");
        let arguments = ["-c".as_ref(), script.as_ref()];
        let shell = Process::spawn_detached("sh".as_ref(), &arguments, &log, |_| ()).unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        while !said().ends_with('\n') {
            std::thread::yield_now();
        }
        let before = peak_bytes(shell).unwrap();
        forget_peak(shell).unwrap();
        let forgotten = peak_bytes(shell).unwrap();
        shell.kill_now();
        end(said().trim().parse().unwrap());
        assert!(before > 64 << 20, "{before}");
        assert!(0 < forgotten && forgotten < 64 << 20, "{forgotten}");
    }

    fn end(pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn children_count_with_their_parent() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & wait";
        let arguments = ["-c".as_ref(), script.as_ref()];
        let log = folder.path().join("log");
        let shell = Process::spawn_detached("sh".as_ref(), &arguments, &log, |_| ()).unwrap();
        let children = || {
            let stats = all_stats();
            let mine = stats.iter().filter(|(_, stat)| stat.parent == shell.pid);
            mine.map(|(pid, _)| *pid).collect::<Vec<_>>()
        };
        while children().is_empty() {
            std::thread::yield_now();
        }
        let child = children()[0];
        let both = used_by(shell).rss_bytes;
        let smaps = std::fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap();
        let of_the_child = kilobytes(&smaps, "Rss:") << 10;
        assert!(
            of_the_child > 0 && both > of_the_child,
            "{both}, {of_the_child}"
        );
        end(child);
        shell.kill_now();
        assert_eq!(used_by(shell), Used::default());
    }
}
