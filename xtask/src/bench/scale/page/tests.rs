use super::super::super::processes::Used;
use super::super::load::{Accepted, Asked};
use super::super::meter::{Sample, Step, Usage};
use super::super::sums::Costs;
use super::super::{Light, Rate};
use super::*;

fn usage(megabytes: u64) -> Usage {
    let used = Used {
        pss_bytes: megabytes * 1_000_000,
        ..Used::default()
    };
    Usage {
        api: used,
        broker: used,
        ..Usage::default()
    }
}

fn step(scale: f64) -> Step {
    Step {
        costs: Costs {
            api: 0.010 * scale,
            broker: 0.004 * scale,
            database: 0.0,
            worker: 0.020 * scale,
            turns: 5.0 * scale,
            held: 0.005 * scale,
        },
        waited: 0.002,
        messages: 12.0,
        requests: [("claim", 1.0), ("renew", 0.001)].into(),
    }
}

fn waits() -> Waits {
    Waits {
        starts: vec![0.020, 0.030, 0.250],
        runs: vec![0.060; 3],
        step: step(1.0),
    }
}

fn measured(database: Database) -> Measured {
    let accepted = (1..=100_u32).map(|number| Accepted {
        id: number.to_string(),
        sent: 0.0,
        took: f64::from(number) / 1e3,
        refused: 0,
    });
    let asked = Asked {
        accepted: accepted.collect(),
        wall: 2.0,
    };
    let sample = |at, queued| Sample {
        at,
        queued,
        api_bytes: 30_000_000,
        broker_bytes: 90_000_000,
    };
    Measured {
        database,
        at_rest: usage(10),
        alone: waits(),
        light: Light {
            per_second: 4.0,
            waits: waits(),
        },
        rates: WORKERS
            .into_iter()
            .map(|workers| Rate {
                workers,
                jobs_per_second: 20.0 * f64::from(workers),
            })
            .collect(),
        taken_over: None,
        queue: Queue {
            asked,
            asking: step(1.0),
            full: usage(20),
            lists: vec![0.004],
            shows: vec![0.001],
            working: step(1.0),
            jobs_per_second: 55.0,
            after: usage(15),
            database_bytes: Some(7_000_000),
            samples: vec![sample(0.0, 0), sample(1.0, 100), sample(2.0, 0)],
            counts: (400, 400, 400),
        },
    }
}

#[test]
fn the_page_tells_what_was_measured_and_what_follows_from_it() {
    let plan = Plan {
        quick: true,
        seed: 7,
        queued: 100,
        volumes: 20,
        few: 3,
    };
    let mut page = Page::new(&plan);
    page.cores = 2;
    page.add(measured(Database::Sqlite));
    page.add(measured(Database::PostgreSql));
    let folder = tempfile::tempdir().unwrap();
    let written = page.write(folder.path()).unwrap();
    let text = std::fs::read_to_string(written).unwrap();
    for expected in [
        "Seed 7",
        "A quick run",
        "| requests for backups, answered a second | 50 | 50 |",
        "| an answer, median / 99 %, ms | 50 / 99 | 50 / 99 |",
        "rest → all wait → after, MB | 10 → 20 → 15 |",
        "| backups asked for in all / there / available | 400 / 400 / 400 |",
        "| one at a time, all free | 30 / 250 |",
        "| requests of the worker | 1.00 claim | 1.00 claim |",
        "| a turn is held, ms | 1.000 + 1.000 |",
        "| limit: turns of the writer, jobs/s | 100 | 100 |",
        "| limit: database server, jobs/s | – | – |",
        "| one worker, jobs/s | 50.0 |",
        "| the first limit | turns of the writer at 100 jobs/s |",
        "| workers that fill it, by the sum | 2 |",
        "| long jobs at once, by renewals alone | 15000 |",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    for plot in [
        "scale-workers.svg",
        "scale-queue-sqlite.svg",
        "scale-queue-postgresql.svg",
    ] {
        assert!(text.contains(plot));
        let plot = std::fs::read_to_string(folder.path().join(plot)).unwrap();
        assert!(plot.starts_with("<svg") && !plot.contains("NaN"));
    }
}
