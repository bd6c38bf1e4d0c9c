//! What a worker asks the state owner, and the answers.
//!
//! Every request but `claim` carries a [`Fence`]; each is idempotent, and one whose fence is stale
//! is answered `Fenced`: that execution stops and deletes nothing but its own unfinished
//! temporary file.

use std::fmt::Debug;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::sheet::{Frozen, Sheet, WorkTotals};
use crate::domain::{ClaimId, Incarnation, JobId, TraceParent, VolumeSource, WorkerName};

/// Proof of a granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The job.
    pub job_id: JobId,
    /// The execution that was granted.
    pub generation: u64,
    /// The claim it was granted to.
    pub claim_id: ClaimId,
}

/// Any request, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Asks for the lease of a job.
    Claim(Claim),
    /// Keeps the lease, and reports how far the work is.
    Renew(Renew),
    /// Reports the snapshot's identity.
    Frozen(FrozenReport),
    /// Gives this attempt's data up and asks for a new attempt.
    Restart(Restart),
    /// Says that the attempt ends without a backup; only the answer allows deleting.
    Fail(Fail),
    /// Passes the commit gate.
    Commit(Commit),
    /// Gives the lease back, for a later execution.
    Release(Release),
    /// Reports the end.
    Finish(Finish),
    /// Hands in what a publisher sent in place of a doorbell.
    Submit(Submit),
}

impl Request {
    /// Its name, as `op` says it.
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Renew(_) => "renew",
            Self::Frozen(_) => "frozen",
            Self::Restart(_) => "restart",
            Self::Fail(_) => "fail",
            Self::Commit(_) => "commit",
            Self::Release(_) => "release",
            Self::Finish(_) => "finish",
            Self::Submit(_) => "submit",
        }
    }
}

/// What comes back for a request whose good answer is `A`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "body", rename_all = "snake_case")]
pub enum Reply<A> {
    /// The state owner decided.
    Answer(A),
    /// It could not decide now (its database, for example); ask again.
    TryAgain(String),
    /// It could not understand the request; asking again is no use.
    Malformed(String),
}

/// A request with its type of answer.
pub trait Ask: Clone + Debug + Into<Request> + Send + Sync + 'static {
    /// What the state owner answers.
    type Answer: Debug + DeserializeOwned + Serialize + Send;
}

macro_rules! asks {
    ($($request:ident via $variant:ident => $answer:ty),+ $(,)?) => {
        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$variant(request)
                }
            }
            impl Ask for $request {
                type Answer = $answer;
            }
        )+
    };
}

asks! {
    Claim via Claim => Claimed,
    Renew via Renew => Renewed,
    FrozenReport via Frozen => FrozenAnswer,
    Restart via Restart => Restarted,
    Fail via Fail => Failed,
    Commit via Commit => Committed,
    Release via Release => Released,
    Finish via Finish => Finished,
    Submit via Submit => Submitted,
}

/// Asks for the lease of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The job the message named.
    pub job_id: JobId,
    /// This delivery; the same one gets the same answer.
    pub claim_id: ClaimId,
    /// Who asks.
    pub worker: WorkerName,
    /// Which run of it.
    pub incarnation: Incarnation,
}

/// Answer to [`Claim`]. Each is durable, so the message can be acknowledged on any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum Claimed {
    /// Go: here is all you need.
    Granted(Box<Grant>),
    /// The job is settled or unknown: nothing to do.
    Duplicate,
    /// Another execution has the lease, or the job waits for a later time.
    Busy,
    /// It was cancelled before it began.
    Cancelled,
}

/// A lease and the work it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Number of this execution.
    pub generation: u64,
    /// How long the lease lives without a renewal, in milliseconds.
    pub lease_ms: u64,
    /// How often to renew, in milliseconds.
    pub renew_ms: u64,
    /// Set when the job is to be given up: why, for the owner. Only clean-up and `finish` are left.
    pub give_up: Option<String>,
    /// All that is needed.
    pub sheet: Sheet,
}

/// Keeps the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Proof.
    pub fence: Fence,
    /// Sealed bytes of the volume so far; a higher one counts as progress.
    pub mark: u64,
}

/// Answer to [`Renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "renew", rename_all = "snake_case")]
pub enum Renewed {
    /// The lease goes on.
    Held {
        /// The owner asked to cancel.
        cancel: bool,
    },
    /// It is another's now.
    Fenced,
}

/// Reports the snapshot's identity, before anything is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenReport {
    /// Proof.
    pub fence: Fence,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// What was frozen.
    pub frozen: Frozen,
}

/// Answer to [`FrozenReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frozen", rename_all = "snake_case")]
pub enum FrozenAnswer {
    /// The first report of this attempt: yours, or the one that came before. The codecs are yours too if all who
    /// came before gave the job back.
    Recorded(Frozen),
    /// The lease is another's now, or the attempt is over.
    Fenced,
}

/// Gives this attempt's data up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Proof.
    pub fence: Fence,
    /// The attempt to abandon; a repeat gets the same next one.
    pub attempt: u32,
    /// Why, for the log.
    pub reason: String,
}

/// Answer to [`Restart`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "restart", rename_all = "snake_case")]
pub enum Restarted {
    /// A new attempt: go on with this sheet.
    Attempt(Box<Sheet>),
    /// The job had all the attempts it may have; why, for the owner. End it with `fail`.
    Exhausted {
        /// A sentence for the owner.
        reason: String,
    },
    /// The backup is committed: finish it.
    Committed,
    /// The lease is another's now.
    Fenced,
}

