//! `chaos`: a large backup whose worker is killed again and again, before your eyes.
//!
//! ```text
//! a file system that shares blocks between files: the snapshot of the volume is a real one
//!   stack ► volume ► backup ► kill who holds it, every N seconds ► compare ► count what was read twice
//! ```

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::demo::api::Api;
use crate::files::{self, ScratchDir};
use crate::install::Need;
use crate::reflink::Place;
use crate::stack::{Broker, Options, Stack};
use crate::{build, say};

/// Workers of the stack.
const WORKERS: u32 = 3;
/// Most of the volume that may be read twice.
const READ_TWICE_MAX: f64 = 0.10;
/// How long the whole backup may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
const MIB: u64 = 1 << 20;

/// What is done.
#[derive(Debug, Clone, Args)]
pub struct Wishes {
    /// Seconds between two kills
    #[arg(long, default_value_t = 20)]
    every: u64,
    /// Size of the volume in MiB
    #[arg(long, default_value_t = 6144)]
    size: u64,
    /// A folder on a file system with reflink (XFS, btrfs); by default one is made and mounted, which needs root
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Wishes {
    /// What is needed for them beside a broker.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        match self.dir {
            Some(_) => vec![],
            None => vec![Need::XfsTools],
        }
    }
}

/// What happened to the job so far.
#[derive(Debug, Default)]
struct Story {
    kills: u32,
    /// Bytes the killed executions had done beyond the mark that the next one went on from.
    read_twice: u64,
    /// Of the execution that was killed last: its generation, and how far it was.
    killed: Option<(u64, u64)>,
    /// Of the running one.
    generation: u64,
    done: u64,
}

/// Runs it.
///
/// # Errors
/// When it cannot be set up, the backup does not end well, a byte differs, or too much was read twice.
pub async fn run(broker: Broker, wishes: &Wishes) -> Result<()> {
    let binaries = build::build_services().await?;
    let scratch = ScratchDir::new(&build::target_dir().await?, "chaos")?;
    let place = match &wishes.dir {
        Some(dir) => Place::at(dir)?,
        None => Place::mounted(scratch.path(), wishes.size * MIB)?,
    };
    let volumes = place.path().to_str().context("a folder's name is UTF-8")?;
    let settings = [
        ("volume_backends.local.path", volumes),
        // Slow enough that a kill finds it in its middle.
        ("backup.compression", "zlib"),
        ("jobs.lease", "6s"),
        ("jobs.renew", "1s"),
        ("jobs.sweep", "500ms"),
        ("worker.heartbeat", "1s"),
    ];
    let options = Options {
        dir: scratch.path().join("stack"),
        workers: WORKERS,
        listen: None,
        settings: settings
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        broker,
    };
    let mut stack = Stack::up(options, binaries).await?;
    let api = Api::new(&stack.state().endpoint)?;
    say::line(format_args!(
        "{WORKERS} workers, a volume of {} on {}; who holds the job is killed every {} s",
        say::bytes(wishes.size * MIB),
        place.kind(),
        wishes.every
    ));
    let source = place.path().join("large.raw");
    write_volume(&source, wishes.size * MIB)?;
    let volume = api.manage("emberkeep@local", "large.raw", "large").await?;
    api.volume_settles(&volume, Some("available")).await?;
    let began = Instant::now();
    let backup = api.create_backup(json!({"volume_id": volume})).await?;
    let story = tokio::time::timeout(PATIENCE, survive(&mut stack, &api, &backup, wishes))
        .await
        .context("the backup takes far too long")??;
    say::line(format_args!(
        "available after {} s and {} kills",
        began.elapsed().as_secs(),
        story.kills
    ));
    let restored = api.restore(&backup, "restored").await?;
    api.volume_settles(&restored, Some("available")).await?;
    let file = place.path().join(format!("volume-{restored}"));
    compare(&source, &file)?;
    say::good("the restored volume holds the same bytes");
    stack.down().await?;
    anyhow::ensure!(
        story.kills > 0,
        "it ended before the first kill: ask for a larger --size"
    );
    let percent = 100.0 * share(story.read_twice, wishes.size * MIB);
    let counted = format!("{percent:.1} % of the volume was read twice");
    anyhow::ensure!(percent <= 100.0 * READ_TWICE_MAX, "{counted}");
    say::good(counted);
    Ok(())
}

