//! Requests of workers in any order, repeated, stale and forged, against [`model`](super::model): after
//! each one answer and rows must be what the model says. `EMBERKEEP_SEED` repeats a run.

use common::messages::rpc::Request;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::model::{Answer, End, Model, Past};
use super::*;
use crate::store::RequestError;
use crate::store::tests::trouble::hurry;

const HISTORIES: u64 = 30;
const STEPS: usize = 60;

#[derive(Debug, Clone)]
enum Step {
    Claim,
    ClaimAgain(ClaimId),
    Renew(Past, u64),
    Frozen(Past, u32, String),
    Restart(Past, u32),
    Fail(Past, FailCause),
    Commit(Past, u32),
    Release(Past, ReleaseReason, u64),
    Finish(Past, Outcome),
    LeaseEnds,
    Cancel,
    ForceDelete,
}

/// A step that is likely to lead somewhere, but need not.
fn any_step(rng: &mut StdRng, model: &Model) -> Step {
    let Some(last) = model.past.last() else {
        return match rng.random_range(0..20) {
            0 => Step::Cancel,
            1 => Step::ForceDelete,
            _ => Step::Claim,
        };
    };
    let mut fence = match rng.random_bool(0.8) {
        true => *last,
        false => *model.past.choose(rng).unwrap(),
    };
    if rng.random_bool(0.05) {
        fence.generation += 1;
    }
    let current = u32::try_from(model.attempts.len()).unwrap();
    let attempt = match rng.random_range(0..10) {
        0 => current + 1,
        1 => current.saturating_sub(1).max(1),
        _ => current,
    };
    let mark = rng.random_range(0..4) * 64 + model.mark / 2;
    let outcomes = [
        Outcome::BackedUp {
            object_count: 3,
            data_timestamp: "2026-03-01T10:00:05Z".parse().unwrap(),
        },
        Outcome::Cancelled,
        Outcome::Failed {
            reason: "it cannot be read".to_owned(),
        },
    ];
    match rng.random_range(0..100) {
        0..20 => Step::Claim,
        20..25 => Step::ClaimAgain(fence.claim),
        25..40 => Step::Renew(fence, mark),
        40..50 => Step::Frozen(fence, attempt, format!("inode {}", rng.random_range(0..3))),
        50..58 => Step::Restart(fence, attempt),
        58..62 => {
            let causes = [
                FailCause::Cancelled,
                FailCause::Lasting,
                FailCause::GiveUp,
                FailCause::Lost,
            ];
            Step::Fail(fence, *causes.choose(rng).unwrap())
        }
        62..68 => Step::Commit(fence, attempt),
        68..78 => {
            let reasons = [
                ReleaseReason::Drain,
                ReleaseReason::Passing,
                ReleaseReason::TargetHeld,
                ReleaseReason::Crashed,
            ];
            Step::Release(fence, *reasons.choose(rng).unwrap(), mark)
        }
        78..84 => Step::Finish(fence, outcomes.choose(rng).unwrap().clone()),
        84..96 => Step::LeaseEnds,
        96..98 => Step::Cancel,
        _ => Step::ForceDelete,
    }
}

fn proof(job: common::domain::JobId, past: Past) -> Fence {
    Fence {
        job_id: job,
        generation: past.generation,
        claim_id: past.claim,
    }
}

/// A reply as the model speaks of it.
async fn reply<A: serde::de::DeserializeOwned>(
    world: &World,
    request: impl Into<Request>,
    read: impl FnOnce(A) -> Answer,
) -> Answer {
    match world.reply(request).await {
        Reply::Answer(answer) => read(answer),
        Reply::Malformed(_) => Answer::Malformed,
        Reply::TryAgain(why) => panic!("the database is well: {why}"),
    }
}

fn done(result: Result<(), RequestError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(RequestError::Refused(_) | RequestError::NotFound { .. }) => Answer::Refused,
        Err(error) => panic!("{error:?}"),
    }
}

/// How it came to this; written only when something is wrong.
struct So<'h>(u64, &'h [Step]);

impl std::fmt::Display for So<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EMBERKEEP_SEED={}, after {:#?}", self.0, self.1)
    }
}

struct Play {
    world: World,
    job: common::domain::JobId,
    backup: common::domain::BackupId,
    volume: common::domain::VolumeId,
    model: Model,
}

impl Play {
    async fn claim(&mut self, claim_id: ClaimId) -> (Answer, Answer) {
        let claim = Claim {
            claim_id,
            ..self.world.claim_for(self.job)
        };
        let answer = reply(&self.world, claim, |answer| match answer {
            Claimed::Granted(grant) => Answer::Granted(grant.generation),
            Claimed::Duplicate => Answer::Duplicate,
            Claimed::Busy => Answer::Busy,
            Claimed::Cancelled => Answer::Cancelled,
        });
        (answer.await, self.model.claim(claim_id))
    }

