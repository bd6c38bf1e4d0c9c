//! `bench --scale`: how many jobs the whole does, what a long queue costs, and where the next limit is.
//!
//! ```text
//! for each database:
//!   a stack with one worker ► volumes taken over ► a job at a time ► 1 worker on many volumes ► a few jobs a second
//!   ► 2 workers ► 4 workers ► many more volumes ► all of them asked for with no worker there ► worked off ► counted
//! what a job cost ──► sums and a simulation ──► scale.md and plots
//! ```
//!
//! Everything shares this machine, clients too. Before a step that is to be worked off its jobs are all in the queue, so that
//! the workers never lack any.

mod figures;
mod ground;
mod lines;
mod load;
mod meter;
mod page;
mod sums;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::Value;

use self::ground::{BACK_UP, Database, Ground};
use self::lines::Ran;
use self::load::{Accepted, Asked, ask, ask_all, ask_at};
use self::meter::{Sample, Step, Usage};
use self::page::Page;
use self::sums::steady_rate;
use crate::build::{self, Binaries};
use crate::files::ScratchDir;
use crate::install::{self, Need};
use crate::say;

/// Numbers of workers that are measured.
const WORKERS: [u32; 3] = [1, 2, 4];
/// A few jobs a second are this part of what one worker can do.
const LIGHT: f64 = 0.3;

/// How long the workers' lines about jobs may take.
const LINES: Duration = Duration::from_secs(30);

/// What is told beside `--scale`.
#[derive(Debug, clap::Args)]
pub(super) struct Wishes {
    /// How many jobs are queued at once
    #[arg(long, value_name = "N", requires = "scale")]
    queued: Option<u32>,
    /// How many volumes are backed up by 1, 2 and 4 workers
    #[arg(long, value_name = "N", requires = "scale")]
    volumes: Option<u32>,
}

/// What is measured.
struct Plan {
    quick: bool,
    seed: u64,
    queued: u32,
    volumes: u32,
    /// Jobs that come one at a time, and jobs that come a few a second.
    few: u32,
}

/// All that was measured on one database.
struct Measured {
    database: Database,
    at_rest: Usage,
    alone: Waits,
    light: Light,
    /// For each of [`WORKERS`].
    rates: Vec<Rate>,
    /// Volumes being taken over by the most workers.
    taken_over: Option<(Asked, f64)>,
    queue: Queue,
}

/// Jobs that were not waited for by others.
struct Waits {
    /// From request to start, in seconds.
    starts: Vec<f64>,
    /// From start to end, in seconds.
    runs: Vec<f64>,
    step: Step,
}

struct Light {
    per_second: f64,
    waits: Waits,
}

struct Rate {
    workers: u32,
    jobs_per_second: f64,
}

/// The long queue.
struct Queue {
    asked: Asked,
    asking: Step,
    full: Usage,
    /// How long pages of a hundred backups, and single ones, took while all waited, in seconds.
    lists: Vec<f64>,
    shows: Vec<f64>,
    working: Step,
    jobs_per_second: f64,
    after: Usage,
    database_bytes: Option<u64>,
    samples: Vec<Sample>,
    /// Backups that were asked for in all steps, that there are, and that are available.
    counts: (u64, u64, u64),
}

/// Measures everything and writes the report.
///
/// # Errors
/// When a part does not come up, a request is refused, or a job is lost.
pub(super) async fn run(
    options: &super::Options,
    wishes: &Wishes,
    install_allowed: bool,
) -> Result<()> {
    say::line(
        "This builds both services for release and loads them with many small jobs, on SQLite and on PostgreSQL, with a",
    );
    say::line(
        "RabbitMQ node and a PostgreSQL cluster of its own on loopback. Nothing else should run meanwhile.",
    );
    install::ensure(&[Need::RabbitMq, Need::PostgreSql], install_allowed).await?;
    let plan = Plan {
        quick: options.quick,
        seed: options.seed,
        queued: wishes
            .queued
            .unwrap_or(if options.quick { 100 } else { 10_000 }),
        volumes: wishes
            .volumes
            .unwrap_or(if options.quick { 20 } else { 400 }),
        few: if options.quick { 10 } else { 60 },
    };
    let binaries = if options.quick {
        build::build_services().await?
    } else {
        build::build_services_for_release().await?
    };
    let target = build::target_dir().await?;
    let scratch = ScratchDir::new(&target, "scale")?;
    let mut page = Page::new(&plan);
    for database in [Database::Sqlite, Database::PostgreSql] {
        say::heading(database.name());
        page.add(measure(&plan, database, scratch.path(), binaries.clone()).await?);
    }
    let written = page.write(&options.output_folder(&target))?;
    say::good(format_args!("The report is {}", written.display()));
    Ok(())
}