/// Ends the attempt without a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fail {
    /// Proof.
    pub fence: Fence,
    /// Why it ends.
    pub cause: FailCause,
    /// One sentence for the owner.
    pub reason: String,
}

/// Why an attempt ends without a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailCause {
    /// The owner cancelled.
    Cancelled,
    /// An error that trying again will not mend.
    Lasting,
    /// The state owner gave the job up.
    GiveUp,
    /// Committed, but neither the metadata file nor a whole chain of segments is there.
    Lost,
}

/// Answer to [`Fail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fail", rename_all = "snake_case")]
pub enum Failed {
    /// Recorded: the attempt's names may be deleted now.
    Recorded,
    /// The backup is committed: finish it, delete nothing.
    Committed,
    /// The lease is another's now.
    Fenced,
}

/// Passes the commit gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Proof.
    pub fence: Fence,
    /// The attempt that is complete.
    pub attempt: u32,
}

/// Answer to [`Commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "commit", rename_all = "snake_case")]
pub enum Committed {
    /// This attempt is the backup. From here there is no cancel.
    Passed,
    /// The owner cancelled first.
    Cancelled,
    /// The lease is another's now.
    Fenced,
}

/// Gives the lease back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Proof.
    pub fence: Fence,
    /// Why.
    pub why: ReleaseReason,
    /// One sentence for the log and for a give-up later.
    pub message: String,
    /// Sealed bytes so far.
    pub mark: u64,
    /// Not before this many milliseconds from now.
    pub retry_after_ms: u64,
}

/// Why a lease is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// The worker is stopping.
    Drain,
    /// A stopped predecessor still holds the target's lock; counts as a failure.
    TargetHeld,
    /// An error that may pass: no space, a target that does not answer.
    Passing,
    /// The job's own code broke off; counts as a failure.
    Crashed,
}

impl ReleaseReason {
    /// Whether the execution that ends so counts as a failure. The others are taken back: what
    /// stopped them says nothing about the job.
    #[must_use]
    pub fn counts_as_failure(self) -> bool {
        match self {
            Self::TargetHeld | Self::Crashed => true,
            Self::Drain | Self::Passing => false,
        }
    }
}

/// Answer to [`Release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "release", rename_all = "snake_case")]
pub enum Released {
    /// The job is queued again.
    Queued,
    /// The lease is another's now.
    Fenced,
}

/// Reports the end of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// Proof.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// How much was done.
    pub totals: WorkTotals,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A backup is whole and durable.
    BackedUp {
        /// Data objects, without the two closing files.
        object_count: u64,
        /// When the data was frozen.
        data_timestamp: Timestamp,
    },
    /// The volume holds the backup's bytes.
    Restored {
        /// The wanted backup's `volume_meta`, for the target's row.
        volume_meta: Option<String>,
    },
    /// The backup's objects are gone.
    Deleted,
    /// The volume is as asked.
    VolumeDone {
        /// Where its data is.
        source: VolumeSource,
        /// Its size.
        size_gib: u32,
    },
    /// What was left of the attempt is gone.
    Cleaned,
    /// Ended by the owner's wish; everything of it is removed.
    Cancelled,
    /// Ended by an error; everything of a backup attempt is removed.
    Failed {
        /// One sentence for the owner.
        reason: String,
    },
}

/// Answer to [`Finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finish", rename_all = "snake_case")]
pub enum Finished {
    /// Settled, now or by an earlier copy of this report.
    Settled,
    /// The lease is another's now.
    Fenced,
}

/// Hands in a message that is no doorbell: a publisher's request, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit {
    /// The body; `None` when it is no text or longer than a request may be.
    pub body: Option<String>,
    /// The login of its publisher, as the broker had checked it.
    pub login: Option<String>,
    /// The message's own id.
    pub message_id: Option<Uuid>,
    /// Where its publisher wants an answer.
    pub reply_to: Option<String>,
    /// What the answer is to be marked with; without it the message's id.
    pub correlation_id: Option<String>,
    /// The message's place in a trace, if its publisher gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

/// Answer to [`Submit`], durable like every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "submit", rename_all = "snake_case")]
pub enum Submitted {
    /// It is a job now, or was one before: go on as if it were its doorbell.
    Accepted {
        /// The job.
        job_id: JobId,
    },
    /// It breaks a rule. Its publisher is told; the message is to be parked.
    Rejected {
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_its_name_in_op() {
        let fence = Fence {
            job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            generation: 3,
            claim_id: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
        };
        let request = Request::from(Renew { fence, mark: 7 });
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(json["op"], request.op());
        assert_eq!(json["op"], "renew");
        assert_eq!(json["fence"]["generation"], 3);
        let back: Request = serde_json::from_value(json).unwrap();
        assert_eq!(back, Request::Renew(Renew { fence, mark: 7 }));
    }

    #[test]
    fn answers_survive_the_wire() {
        let reply = Reply::Answer(Renewed::Held { cancel: true });
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(
            serde_json::from_str::<Reply<Renewed>>(&text).unwrap(),
            reply
        );
        let busy: Reply<Claimed> = Reply::Answer(Claimed::Busy);
        assert_eq!(
            serde_json::from_str::<Reply<Claimed>>(&serde_json::to_string(&busy).unwrap()).unwrap(),
            busy
        );
    }
}
