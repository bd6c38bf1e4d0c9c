//! The job message: it only names a job; the claim's grant carries the [sheet](super::sheet).

use serde::{Deserialize, Serialize};

use crate::domain::{JobId, JobKind};

/// The schema this code writes and reads.
pub const SCHEMA: &str = "emberkeep.job.v1";

/// A durable doorbell. The row behind `job_id` is the truth; a message too many is answered
/// `duplicate` or `busy`, a lost one is sent again by the reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The job to claim.
    pub job_id: JobId,
    /// For logs and routing; the row decides.
    pub kind: JobKind,
}

impl JobMessage {
    /// The message for one job.
    #[must_use]
    pub fn new(job_id: JobId, kind: JobKind) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            job_id,
            kind,
        }
    }
}