/// Follows the backup to its end, and kills on the way.
async fn survive(stack: &mut Stack, api: &Api, backup: &str, wishes: &Wishes) -> Result<Story> {
    let every = Duration::from_secs(wishes.every);
    let total = wishes.size * MIB;
    let mut story = Story::default();
    let mut next_kill = Instant::now() + every;
    let mut next_line = Instant::now();
    let mut clock = tokio::time::interval(Duration::from_millis(200));
    loop {
        clock.tick().await;
        let record = api.backup(backup).await?;
        match record["status"].as_str() {
            Some("available") => return Ok(story),
            Some("creating") => {}
            other => anyhow::bail!("the backup came to {other:?}: {}", record["fail_reason"]),
        }
        if let Some(progress) = api.progress(backup).await? {
            story.follow(&progress);
        }
        let job = held_job(api, backup).await?;
        let holder = job.as_ref().and_then(|job| job["worker"].as_str());
        if let Some(job) = &job {
            story.settle_account(job);
        }
        if next_line <= Instant::now() {
            next_line += Duration::from_secs(2);
            say::line(format_args!(
                "{:>5.1} %  generation {}  held by {:<9}  kills {}",
                100.0 * share(story.done, total),
                story.generation,
                holder.unwrap_or("nobody"),
                story.kills
            ));
        }
        let (true, Some(holder)) = (next_kill <= Instant::now(), holder) else {
            continue;
        };
        let name = format!("backup-{holder}");
        let process = stack.process(&name).context("the holder is ours")?;
        process.kill().await?;
        story.kills += 1;
        story.killed = Some((story.generation, story.done));
        say::heading(format_args!("kill -9 {name}"));
        let number = holder.trim_start_matches("worker-").parse()?;
        stack.start_worker(number)?;
        next_kill = Instant::now() + every;
    }
}

impl Story {
    fn follow(&mut self, progress: &Value) {
        let number = |name: &str| progress[name].as_u64().unwrap_or(0);
        self.generation = number("generation");
        self.done = number("done_bytes");
    }

    /// A new execution has the job: it goes on from its mark, and what was done beyond that is done again.
    fn settle_account(&mut self, job: &Value) {
        let Some((killed, done)) = self.killed else {
            return;
        };
        let generation = job["generation"].as_u64().unwrap_or(0);
        if generation > killed && job["state"] == "running" {
            let mark = job["mark"].as_u64().unwrap_or(0);
            self.read_twice += done.saturating_sub(mark);
            self.killed = None;
        }
    }
}

/// The job of a backup as the state owner has it.
pub(crate) async fn held_job(api: &Api, backup: &str) -> Result<Option<Value>> {
    let answer = api.plain(Method::GET, "/admin/jobs").await?;
    let jobs = answer.body["jobs"].as_array().cloned().unwrap_or_default();
    let ours = |job: &Value| job["backup_id"] == backup && job["kind"] == "backup";
    Ok(jobs.into_iter().find(ours))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Fills a file with text in which no two blocks are equal.
pub(crate) fn write_volume(path: &Path, length: u64) -> Result<()> {
    const STEP: usize = 1 << 20;
    let mut seed = File::open("/dev/urandom").context("open /dev/urandom")?;
    let mut buffer = vec![0; STEP];
    seed.read_exact(&mut buffer).context("read /dev/urandom")?;
    for byte in &mut buffer {
        *byte = (*byte & 0x3f) + b' ';
    }
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    for at in (0..length).step_by(STEP) {
        for (index, block) in (0_u64..).zip(buffer.chunks_mut(32768)) {
            block[..16].copy_from_slice(format!("{:016x}", at + index).as_bytes());
        }
        file.write_all_at(&buffer, at)
            .with_context(|| format!("write {}", path.display()))?;
    }
    file.sync_all().context("make the volume durable")
}

/// Fails unless the second begins with the bytes of the first and has zeros behind them.
pub(crate) fn compare(source: &Path, restored: &Path) -> Result<()> {
    let open = |path: &Path| File::open(path).with_context(|| format!("open {}", path.display()));
    let (source, restored) = (open(source)?, open(restored)?);
    let length = restored
        .metadata()
        .context("look at the restored volume")?
        .len();
    let (mut wanted, mut held) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < length {
        wanted.fill(0);
        let step = files::read_up_to(&restored, at, &mut held)?;
        files::read_up_to(&source, at, &mut wanted[..step])?;
        anyhow::ensure!(
            wanted[..step] == held[..step],
            "the restored volume differs within the MiB at {at}"
        );
        at += step as u64;
    }
    Ok(())
}