    /// Takes a step with the state owner and with the model; both answers.
    async fn take(&mut self, step: &Step) -> (Answer, Answer) {
        let Self {
            world, job, model, ..
        } = self;
        let proof = |past: &Past| proof(*job, *past);
        match step {
            Step::Claim => self.claim(ClaimId::new()).await,
            Step::ClaimAgain(claim) => self.claim(*claim).await,
            Step::Renew(past, mark) => {
                let renew = Renew {
                    fence: proof(past),
                    mark: *mark,
                };
                let answer = reply(world, renew, |answer| match answer {
                    Renewed::Held { cancel } => Answer::Held { cancel },
                    Renewed::Fenced => Answer::Fenced,
                });
                (answer.await, model.renew(*past, *mark))
            }
            Step::Frozen(past, attempt, identity) => {
                let report = FrozenReport {
                    fence: proof(past),
                    attempt: *attempt,
                    frozen: frozen(identity),
                };
                let answer = reply(world, report, |answer| match answer {
                    FrozenAnswer::Recorded(frozen) => Answer::Recorded(frozen.identity),
                    FrozenAnswer::Fenced => Answer::Fenced,
                });
                (answer.await, model.freeze(*past, *attempt, identity))
            }
            Step::Restart(past, attempt) => {
                let restart = Restart {
                    fence: proof(past),
                    attempt: *attempt,
                    reason: "the volume changed".to_owned(),
                };
                let answer = reply(world, restart, |answer| match answer {
                    Restarted::Attempt(sheet) => Answer::Attempt(backup_sheet(*sheet).names.number),
                    Restarted::Exhausted { .. } => Answer::Exhausted,
                    Restarted::Committed => Answer::Committed,
                    Restarted::Fenced => Answer::Fenced,
                });
                (answer.await, model.restart(*past, *attempt))
            }
            Step::Fail(past, cause) => {
                let answer = reply(world, fail(proof(past), *cause), |answer| match answer {
                    Failed::Recorded => Answer::Done,
                    Failed::Committed => Answer::Committed,
                    Failed::Fenced => Answer::Fenced,
                });
                (answer.await, model.fail(*past, *cause))
            }
            Step::Commit(past, attempt) => {
                let commit = Commit {
                    fence: proof(past),
                    attempt: *attempt,
                };
                let answer = reply(world, commit, |answer| match answer {
                    Committed::Passed => Answer::Passed,
                    Committed::Cancelled => Answer::Cancelled,
                    Committed::Fenced => Answer::Fenced,
                });
                (answer.await, model.commit(*past, *attempt))
            }
            Step::Release(past, why, mark) => {
                let release = Release {
                    mark: *mark,
                    ..release(proof(past), *why)
                };
                let answer = reply(world, release, |answer| match answer {
                    Released::Queued => Answer::Queued,
                    Released::Fenced => Answer::Fenced,
                });
                let counts = why.counts_as_failure();
                (answer.await, model.release(*past, *mark, counts))
            }
            Step::Finish(past, outcome) => {
                let finish = Finish {
                    fence: proof(past),
                    outcome: outcome.clone(),
                    totals: WorkTotals::default(),
                };
                let answer = reply(world, finish, |answer| match answer {
                    Finished::Settled => Answer::Settled,
                    Finished::Fenced => Answer::Fenced,
                });
                let as_stored = matches!(outcome, Outcome::BackedUp { .. });
                let cancelled = *outcome == Outcome::Cancelled;
                (answer.await, model.finish(*past, as_stored, cancelled))
            }
            Step::LeaseEnds => {
                world.end_lease(*job).await;
                model.lease_ends(End::Lease);
                (Answer::Done, Answer::Done)
            }
            Step::Cancel => {
                let cancelled = world.store.cancel_backup(&Scope::All, self.backup).await;
                (done(cancelled), model.cancel())
            }
            Step::ForceDelete => {
                let store = &world.store;
                let deleted = store.delete_backup(&world.caller, &Scope::All, self.backup, true);
                (done(deleted.await), model.force_delete())
            }
        }
    }

    /// Every row that matters is as the model says.
    async fn assert_same(&self, what: &So<'_>) {
        let (world, model) = (&self.world, &self.model);
        let job = world.job(self.job).await;
        assert_eq!(job.state, model.state, "{what}");
        assert_eq!(job.generation, model.generation(), "{what}");
        assert_eq!(
            (
                job.failures,
                job.mark,
                job.cancel_requested,
                job.give_up.is_some()
            ),
            (
                model.failures,
                model.mark,
                model.cancel_requested,
                model.given_up
            ),
            "failures, mark, cancel, give-up: {what}"
        );
        let mut tx = world.store.write().await.unwrap();
        let attempts = tx.attempts(self.backup).await.unwrap();
        let backup = tx.backup(self.backup).await.unwrap();
        drop(tx);
        let states: Vec<_> = attempts.iter().map(|attempt| attempt.state).collect();
        assert_eq!(states, model.attempts, "{what}");
        let committed = states
            .iter()
            .filter(|state| **state == crate::store::AttemptState::Committed);
        assert!(committed.count() <= 1, "one attempt wins: {what}");
        assert_eq!(backup.map(|row| row.status), model.backup, "{what}");
        let expected = match model.state {
            JobState::Settled => VolumeStatus::Available,
            JobState::Queued | JobState::Running | JobState::Committing => VolumeStatus::BackingUp,
        };
        assert_eq!(
            world.reload_volume(self.volume).await.status,
            expected,
            "{what}"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a run is repeated by whoever starts it"
)]
fn first_seed() -> u64 {
    let asked = std::env::var("EMBERKEEP_SEED").ok();
    asked.map_or_else(rand::random, |seed| {
        seed.parse().expect("EMBERKEEP_SEED is a number")
    })
}

#[tokio::test]
async fn whatever_workers_ask_in_whatever_order_answers_and_rows_are_the_models() {
    let first = first_seed();
    for seed in (0..HISTORIES).map(|place| first.wrapping_add(place)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::new().await;
        hurry(&world.store).await;
        let volume = world.volume().await.id;
        let (backup, job) = world.creating(volume).await;
        let mut play = Play {
            world,
            job: job.id,
            backup: backup.id,
            volume,
            model: Model::new(),
        };
        let mut history = Vec::new();
        for _ in 0..STEPS {
            let step = any_step(&mut rng, &play.model);
            history.push(step.clone());
            let what = So(seed, &history);
            let (answer, expected) = play.take(&step).await;
            assert_eq!(answer, expected, "{what}");
            play.assert_same(&what).await;
        }
    }
}
