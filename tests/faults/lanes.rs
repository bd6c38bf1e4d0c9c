//! Lanes: threads that run cases side by side, each on a stack of its own that it keeps for the next
//! case as long as nothing goes wrong.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::Arguments;
use crate::rows::{Case, Needs};
use crate::scene::Scene;
use crate::table::{self, Table};

/// Longest time of a case: all its waiting has an end of its own, this is for what has none.
const CASE_MAX: Duration = Duration::from_secs(420);

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a lane takes at once.
type Batch = Vec<Case>;

struct Run<'a> {
    queue: Mutex<VecDeque<Batch>>,
    table: Table,
    seed: u64,
    arguments: &'a Arguments,
}

/// Runs all cases; whether all ended well.
pub(crate) fn run(cases: Vec<Case>, seed: u64, arguments: &Arguments) -> bool {
    std::panic::set_hook(Box::new(|panic| {
        SAID.set(panic.to_string());
    }));
    let began = Instant::now();
    let run = Run {
        table: Table::new(cases.iter().map(|case| case.row)),
        queue: Mutex::new(batches(cases)),
        seed,
        arguments,
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.lanes.max(1) {
            scope.spawn(|| run.lane());
        }
    });
    let good = run.table.close(began.elapsed());
    table::say(format_args!("seed {seed}"));
    good
}

/// What needs a broker of its own is one lane's, and begins first, because it takes longest.
fn batches(cases: Vec<Case>) -> VecDeque<Batch> {
    let mut own: Vec<Batch> = Vec::new();
    let mut shared = Vec::new();
    for case in cases {
        if case.needs == Needs::Shared {
            shared.push(vec![case]);
            continue;
        }
        match own.iter_mut().find(|batch| batch[0].needs == case.needs) {
            Some(batch) => batch.push(case),
            None => own.push(vec![case]),
        }
    }
    own.into_iter().chain(shared).collect()
}

impl Run<'_> {
    fn lane(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let mut scene: Option<Scene> = None;
        loop {
            let next = self.lock_queue().pop_front();
            let Some(batch) = next else { break };
            for case in batch {
                let began = Instant::now();
                let mut random = SmallRng::seed_from_u64(self.seed_of(&case));
                let work = async {
                    if scene
                        .as_ref()
                        .is_none_or(|scene| scene.needs() != case.needs)
                    {
                        drop(scene.take());
                        scene = Some(Scene::open(case.needs).await);
                    }
                    let scene = scene.as_mut().expect("it was just opened");
                    scene.calm().await;
                    case.strike.run(scene, &mut random).await;
                };
                let limited = async { tokio::time::timeout(CASE_MAX, work).await };
                let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(limited)));
                let said = match ended {
                    Ok(Ok(())) => None,
                    Ok(Err(_)) => Some(format!("it did not end within {CASE_MAX:?}")),
                    Err(_) => Some(SAID.take()),
                };
                let story = said.map(|said| self.story(&case, &said, scene.take().as_ref()));
                let _in_runtime = runtime.enter();
                self.table.note(case.row, began.elapsed(), story.as_deref());
            }
        }
        let _in_runtime = runtime.enter();
        drop(scene);
    }

    fn lock_queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Batch>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for the same seed, row and number, whatever runs beside it.
    fn seed_of(&self, case: &Case) -> u64 {
        let row = case.row.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        self.seed ^ row.rotate_left(32) ^ (case.number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// What is told about a failed case: how to run it again, and where its logs are.
    fn story(&self, case: &Case, said: &str, scene: Option<&Scene>) -> String {
        let logs = self.logs_of(case);
        let kept = scene.map(|scene| scene.stack.keep_logs(&logs));
        let kept = match kept {
            Some(Ok(())) => format!("logs: {}", logs.display()),
            Some(Err(error)) => format!("logs: not kept, {error}"),
            None => "logs: there was no stack yet".to_owned(),
        };
        let full = if self.arguments.full { " --full" } else { "" };
        format!(
            "FAILED {row} {number}: {what}\n  {said}\n  again: cargo xtask test --faults{full} \
             --seed {seed} --row {row} --case {number}\n  {kept}",
            row = case.row,
            number = case.number,
            what = case.strike.what(),
            seed = self.seed,
        )
    }

    fn logs_of(&self, case: &Case) -> PathBuf {
        Path::new(&self.arguments.logs).join(format!("{}-{}-{}", self.seed, case.row, case.number))
    }
}
