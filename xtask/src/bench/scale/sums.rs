//! From what one job costs to what many cost: where each part has no time left, and a small simulation of the whole.
//!
//! ```text
//! limit of a part   = its cores / processor time of one job on it            jobs a second
//! limit of turns    = 1 / (changes of rows for a job × time of one turn)     there is one writer, however many machines
//! one worker        = least of its cores / processor time, its slots / time of a job alone
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::image::Random;

/// Of all that a job costs, what is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Costs {
    /// Processor time in seconds: api-service, broker, database, worker.
    pub(super) api: f64,
    pub(super) broker: f64,
    pub(super) database: f64,
    pub(super) worker: f64,
    /// Changes of rows; each takes its turn.
    pub(super) turns: f64,
    /// How long all of its turns together keep others waiting, in seconds.
    pub(super) held: f64,
}

/// A part whose time can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Turns,
    Api,
    Broker,
    Database,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [Self::Turns, Self::Api, Self::Broker, Self::Database];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns of the writer",
            Self::Api => "api-service",
            Self::Broker => "broker",
            Self::Database => "database server",
        }
    }
}

impl Costs {
    /// The costs of two steps of the same job.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            api: self.api + other.api,
            broker: self.broker + other.broker,
            database: self.database + other.database,
            worker: self.worker + other.worker,
            turns: self.turns + other.turns,
            held: self.held + other.held,
        }
    }

    /// Processor time of all parts.
    pub(super) fn processor(&self) -> f64 {
        self.api + self.broker + self.database + self.worker
    }

    /// How long one turn is held.
    pub(super) fn turn(&self) -> f64 {
        if self.turns > 0.0 {
            self.held / self.turns
        } else {
            0.0
        }
    }

    /// Jobs a second at which a part has no time left, on a machine of its own with `cores`; `None` if it does nothing.
    pub(super) fn limit(&self, part: Part, cores: f64) -> Option<f64> {
        let limit = match part {
            Part::Turns => 1.0 / self.held,
            Part::Api => cores / self.api,
            Part::Broker => cores / self.broker,
            Part::Database => cores / self.database,
        };
        limit.is_finite().then_some(limit)
    }

    /// The part that is the first to have no time left, and when.
    pub(super) fn first_limit(&self, cores: f64) -> Option<(Part, f64)> {
        Part::ALL
            .into_iter()
            .filter_map(|part| Some((part, self.limit(part, cores)?)))
            .min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Jobs a second when all parts share `cores`.
    pub(super) fn shared_limit(&self, cores: f64) -> f64 {
        (cores / self.processor()).min(1.0 / self.held)
    }
}

/// Of one worker, on a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Workers {
    pub(super) cores: u32,
    /// Jobs that one has at once.
    pub(super) slots: u32,
    /// From grant to end of a job that has the machine for itself, in seconds.
    pub(super) alone: f64,
}

impl Workers {
    /// Jobs a second of one.
    pub(super) fn rate(&self, costs: &Costs) -> f64 {
        let by_cores = f64::from(self.cores) / costs.worker;
        by_cores.min(f64::from(self.slots) / self.alone)
    }
}

/// Where parts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Machines {
    /// All on this one.
    One,
    /// Each part, and each worker, on one of its own like this.
    Each,
}

/// Jobs a second of `workers` whose slots never lack a job, by playing `jobs` of them through. A job asks for one turn
/// after the other; before each it needs its share of the processors, and waits for disks. The times of visits vary as those of independent work do
/// (exponentially), by seed.
pub(super) fn play(
    costs: &Costs,
    each: Workers,
    workers: u32,
    machines: Machines,
    jobs: u32,
    seed: u64,
) -> f64 {
    let steps = rounded(costs.turns).max(1);
    let share = |whole: f64| whole / f64::from(steps);
    // Disks, networks, and whatever else a job waits for when nobody else is there.
    let rest = (each.alone - costs.processor() - costs.held).max(0.0);
    let cores = each.cores as usize;
    let mut stations = vec![Station::new(1)];
    let mut station = |servers| {
        stations.push(Station::new(servers));
        stations.len() - 1
    };
    let shared = station(cores);
    let (api, broker, database) = match machines {
        Machines::One => (shared, shared, shared),
        Machines::Each => (station(cores), station(cores), station(cores)),
    };
    let homes: Vec<usize> = (0..workers)
        .map(|_| match machines {
            Machines::One => shared,
            Machines::Each => station(cores),
        })
        .collect();
    let mut random = Random::new(seed);
    let mut clock = BinaryHeap::new();
    for slot in 0..workers * each.slots {
        clock.push(Reverse((0, slot, 0)));
    }
    let (mut done, mut counted_since, mut now) = (0, 0, 0);
    let warm = jobs / 5;
    while done < jobs {
        let Some(Reverse((at, slot, visit))) = clock.pop() else {
            break;
        };
        now = at;
        let home = homes[(slot / each.slots) as usize];
        let (at_station, mean) = match visit % 6 {
            0 => (Some(broker), share(costs.broker)),
            1 => (Some(api), share(costs.api)),
            2 => (Some(database), share(costs.database)),
            3 => (Some(TURNS), costs.held / f64::from(steps)),
            4 => (Some(home), share(costs.worker)),
            _ => (None, share(rest)),
        };
        let takes = nanoseconds(-mean * random.unit().ln());
        let ends = match at_station {
            Some(index) => stations[index].serve(now, takes),
            None => now + takes,
        };
        let mut next = visit + 1;
        if next == 6 * steps {
            next = 0;
            done += 1;
            if done == warm {
                counted_since = now;
            }
        }
        clock.push(Reverse((ends, slot, next)));
    }
    f64::from(done.saturating_sub(warm)) / seconds(now - counted_since)
}

