//! The job message: it only names a job; the claim's grant carries the [sheet](super::sheet).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{JobId, JobKind};

/// The schema this code writes and reads.
pub const SCHEMA: &str = "emberkeep.job.v1";

/// A durable doorbell. The row behind `job_id` is the truth; a message too many is answered
/// `duplicate` or `busy`, a lost one is sent again by the reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobMessage {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
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

    /// Reads a message; `None` when it is no doorbell. Members that a newer side adds are passed over.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let message: Self = serde_json::from_slice(body).ok()?;
        (message.schema == SCHEMA).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_doorbell_is_not_read_as_one() {
        for body in [
            &b""[..],
            b"\xff\xfe",
            b"[]",
            br#"{"schema": "emberkeep.job.v1", "job_id": 7, "kind": "backup"}"#,
            br#"{"schema": "emberkeep.job.v9", "job_id": "01890a5d-ac96-774b-bcce-b302099a8057", "kind": "backup"}"#,
        ] {
            assert_eq!(JobMessage::read(body), None);
        }
    }

    #[test]
    fn fields_that_a_newer_publisher_adds_are_passed_over() {
        let job = JobMessage::new(JobId::new(), JobKind::Backup);
        let mut value = serde_json::to_value(&job).unwrap();
        value["priority"] = serde_json::json!(3);
        assert_eq!(JobMessage::read(value.to_string().as_bytes()), Some(job));
    }
}
