//! The machine in a line, and what it has that decides who hashes how fast.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// This machine.
pub(super) fn machine() -> String {
    let kernel = Command::new("uname")
        .arg("-sr")
        .output()
        .map(|said| said.stdout)
        .unwrap_or_default();
    format!(
        "{} core(s) of {}, {} of memory, {}",
        cores(),
        value("/proc/cpuinfo", "model name").unwrap_or_default(),
        value("/proc/meminfo", "MemTotal").unwrap_or_default(),
        String::from_utf8_lossy(&kernel).trim(),
    )
}

/// Cores that this process may use.
pub(super) fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

/// Who has the processor's SHA instructions. `hashlib` is what Cinder's Python needs for a GB, `ours` what we need.
pub(super) fn hashing(hashlib: Option<f64>, ours: Option<(f64, &str)>) -> String {
    let flags = value("/proc/cpuinfo", "flags").unwrap_or_default();
    let has = |name: &str| flags.split(' ').any(|flag| flag == name);
    let mut text = match has("sha_ni") {
        true => {
            "The processor has instructions for SHA-256, and the others use them as we may: OpenSSL below Cinder's and borg's Python, and restic's Go. \
             They are no advantage of ours."
        }
        false => "The processor has no instructions for SHA-256, for nobody.",
    }
    .to_owned();
    if let (Some(hashlib), Some((ours, path))) = (hashlib, ours) {
        text.push_str(&format!(
            " One core hashes a GB in blocks of 32 KiB in {hashlib:.2} s by Python's `hashlib`, as Cinder does it, and in {ours:.2} s by ours ({path}).",
        ));
    }
    text
}

/// Seconds in which this Python's `hashlib` hashes a GB in blocks of 32 KiB.
///
/// # Errors
/// When it does not say.
pub(super) async fn hashlib(python: &Path) -> Result<f64> {
    let mut command = tokio::process::Command::new(python.join("python"));
    command.arg("-c").arg(
        "import hashlib, os, time\n\
         data = memoryview(os.urandom(64 << 20))\n\
         def once():\n\
         \x20   start = time.thread_time()\n\
         \x20   for at in range(0, len(data), 32768): hashlib.sha256(data[at:at + 32768]).hexdigest()\n\
         \x20   return time.thread_time() - start\n\
         print(min(once() for _ in range(3)) / len(data) * 1e9)\n",
    );
    let said = crate::stage::answer(command).await?;
    said.trim().parse().context("understand Python's answer")
}

fn value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}