async fn measure(
    plan: &Plan,
    database: Database,
    scratch: &Path,
    binaries: Binaries,
) -> Result<Measured> {
    let folder: PathBuf = ground::folder(scratch, database)?;
    let mut ground = Ground::start(&folder, database, binaries, plan.seed).await?;
    let at_rest = ground.usage();
    say::line(format_args!("  {} volumes are taken over", plan.volumes));
    ground.take_over(plan.volumes.max(plan.few)).await?;
    say::line(format_args!("  {} jobs, one at a time", plan.few));
    let alone = one_at_a_time(&mut ground, plan).await?;
    let mut rates = Vec::new();
    let mut light = None;
    let mut asked = u64::from(plan.few);
    for workers in WORKERS {
        say::line(format_args!("  {} jobs, workers: {workers}", plan.volumes));
        let rate = rate_of(&mut ground, workers, plan.volumes).await?;
        say::line(format_args!("    {:.1} jobs/s", rate.jobs_per_second));
        asked += u64::from(plan.volumes);
        if light.is_none() {
            let per_second = LIGHT * rate.jobs_per_second;
            say::line(format_args!(
                "  {} jobs, {per_second:.1} a second",
                plan.few
            ));
            light = Some(a_few(&mut ground, plan, per_second).await?);
            asked += u64::from(plan.few);
        }
        rates.push(rate);
    }
    say::line(format_args!("  volumes until there are {}", plan.queued));
    let taken_over = taken_over(&mut ground, plan.queued).await?;
    say::line(format_args!("  {} jobs at once", plan.queued));
    asked += u64::from(plan.queued);
    let queue = long_queue(&mut ground, plan.queued, asked).await?;
    say::line(format_args!(
        "    asked for {:.0}/s, worked off {:.1}/s; {} of {asked} backups are available",
        queue.asked.rate(),
        queue.jobs_per_second,
        queue.counts.2
    ));
    ground.end().await?;
    Ok(Measured {
        database,
        at_rest,
        alone,
        light: light.context("one worker was measured")?,
        rates,
        taken_over,
        queue,
    })
}

/// Jobs that find all free: each is asked for when the one before has ended.
async fn one_at_a_time(ground: &mut Ground, plan: &Plan) -> Result<Waits> {
    let before = ground.moment().await?;
    let mut accepted = Vec::new();
    for wish in ground.backups_of(plan.few) {
        accepted.push(ask(&ground.api, BACK_UP, wish).await?);
        ground.until_settled("backup").await?;
    }
    let step = ground.moment().await?.step_since(&before, plan.few);
    waits(ground, &accepted, step).await
}

/// Jobs that come independently, some of them while others run.
async fn a_few(ground: &mut Ground, plan: &Plan, per_second: f64) -> Result<Light> {
    let before = ground.moment().await?;
    let wishes = ground.backups_of(plan.few);
    let asked = ask_at(&ground.api, BACK_UP, wishes, per_second, plan.seed).await?;
    ground.until_settled("backup").await?;
    let step = ground.moment().await?.step_since(&before, plan.few);
    Ok(Light {
        per_second,
        waits: waits(ground, &asked.accepted, step).await?,
    })
}

async fn waits(ground: &Ground, accepted: &[Accepted], step: Step) -> Result<Waits> {
    let ran = runs_of(ground, accepted).await?;
    let both = || accepted.iter().zip(&ran);
    Ok(Waits {
        starts: both().map(|(one, ran)| ran.began - one.sent).collect(),
        runs: ran.iter().map(|ran| ran.ended - ran.began).collect(),
        step,
    })
}