/// The station with one server.
const TURNS: usize = 0;

/// Servers with one line before them: first come, first served.
struct Station {
    free_at: BinaryHeap<Reverse<u64>>,
}

impl Station {
    fn new(servers: usize) -> Self {
        Self {
            free_at: vec![Reverse(0); servers.max(1)].into(),
        }
    }

    /// When the work of who comes now is done. Callers come in the order of time.
    fn serve(&mut self, now: u64, takes: u64) -> u64 {
        let Reverse(free) = self.free_at.pop().unwrap_or(Reverse(now));
        let ends = free.max(now) + takes;
        self.free_at.push(Reverse(ends));
        ends
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of a simulation is small and not negative"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a job has some turns"
)]
fn rounded(value: f64) -> u32 {
    value.round().clamp(0.0, 1e6) as u32
}

/// The value that a share of all (0 to 1) does not exceed: the nearest one there is. 0 of none.
pub(super) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let rank = rounded((f64::from(count) * share).ceil()).clamp(1, count.max(1));
    values.get(rank as usize - 1).copied().unwrap_or(0.0)
}

/// Ends a second, from times at which things ended: those of the middle, without the tenth at either end in which not all
/// were at work. 0 of fewer than ten.
pub(super) fn steady_rate(ends: &[f64]) -> f64 {
    let mut ends = ends.to_vec();
    ends.sort_by(f64::total_cmp);
    let tenth = ends.len() / 10;
    if tenth == 0 {
        return 0.0;
    }
    let (first, last) = (tenth, ends.len() - 1 - tenth);
    let count = u32::try_from(last - first).unwrap_or(u32::MAX);
    f64::from(count) / (ends[last] - ends[first])
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        api: 0.010,
        broker: 0.004,
        database: 0.0,
        worker: 0.020,
        turns: 5.0,
        held: 0.005,
    };
    const WORKERS: Workers = Workers {
        cores: 2,
        slots: 3,
        alone: 0.060,
    };

    fn near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.05
    }

    #[test]
    fn each_part_has_its_own_limit_and_the_least_comes_first() {
        assert_eq!(COSTS.limit(Part::Turns, 2.0), Some(200.0));
        assert_eq!(COSTS.limit(Part::Api, 2.0), Some(200.0));
        assert_eq!(COSTS.limit(Part::Broker, 2.0), Some(500.0));
        assert_eq!(COSTS.limit(Part::Database, 2.0), None);
        assert_eq!(COSTS.first_limit(1.0), Some((Part::Api, 100.0)));
        assert_eq!(COSTS.first_limit(4.0), Some((Part::Turns, 200.0)));
        assert!(near(COSTS.shared_limit(2.0), 2.0 / 0.034));
        assert_eq!(WORKERS.rate(&COSTS), 50.0, "its slots");
        let fast = Workers {
            alone: 0.006,
            ..WORKERS
        };
        assert_eq!(fast.rate(&COSTS), 100.0, "its cores");
    }

    #[test]
    fn costs_of_two_steps_add_up() {
        let both = COSTS.plus(COSTS);
        assert_eq!(both.turn(), COSTS.turn());
        assert_eq!(both.processor(), 0.068);
        assert_eq!(both.first_limit(4.0), Some((Part::Turns, 100.0)));
    }

    #[test]
    fn many_workers_come_to_the_limit_and_one_stays_below_its_own() {
        let one = play(&COSTS, WORKERS, 1, Machines::Each, 4000, 1);
        assert!(one < 50.0 && one > 35.0, "{one}");
        let two = play(&COSTS, WORKERS, 2, Machines::Each, 4000, 1);
        assert!(two > 1.8 * one, "{two}");
        let many = play(&COSTS, WORKERS, 64, Machines::Each, 20_000, 1);
        assert!(near(many, 200.0), "{many}");
        let shared = play(&COSTS, WORKERS, 8, Machines::One, 20_000, 1);
        assert!(near(shared, COSTS.shared_limit(2.0)), "{shared}");
    }

    #[test]
    fn the_same_seed_plays_the_same_game() {
        let play = |seed| play(&COSTS, WORKERS, 2, Machines::One, 500, seed);
        assert_eq!(play(7), play(7));
        assert_ne!(play(7), play(8));
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert_eq!(percentile(&[3.0], 0.5), 3.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_steady_rate_knows_neither_the_beginning_nor_the_end() {
        // Ten a second for ten seconds; the first came late and the last hung.
        let mut ends: Vec<f64> = (0..100).map(|n| f64::from(n) / 10.0).collect();
        ends[0] = -50.0;
        ends[99] = 500.0;
        assert!((steady_rate(&ends) - 10.0).abs() < 1e-9);
        assert_eq!(steady_rate(&[1.0, 2.0]), 0.0);
    }
}
