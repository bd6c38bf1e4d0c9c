//! The report: what was measured, and the sums that follow from it.

mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::super::machine;
use super::super::plot::{Line, Scale, lines};
use super::ground::{DATA_BYTES, Database, VOLUME_BYTES};
use super::load::CLIENTS;
use super::meter::{Sample, Usage};
use super::sums::{Machines, percentile};
use super::{Measured, Plan, Queue, WORKERS, Waits};

/// Numbers of workers that are played.
const PLAYED: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

pub(super) struct Page {
    quick: bool,
    seed: u64,
    queued: u32,
    volumes: u32,
    few: u32,
    cores: u32,
    all: Vec<Measured>,
    /// Jobs a second that the simulation comes to.
    games: BTreeMap<(Database, Machines, u32), f64>,
}

impl Page {
    pub(super) fn new(plan: &Plan) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            quick: plan.quick,
            seed: plan.seed,
            queued: plan.queued,
            volumes: plan.volumes,
            few: plan.few,
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            all: Vec::new(),
            games: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, measured: Measured) {
        self.play_with(&measured);
        self.all.push(measured);
    }

    /// Writes `scale.md` and its plots into a folder, and tells the page's path.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            Ok(path)
        };
        write("scale-workers.svg", self.plot_of_workers())?;
        for measured in &self.all {
            write(
                &plot_name(measured.database),
                plot_of_queue(&measured.queue),
            )?;
        }
        write("scale.md", self.text())
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Scale\n\nWritten by `cargo xtask bench --scale`; all numbers of this page are of one run.\n\n",
        );
        if self.quick {
            text.push_str("**A quick run, of few jobs and a build for tests: it shows that the measuring works, and nothing else.**\n\n");
        }
        let _ = writeln!(text, "Machine: {}. Seed {}.\n", machine(), self.seed);
        let _ = writeln!(
            text,
            "Broker, api-service, database, workers and the clients that ask share these cores, so that more workers than it takes to fill them make nothing faster here. \
             Jobs are whole backups (LZ4) of volumes of {} KiB of which {} KiB are data: there is next to nothing to read, and what is measured is what a *job* costs. What a GB costs, \
             `cargo xtask bench` measures. Requests come from {CLIENTS} clients, each of which asks again when it was answered. SQLite and PostgreSQL wait for the disk at each change, as they come.\n",
            VOLUME_BYTES >> 10,
            DATA_BYTES >> 10,
        );
        for section in [
            self.workers(),
            self.queue(),
            self.starts(),
            self.costs(),
            self.limits(),
        ] {
            text.push_str(&section);
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    /// A table with a column for each database.
    fn table(&self, first: &str, rows: &[(String, Vec<String>)]) -> String {
        let mut text = format!("| {first} |");
        for measured in &self.all {
            let _ = write!(text, " {} |", measured.database.name());
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(self.all.len()));
        text.push('\n');
        for (name, cells) in rows {
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        text
    }

    fn row(&self, name: &str, cell: impl Fn(&Measured) -> String) -> (String, Vec<String>) {
        (name.to_owned(), self.all.iter().map(cell).collect())
    }

    fn workers(&self) -> String {
        let mut text = format!(
            "## Workers\n\n![](scale-workers.svg)\n\n{} jobs wait in the queue before the workers are started. Jobs a second, without the first and the last tenth; in brackets \
             what the simulation below makes of the costs, with everything on this machine.\n\n",
            self.volumes
        );
        let rows: Vec<_> = WORKERS
            .into_iter()
            .map(|workers| {
                self.row(&workers.to_string(), |measured| {
                    let rate = measured.rates.iter().find(|rate| rate.workers == workers);
                    let rate = rate.map_or(0.0, |rate| rate.jobs_per_second);
                    let played = self.played(measured, workers, Machines::One);
                    format!("{rate:.1} ({played:.1})")
                })
            })
            .collect();
        text.push_str(&self.table("workers", &rows));
        text
    }

    fn queue(&self) -> String {
        let mut text = format!("## {} jobs at once\n\n", self.queued);
        for measured in &self.all {
            let _ = writeln!(text, "![]({})\n", plot_name(measured.database));
        }
        let _ = writeln!(
            text,
            "All are asked for while no worker is there, then {} workers work them off. Memory is what the processes of a part have, shared pages in parts (PSS).\n",
            WORKERS.into_iter().max().unwrap_or(1)
        );
        let both = |values: &[f64]| {
            format!(
                "{} / {}",
                milliseconds(percentile(values, 0.5)),
                milliseconds(percentile(values, 0.99))
            )
        };
        let memory = |one: fn(&Usage) -> u64| {
            move |measured: &Measured| {
                let of = |usage| megabytes(one(usage));
                let queue = &measured.queue;
                format!(
                    "{} → {} → {}",
                    of(&measured.at_rest),
                    of(&queue.full),
                    of(&queue.after)
                )
            }
        };
        let rows = [
            self.row("requests for backups, answered a second", |one| {
                format!("{:.0}", one.queue.asked.rate())
            }),
            self.row("an answer, median / 99 %, ms", |one| {
                both(&one.queue.asked.took())
            }),
            self.row("told to come again (503)", |one| {
                one.queue.asked.refusals().to_string()
            }),
            self.row("requests to take volumes over, answered a second", |one| {
                one.taken_over
                    .as_ref()
                    .map_or("–".to_owned(), |(asked, _)| {
                        format!("{:.0}", asked.rate())
                    })
            }),
            self.row("volumes taken over a second, meanwhile and after", |one| {
                one.taken_over
                    .as_ref()
                    .map_or("–".to_owned(), |(_, rate)| format!("{rate:.1}"))
            }),
            self.row(
                "while all wait: a page of 100 backups, median / 99 %, ms",
                |one| both(&one.queue.lists),
            ),
            self.row("while all wait: one backup, median / 99 %, ms", |one| {
                both(&one.queue.shows)
            }),
            self.row("worked off a second", |one| {
                format!("{:.1}", one.queue.jobs_per_second)
            }),
            self.row(
                "memory of the api-service at rest → all wait → after, MB",
                memory(|usage| usage.api.pss_bytes),
            ),
            self.row(
                "memory of the broker",
                memory(|usage| usage.broker.pss_bytes),
            ),
            self.row(
                "memory of the database server",
                memory(|usage| usage.database.pss_bytes),
            ),
            self.row(
                "memory of all workers",
                memory(|usage| usage.workers.pss_bytes),
            ),
            self.row("the database's file after all, MB", |one| {
                one.queue.database_bytes.map_or("–".to_owned(), megabytes)
            }),
            self.row("backups asked for in all / there / available", |one| {
                let (asked, there, available) = one.queue.counts;
                format!("{asked} / {there} / {available}")
            }),
        ];
        text.push_str(&self.table("", &rows));
        text
    }

    fn starts(&self) -> String {
        let mut text = format!(
            "## From request to start\n\nFrom the moment a request is sent to the moment a worker begins, one worker; {} jobs each. Milliseconds, median / 99 %.\n\n",
            self.few
        );
        let both = |waits: &Waits| {
            format!(
                "{} / {}",
                milliseconds(percentile(&waits.starts, 0.5)),
                milliseconds(percentile(&waits.starts, 0.99))
            )
        };
        let rows = [
            self.row("one at a time, all free", |one| both(&one.alone)),
            self.row("a few a second, as of independent owners", |one| {
                format!(
                    "{} at {:.1}/s",
                    both(&one.light.waits),
                    one.light.per_second
                )
            }),
            self.row("such a job alone, from start to end", |one| {
                let runs = &one.alone.runs;
                format!(
                    "{} / {}",
                    milliseconds(percentile(runs, 0.5)),
                    milliseconds(percentile(runs, 0.99))
                )
            }),
        ];
        text.push_str(&self.table("", &rows));
        text
    }

    fn plot_of_workers(&self) -> String {
        let mut all = Vec::new();
        for measured in &self.all {
            let database = measured.database.name();
            let rates = measured.rates.iter();
            all.push(Line {
                name: format!("{database}, measured on this machine"),
                points: rates
                    .map(|rate| (f64::from(rate.workers), rate.jobs_per_second))
                    .collect(),
                is_dashed: false,
            });
            let played = PLAYED.into_iter().map(|workers| {
                let rate = self.played(measured, workers, Machines::Each);
                (f64::from(workers), rate)
            });
            all.push(Line {
                name: format!("{database}, simulated beyond it"),
                points: played.collect(),
                is_dashed: true,
            });
        }
        lines(
            "Jobs a second over workers, both logarithmic",
            Scale::Logarithmic,
            &all,
        )
    }
}

fn plot_of_queue(queue: &Queue) -> String {
    let line = |name: &str, value: fn(&Sample) -> f64| Line {
        name: name.to_owned(),
        points: queue
            .samples
            .iter()
            .map(|sample| (sample.at, value(sample)))
            .collect(),
        is_dashed: false,
    };
    #[expect(clippy::cast_precision_loss, reason = "a plot for people")]
    let all = [
        line("doorbells in the queue, hundreds", |sample| {
            sample.queued as f64 / 1e2
        }),
        line("memory of the broker, MB", |sample| {
            sample.broker_bytes as f64 / 1e6
        }),
        line("memory of the api-service, MB", |sample| {
            sample.api_bytes as f64 / 1e6
        }),
    ];
    lines("The queue over time, in seconds", Scale::Linear, &all)
}

fn plot_name(database: Database) -> String {
    format!("scale-queue-{}.svg", database.name().to_lowercase())
}

fn milliseconds(value: f64) -> String {
    if value < 0.01 {
        format!("{:.1}", value * 1e3)
    } else {
        format!("{:.0}", value * 1e3)
    }
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.0}")
}