/// When each of these jobs ran. A worker writes its line of a job a moment after the job has settled.
///
/// # Errors
/// When one is not there after a while: the job would be lost.
async fn runs_of(ground: &Ground, accepted: &[Accepted]) -> Result<Vec<Ran>> {
    let deadline = Instant::now() + LINES;
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    loop {
        clock.tick().await;
        let all = ground.executions()?;
        let ran = accepted.iter().map(|one| {
            let ran = all.get(&one.id).copied();
            ran.with_context(|| format!("no worker's log tells of job {}", one.id))
        });
        match ran.collect() {
            Err(_) if Instant::now() < deadline => {}
            ran => return ran,
        }
    }
}

/// How many of these jobs ended in a second.
async fn worked_off(ground: &Ground, accepted: &[Accepted]) -> Result<f64> {
    let ran = runs_of(ground, accepted).await?;
    let ends: Vec<f64> = ran.iter().map(|ran| ran.ended).collect();
    Ok(steady_rate(&ends))
}

/// So many workers at work on jobs that all wait in the queue.
async fn rate_of(ground: &mut Ground, workers: u32, jobs: u32) -> Result<Rate> {
    ground.stop_workers().await?;
    let asked = ask_all(&ground.api, BACK_UP, ground.backups_of(jobs)).await?;
    ground.until_queued(jobs).await?;
    ground.start_workers(workers).await?;
    ground.until_settled("backup").await?;
    Ok(Rate {
        workers,
        jobs_per_second: worked_off(ground, &asked.accepted).await?,
    })
}

/// Volumes until there are `count`, with how many a second were taken over.
async fn taken_over(ground: &mut Ground, count: u32) -> Result<Option<(Asked, f64)>> {
    let Some(asked) = ground.take_over(count).await? else {
        return Ok(None);
    };
    let rate = worked_off(ground, &asked.accepted).await?;
    Ok(Some((asked, rate)))
}

/// All jobs asked for while nobody works, then worked off by the most workers, then counted: `asked_in_all` with those of the steps
/// before.
async fn long_queue(ground: &mut Ground, jobs: u32, asked_in_all: u64) -> Result<Queue> {
    ground.stop_workers().await?;
    let probe = ground.probe();
    let mut samples = Vec::new();
    let since = Instant::now();
    let before = ground.moment().await?;
    let asking = async {
        let asked = ask_all(&ground.api, BACK_UP, ground.backups_of(jobs)).await?;
        ground.until_queued(jobs).await?;
        Ok(asked)
    };
    let asked = probe.during(since, &mut samples, asking).await?;
    let queued = ground.moment().await?;
    let asking = queued.step_since(&before, jobs);
    let full = ground.usage();
    let (mut lists, mut shows) = (Vec::new(), Vec::new());
    for one in asked.accepted.iter().take(50) {
        lists.push(timed(ground, "backups/detail?limit=100").await?);
        shows.push(timed(ground, &format!("backups/{}", one.id)).await?);
    }
    let before = ground.moment().await?;
    let most = WORKERS.into_iter().max().unwrap_or(1);
    ground.start_workers(most).await?;
    let working = ground.until_settled("backup");
    probe.during(since, &mut samples, working).await?;
    let working = ground.moment().await?.step_since(&before, jobs);
    let jobs_per_second = worked_off(ground, &asked.accepted).await?;
    let (all, available) = ground.count_backups().await?;
    anyhow::ensure!(
        (all, available) == (asked_in_all, asked_in_all),
        "{asked_in_all} backups were asked for, {all} are there, {available} of them available"
    );
    Ok(Queue {
        asked,
        asking,
        full,
        lists,
        shows,
        working,
        jobs_per_second,
        after: ground.usage(),
        database_bytes: ground.database_bytes()?,
        samples,
        counts: (asked_in_all, all, available),
    })
}

/// How long an answer takes, in seconds.
async fn timed(ground: &Ground, path: &str) -> Result<f64> {
    let began = Instant::now();
    let answer = ground.api.call(Method::GET, path, Value::Null).await?;
    anyhow::ensure!(
        answer.status.is_success(),
        "GET /v3/{path} was answered with {}",
        answer.status
    );
    Ok(began.elapsed().as_secs_f64())
}
