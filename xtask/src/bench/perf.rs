//! Commands under `perf`: what of ours a profile is taken of, and how.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::peer::{Peer, Place, Step};
use super::profile::{Class, Profile, Shares, Subject};
use super::tracking;
use super::usage::measure;
use crate::{reflink, say};

/// Steps of rows: of our default all, of others what is slower than it should be or may come to be so.
const STEPS: [(Peer, &[Step]); 3] = [
    (
        Peer::EmberLz4,
        &[
            Step::Full,
            Step::Unchanged,
            Step::Incremental,
            Step::Restore,
        ],
    ),
    (Peer::EmberZstd, &[Step::Restore]),
    (Peer::EmberZlib, &[Step::Restore]),
];

/// Two images of one volume.
pub(super) struct Images<'a> {
    pub(super) original: &'a Path,
    /// After 1 % of it changed.
    pub(super) changed: &'a Path,
    pub(super) seed: u64,
}

/// Does each of these steps once under `perf`, and the incremental with change tracking if there is a place for it.
///
/// # Errors
/// When `perf` may not look, or a command fails.
pub(super) async fn measured(
    place: Place,
    images: &Images<'_>,
    mounted: &Result<reflink::Place>,
) -> Result<Profile> {
    let mut recorder = Recorder {
        log: place.scratch.with_extension("log"),
        data: place.scratch.with_extension("perf"),
        profile: Profile::default(),
    };
    for (peer, recorded) in STEPS {
        rows(peer, recorded, &place, images, &mut recorder).await?;
    }
    match mounted {
        Err(missing) => recorder.profile.untracked = Some(format!("{missing:#}")),
        Ok(mounted) => {
            let place = tracking::place(mounted, place);
            let run = async |step, command| match step {
                Step::Incremental => recorder.record(Subject::Tracked, &command).await,
                _ => recorder.run(command).await,
            };
            tracking::round(mounted, &place, images.original, images.seed, run).await?;
        }
    }
    std::fs::remove_file(&recorder.data).context("remove a profile")?;
    Ok(recorder.profile)
}

/// All steps of a row, some of them recorded.
async fn rows(
    peer: Peer,
    recorded: &[Step],
    place: &Place,
    images: &Images<'_>,
    recorder: &mut Recorder,
) -> Result<()> {
    place.make()?;
    place.present(images.original)?;
    for step in Step::ALL {
        if step == Step::Incremental {
            place.present(images.changed)?;
        }
        let command = peer.run(step, place).context("our rows do that")?.command;
        if recorded.contains(&step) {
            place.warm(step)?;
            recorder.record(Subject::Row(peer, step), &command).await?;
        } else {
            recorder.run(command).await?;
        }
    }
    place.check_restored(images.changed)?;
    std::fs::remove_file(&place.volume).context("remove a volume")?;
    place.clear()
}

struct Recorder {
    log: PathBuf,
    /// What `perf` writes.
    data: PathBuf,
    profile: Profile,
}

impl Recorder {
    async fn run(&self, command: Command) -> Result<()> {
        measure(command, None, &self.log).await.map(|_| ())
    }

    async fn record(&mut self, subject: Subject, command: &Command) -> Result<()> {
        say::line(format_args!("A profile: {}", subject.name()));
        rustix::fs::sync();
        let mut perf = Command::new("perf");
        perf.args(["record", "-F", "997", "-g", "-q", "-o"])
            .arg(&self.data);
        perf.arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        self.run(perf).await?;
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
            .arg(&self.data);
        let shares = summed(&crate::stage::answer(report).await?);
        anyhow::ensure!(
            !shares.of.is_empty(),
            "perf saw nothing of {}",
            subject.name()
        );
        self.profile.of.insert(subject, shares);
        Ok(())
    }
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
