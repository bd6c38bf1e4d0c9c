//! Where the processor's time goes: our default under `perf`, its symbols summed into classes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::peer::{Peer, Place, Step};
use super::table::step_name;
use super::usage::measure;
use crate::say;

/// Our default.
const ROW: Peer = Peer::EmberLz4;
/// What has its name in brackets, as the kernel and its modules do.
const NOT_KERNEL: [&str; 3] = ["[vdso]", "[unknown]", "[JIT]"];

/// Kinds of work, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Compressor,
    Sha256,
    Md5,
    KernelCopy,
    PageFaults,
    FileSystem,
    Kernel,
    UserCopy,
    Other,
}

/// Words of the kernel's symbols, the first that fits decides.
const KERNEL_WORDS: [(Class, &[&str]); 3] = [
    (
        Class::KernelCopy,
        &[
            "copy_user",
            "copy_to_user",
            "copy_from_user",
            "copy_to_iter",
            "copy_from_iter",
            "rep_movs",
            "copy_folio",
            "copy_page",
            "copyin",
            "copyout",
            "memcpy",
        ],
    ),
    (
        Class::PageFaults,
        &[
            "fault",
            "clear_page",
            "clear_huge",
            "anon",
            "pte",
            "pmd",
            "unmap",
            "munmap",
            "zap_",
            "tlb",
            "rmqueue",
            "get_page_from_freelist",
            "free_unref",
            "free_pcp",
            "alloc_pages",
            "lru",
            "vma",
            "madvise",
            "mprotect",
            "mmap",
        ],
    ),
    (
        Class::FileSystem,
        &[
            "ext4",
            "xfs",
            "btrfs",
            "jbd2",
            "iomap",
            "filemap",
            "folio",
            "xas_",
            "xa_",
            "writeback",
            "dirty",
            "blk",
            "bio",
            "virtio",
            "iowrite",
            "vfs",
            "read_iter",
            "write_iter",
            "pagecache",
            "page_cache",
            "fsync",
            "dentry",
            "inode",
            "loop",
            "crc32",
        ],
    ),
];

/// Words of our own symbols and those of the libraries.
const USER_WORDS: [(Class, &[&str]); 4] = [
    (Class::Sha256, &["sha256", "sha2::"]),
    (Class::Md5, &["md5"]),
    (
        Class::Compressor,
        &[
            "lz4",
            "ZSTD",
            "HUF_",
            "FSE_",
            "deflate",
            "zlib",
            "bzip2",
            "twox_hash",
            "xxh",
            "XXH",
            "codec",
            "HIST_",
            "compress",
        ],
    ),
    (Class::UserCopy, &["memcpy", "memmove", "memset", "is_zero"]),
];

impl Class {
    pub(super) const ALL: [Self; 9] = [
        Self::Compressor,
        Self::Sha256,
        Self::Md5,
        Self::KernelCopy,
        Self::PageFaults,
        Self::FileSystem,
        Self::Kernel,
        Self::UserCopy,
        Self::Other,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Compressor => "compressor",
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
            Self::KernelCopy => "kernel: copying to and from it",
            Self::PageFaults => "kernel: page faults, memory",
            Self::FileSystem => "kernel: file system, page cache, disk",
            Self::Kernel => "kernel: other",
            Self::UserCopy => "copies and zero tests",
            Self::Other => "other",
        }
    }

    /// Of a symbol of the object `dso`.
    fn of(symbol: &str, dso: &str) -> Self {
        let is_kernel = dso.starts_with('[') && !NOT_KERNEL.contains(&dso);
        let (words, rest) = match is_kernel {
            true => (&KERNEL_WORDS[..], Self::Kernel),
            false => (&USER_WORDS[..], Self::Other),
        };
        let fits = |words: &[&str]| words.iter().any(|word| symbol.contains(word));
        let found = words.iter().find(|(_, words)| fits(words));
        found.map_or(rest, |(class, _)| *class)
    }
}

/// Shares of one step's samples.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) of: BTreeMap<Class, f64>,
    /// The dearest symbols, by their share.
    top: Vec<(String, f64)>,
}

/// What was found for each step.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) steps: BTreeMap<Step, Shares>,
}

impl Profile {
    /// The table of the report.
    pub(super) fn section(&self, plot: &str) -> String {
        let mut text = format!(
            "## Where the time goes\n\n![]({plot})\n\n\
             Emberkeep lz4 with the ext4 volume, once more each under `perf record -F 997 -g`: the share of the samples, by the function that was running.\n\n| |"
        );
        for step in self.steps.keys() {
            text.push_str(&format!(" {} |", step_name(*step)));
        }
        text.push_str(&format!("\n|---|{}\n", "---|".repeat(self.steps.len())));
        for class in Class::ALL {
            text.push_str(&format!("| {} |", class.name()));
            for step in self.steps.values() {
                let share = step.of.get(&class).copied().unwrap_or(0.0);
                text.push_str(&format!(" {:.0} % |", 100.0 * share));
            }
            text.push('\n');
        }
        text.push('\n');
        for (step, shares) in &self.steps {
            let top = shares.top.iter();
            let top = top.map(|(name, share)| format!("`{name}` {:.0} %", 100.0 * share));
            let top: Vec<_> = top.collect();
            text.push_str(&format!("- {}: {}.\n", step_name(*step), top.join(", ")));
        }
        if !self.saw_kernel() {
            text.push_str(
                "\nThis machine does not let `perf` see the kernel: what it did is missing here.\n",
            );
        }
        text
    }

