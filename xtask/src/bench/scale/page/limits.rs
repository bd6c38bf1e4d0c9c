//! What a job costs, and what follows from it.

use std::fmt::Write as _;

use super::super::meter::Step;
use super::super::sums::{Costs, Machines, Part, Workers, play};
use super::super::{Measured, Queue, WORKERS};
use super::{PLAYED, Page};
use crate::bench::usage::median;

/// Slots of a worker that take backups: of its four by default, one is kept for restores.
const SLOTS: u32 = 3;
/// How often a long job renews its lease by default, in seconds.
const RENEW: f64 = 15.0;
/// Jobs of a game.
const GAME: u32 = 4000;
/// A limit counts as reached at this part of it.
const REACHED: f64 = 0.9;

impl Page {
    pub(super) fn costs(&self) -> String {
        let mut text = String::from(
            "## What a job costs\n\nIn the long queue, for one job: to ask for it + to work it off. Turns are changes of rows: each takes one after the other \
             (`emberkeep_database_turn_duration_seconds`). Processor time in milliseconds; that of turns is in that of the api-service, or the database server, too.\n\n",
        );
        let both = |of: fn(&Step) -> f64, digits: usize| {
            move |one: &Measured| {
                format!(
                    "{:.digits$} + {:.digits$}",
                    of(&one.queue.asking),
                    of(&one.queue.working)
                )
            }
        };
        let mut rows = vec![
            self.row(
                "processor: api-service",
                both(|step| step.costs.api * 1e3, 2),
            ),
            self.row("processor: broker", both(|step| step.costs.broker * 1e3, 2)),
            self.row(
                "processor: database server",
                both(|step| step.costs.database * 1e3, 2),
            ),
            self.row(
                "processor: workers",
                both(|step| step.costs.worker * 1e3, 2),
            ),
            self.row("turns", both(|step| step.costs.turns, 2)),
            self.row(
                "a turn is held, ms",
                both(|step| step.costs.turn() * 1e3, 3),
            ),
            self.row(
                "a turn is waited for, ms",
                both(|step| step.waited * 1e3, 3),
            ),
            self.row("messages", both(|step| step.messages, 1)),
            self.row("a turn is held when jobs come one at a time, ms", |one| {
                format!("{:.3}", one.alone.step.costs.turn() * 1e3)
            }),
        ];
        rows.push(self.row("requests of the worker", |one| {
            let asked = one.queue.working.requests.iter();
            let asked = asked.filter(|(_, count)| **count >= 0.005);
            asked
                .map(|(name, count)| format!("{count:.2} {name}"))
                .collect::<Vec<_>>()
                .join(", ")
        }));
        text.push_str(&self.table("", &rows));
        text
    }

    pub(super) fn limits(&self) -> String {
        let mut text = String::from(
            "## The next limit\n\nSums from the costs above (asking and working), not measurements: each part on a machine of its own like this one, networks and disks of targets aside.\n\n\
             ```text\n\
             limit of a part    = cores / processor time of a job on it                    jobs a second\n\
             limit of turns     = 1 / (turns of a job × how long one is held)              one writer, over all api-services\n\
             one worker         = the smaller of cores / processor time and slots / time of a job alone\n\
             long jobs at once  = renew interval / how long a turn is held                 each renews its lease by a turn\n\
             ```\n\n",
        );
        let cores = f64::from(self.cores);
        let mut rows: Vec<_> = Part::ALL
            .into_iter()
            .map(|part| {
                self.row(&format!("limit: {}, jobs/s", part.name()), |one| {
                    let limit = one.queue.in_all().limit(part, cores);
                    limit.map_or("–".to_owned(), |limit| format!("{limit:.0}"))
                })
            })
            .collect();
        rows.push(self.row("all on this machine, jobs/s", |one| {
            format!("{:.1}", one.queue.in_all().shared_limit(cores))
        }));
        rows.push(self.row("one worker, jobs/s", |one| {
            format!("{:.1}", self.each(one).rate(&one.queue.in_all()))
        }));
        rows.push(self.row("the first limit", |one| {
            let first = one.queue.in_all().first_limit(cores);
            first.map_or("–".to_owned(), |(part, limit)| {
                format!("{} at {limit:.0} jobs/s", part.name())
            })
        }));
        rows.push(self.row("workers that fill it, by the sum", |one| {
            let costs = one.queue.in_all();
            let first = costs.first_limit(cores);
            first.map_or("–".to_owned(), |(_, limit)| {
                format!("{:.0}", (limit / self.each(one).rate(&costs)).ceil())
            })
        }));
        rows.push(self.row(
            &format!("workers with which the simulation comes to {REACHED} of it"),
            |one| {
                let costs = one.queue.in_all();
                let first = costs.first_limit(cores);
                let enough = PLAYED.into_iter().find(|workers| {
                    first.is_some_and(|(_, limit)| {
                        self.played(one, *workers, Machines::Each) >= REACHED * limit
                    })
                });
                enough.map_or(
                    format!("more than {}", PLAYED[PLAYED.len() - 1]),
                    |workers| workers.to_string(),
                )
            },
        ));
        rows.push(self.row("long jobs at once, by renewals alone", |one| {
            format!("{:.0}", RENEW / one.queue.working.costs.turn())
        }));
        text.push_str(&self.table("", &rows));
        let _ = writeln!(
            text,
            "\nThe simulation plays {GAME} jobs through the parts by seed: {SLOTS} slots of each worker never lack a job, each job asks for one turn after the other, and before each waits for its share of the \
             processors, first come, first served; times vary as independent ones do (exponentially). Jobs a second it comes to, each part and each worker on a machine of its own:\n"
        );
        let rows: Vec<_> = PLAYED
            .into_iter()
            .map(|workers| {
                self.row(&workers.to_string(), |one| {
                    format!("{:.0}", self.played(one, workers, Machines::Each))
                })
            })
            .collect();
        text.push_str(&self.table("workers", &rows));
        text.push_str(
            "\nNot in these sums: progress events (one a second of each running job), events to listeners, the network, and the target, which every worker writes to.\n",
        );
        text
    }

    fn each(&self, measured: &Measured) -> Workers {
        Workers {
            cores: self.cores,
            slots: SLOTS,
            alone: median(measured.alone.runs.iter().copied()),
        }
    }

    /// Plays the numbers of workers that were measured, and those that were not.
    pub(super) fn play_with(&mut self, measured: &Measured) {
        let each = self.each(measured);
        let database = measured.database;
        let mut game = |workers, machines, costs: &Costs| {
            let rate = play(costs, each, workers, machines, GAME, self.seed);
            self.games.insert((database, machines, workers), rate);
        };
        for workers in WORKERS {
            game(workers, Machines::One, &measured.queue.working.costs);
        }
        for workers in PLAYED {
            game(workers, Machines::Each, &measured.queue.in_all());
        }
    }

    /// Jobs a second that a game came to.
    pub(super) fn played(&self, measured: &Measured, workers: u32, machines: Machines) -> f64 {
        let game = (measured.database, machines, workers);
        self.games.get(&game).copied().unwrap_or(0.0)
    }
}

impl Queue {
    /// What a job costs from request to end.
    pub(super) fn in_all(&self) -> Costs {
        self.asking.costs.plus(self.working.costs)
    }
}
