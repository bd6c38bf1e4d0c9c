//! Where the processor's time goes: what `perf` saw, its symbols summed into classes.

use std::collections::BTreeMap;

use super::peer::{Peer, Step};
use super::table::step_name;

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
    pub(super) fn of(symbol: &str, dso: &str) -> Self {
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

/// Shares of the samples.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) of: BTreeMap<Class, f64>,
    /// The dearest symbols, by their share.
    pub(super) top: Vec<(String, f64)>,
}

/// What a profile is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A step of a row of ours, with the ext4 volume.
    Row(Peer, Step),
    /// The incremental of our default that reads only what was written.
    Tracked,
}

impl Subject {
    pub(super) fn name(self) -> String {
        match self {
            Self::Row(peer, step) => {
                let algorithm = peer.ours().unwrap_or_else(|| peer.name());
                format!("{algorithm}, {}", step_name(step))
            }
            Self::Tracked => format!("lz4, {}, tracked", step_name(Step::Incremental)),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) of: BTreeMap<Subject, Shares>,
    /// Why none was taken with change tracking, if none was.
    pub(super) untracked: Option<String>,
}

impl Profile {
    /// The table of the report.
    pub(super) fn section(&self, plot: &str) -> String {
        let mut text = format!(
            "## Where the time goes\n\n![]({plot})\n\n\
             Emberkeep with the ext4 volume, once more each under `perf record -F 997 -g`: the share of the samples, by the function that was running.\n\
             It is the worker alone; through the whole service it runs the same code.\n\n| |"
        );
        for subject in self.of.keys() {
            text.push_str(&format!(" {} |", subject.name()));
        }
        text.push_str(&format!("\n|---|{}\n", "---|".repeat(self.of.len())));
        for class in Class::ALL {
            text.push_str(&format!("| {} |", class.name()));
            for shares in self.of.values() {
                let share = shares.of.get(&class).copied().unwrap_or(0.0);
                text.push_str(&format!(" {:.0} % |", 100.0 * share));
            }
            text.push('\n');
        }
        text.push('\n');
        for (subject, shares) in &self.of {
            let top = shares.top.iter();
            let top = top.map(|(name, share)| format!("`{name}` {:.0} %", 100.0 * share));
            let top: Vec<_> = top.collect();
            text.push_str(&format!("- {}: {}.\n", subject.name(), top.join(", ")));
        }
        if let Some(why) = &self.untracked {
            text.push_str(&format!(
                "\nWith change tracking none was taken, for there is no place for it: {why}.\n"
            ));
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
        let mut classes = self.of.values().flat_map(|shares| shares.of.keys());
        classes.any(is_kernel)
    }

    /// The dearest three kinds of work, in words.
    pub(super) fn dearest(&self, subject: Subject) -> Option<String> {
        let mut shares: Vec<_> = self.of.get(&subject)?.of.iter().collect();
        shares.sort_by(|one, other| other.1.total_cmp(one.1));
        let shares = shares.iter().take(3);
        let shares =
            shares.map(|(class, share)| format!("{} {:.0} %", class.name(), *share * 100.0));
        Some(shares.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_a_column_and_its_own_dearest_kinds_of_work() {
        let shares = |class| Shares {
            of: [(class, 0.7), (Class::Other, 0.3)].into(),
            top: vec![("symbol".to_owned(), 0.7)],
        };
        let restore = |peer| Subject::Row(peer, Step::Restore);
        let profile = Profile {
            of: [
                (Subject::Tracked, shares(Class::FileSystem)),
                (restore(Peer::EmberLz4), shares(Class::Sha256)),
                (restore(Peer::EmberZstd), shares(Class::Compressor)),
            ]
            .into(),
            untracked: None,
        };
        let section = profile.section("plot.svg");
        for expected in [
            "| | lz4, restore | zstd, restore | lz4, 1 % changed, tracked |\n|---|---|---|---|\n",
            "| compressor | 0 % | 70 % | 0 % |",
            "- zstd, restore: `symbol` 70 %.",
        ] {
            assert!(
                section.contains(expected),
                "{expected} is not in\n{section}"
            );
        }
        assert_eq!(
            profile.dearest(restore(Peer::EmberZstd)).unwrap(),
            "compressor 70 %, other 30 %"
        );
        assert_eq!(profile.dearest(restore(Peer::EmberZlib)), None);
    }
}