    fn saw_kernel(&self) -> bool {
        let is_kernel = |class: &Class| {
            let user = [
                Class::Compressor,
                Class::Sha256,
                Class::Md5,
                Class::UserCopy,
                Class::Other,
            ];
            !user.contains(class)
        };
        let mut classes = self.steps.values().flat_map(|shares| shares.of.keys());
        classes.any(is_kernel)
    }

    /// The dearest three kinds of work of a step, in words.
    pub(super) fn dearest(&self, step: Step) -> Option<String> {
        let mut shares: Vec<_> = self.steps.get(&step)?.of.iter().collect();
        shares.sort_by(|one, other| other.1.total_cmp(one.1));
        let shares = shares.iter().take(3);
        let shares =
            shares.map(|(class, share)| format!("{} {:.0} %", class.name(), *share * 100.0));
        Some(shares.collect::<Vec<_>>().join(", "))
    }
}

/// Does each step of our default once under `perf`.
///
/// # Errors
/// When `perf` may not look, or a command fails.
pub(super) async fn measured(place: &Place, original: &Path, changed: &Path) -> Result<Profile> {
    let log = place.scratch.with_extension("log");
    let data = place.scratch.with_extension("perf");
    place.make()?;
    let mut profile = Profile {
        steps: BTreeMap::new(),
    };
    for step in Step::ALL {
        let command = ROW.run(step, place).context("our rows do that")?.command;
        if step == Step::Prepare {
            measure(command, None, &log).await?;
            continue;
        }
        say::line(format_args!("A profile: {}", step_name(step)));
        if step != Step::Restore {
            let volume = if step == Step::Incremental {
                changed
            } else {
                original
            };
            place.present(volume)?;
        }
        place.warm(step)?;
        rustix::fs::sync();
        let mut perf = Command::new("perf");
        perf.args(["record", "-F", "997", "-g", "-q", "-o"])
            .arg(&data);
        perf.arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        measure(perf, None, &log).await?;
        let mut report = tokio::process::Command::new("perf");
        report.args([
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "-q",
            "--no-inline",
        ]);
        report
            .args(["--sort", "symbol,dso", "-t", "|", "-i"])
            .arg(&data);
        let said = crate::stage::answer(report).await?;
        let shares = summed(&said);
        anyhow::ensure!(
            !shares.of.is_empty(),
            "perf saw nothing of the {}",
            step_name(step)
        );
        profile.steps.insert(step, shares);
    }
    place.check_restored(changed)?;
    std::fs::remove_file(&data).context("remove a profile")?;
    std::fs::remove_file(&place.volume).context("remove a volume")?;
    place.clear()?;
    Ok(profile)
}

/// Sums lines such as ` 61.20%|[.] lz4_flex::block::compress|backup-worker`.
fn summed(report: &str) -> Shares {
    let mut shares = Shares::default();
    for line in report.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (Some(share), Some(symbol), Some(dso)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(Ok(percent)) = share.strip_suffix('%').map(str::parse::<f64>) else {
            continue;
        };
        let symbol = symbol.split_once("] ").map_or(symbol, |(_, name)| name);
        *shares.of.entry(Class::of(symbol, dso)).or_default() += percent / 100.0;
        // perf sorts, and a name with all its generics is no name for people.
        if shares.top.len() < 6 {
            let name: String = symbol.chars().take(60).collect();
            shares.top.push((name, percent / 100.0));
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_summed_by_the_kind_of_work() {
        let shares = summed(
            "# a remark\n\
             \x20   50.00%|[.] lz4_flex::block::compress::compress_internal|backup-worker     \n\
             \x20   20.00%|[.] backup_worker::lanes::x86_64::avx512::sha256|backup-worker\n\
             \x20   10.00%|[k] rep_movs_alternative|[kernel.kallsyms]\n\
             \x20    5.00%|[k] clear_page_erms|[kernel.kallsyms]\n\
             \x20    5.00%|[k] ext4_da_write_begin|[ext4]\n\
             \x20    5.00%|[k] finish_task_switch.isra.0|[kernel.kallsyms]\n\
             \x20    3.00%|[.] __memmove_avx512_unaligned_erms|libc.so.6\n\
             \x20    2.00%|[.] clock_gettime|[vdso]\n",
        );
        let of = |class| (shares.of[&class] * 100.0).round();
        assert_eq!(of(Class::Compressor), 50.0);
        assert_eq!(of(Class::Sha256), 20.0);
        assert_eq!(of(Class::KernelCopy), 10.0);
        assert_eq!(of(Class::PageFaults), 5.0);
        assert_eq!(of(Class::FileSystem), 5.0);
        assert_eq!(of(Class::Kernel), 5.0);
        assert_eq!(of(Class::UserCopy), 3.0);
        assert_eq!(of(Class::Other), 2.0);
        assert_eq!(shares.top.len(), 6);
        assert_eq!(
            shares.top[0].0,
            "lz4_flex::block::compress::compress_internal"
        );
    }
}
