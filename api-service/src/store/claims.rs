//! Generations: every execution that was ever granted.

use common::domain::{ClaimId, JobId};
use common::messages::rpc::Claim;

use super::jobs::JobRow;
use super::row::{Columns, micros, stored};
use super::{StoreError, Tx, failed};

/// How an execution's lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GenerationEnd {
    /// It was not renewed, or its worker started again.
    Lease,
    /// It was given back.
    Released,
    /// The job is settled.
    Settled,
}

impl GenerationEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Released => "released",
            Self::Settled => "settled",
        }
    }
}

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GenerationRow {
    pub(crate) generation: u64,
    pub(crate) claim_id: ClaimId,
    pub(crate) attempt: Option<u32>,
    pub(crate) ended: Option<GenerationEnd>,
}

impl Tx {
    /// The execution that a claim was granted, if any.
    pub(crate) async fn generation_of_claim(
        &mut self,
        job: JobId,
        claim: ClaimId,
    ) -> Result<Option<GenerationRow>, StoreError> {
        let row = sqlx::query(
            "SELECT generation, claim_id, attempt, ended FROM generations \
             WHERE job_id = $1 AND claim_id = $2",
        )
        .bind(job.to_string())
        .bind(claim.to_string())
        .fetch_optional(self.conn())
        .await
        .map_err(failed("look a claim up"))?;
        let Some(row) = row else { return Ok(None) };
        let row = Columns(&row);
        let ended = match row.opt_text("ended")?.as_deref() {
            Some("lease") => Some(GenerationEnd::Lease),
            Some("released") => Some(GenerationEnd::Released),
            Some(_) => Some(GenerationEnd::Settled),
            None => None,
        };
        Ok(Some(GenerationRow {
            generation: row.count("generation")?,
            claim_id: row.word("claim_id")?,
            attempt: row.opt_small("attempt")?,
            ended,
        }))
    }

    /// Notes an execution that was granted just now. `job` is the row after the grant.
    pub(crate) async fn add_generation(
        &mut self,
        job: &JobRow,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO generations (job_id, generation, claim_id, worker, incarnation, attempt, \
             granted_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(job.id.to_string())
        .bind(stored(job.generation))
        .bind(claim.claim_id.to_string())
        .bind(claim.worker.to_string())
        .bind(claim.incarnation.to_string())
        .bind(job.attempt.map(i64::from))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("note an execution"))?;
        Ok(())
    }

    /// Ends an execution's lease, if it has not ended.
    pub(crate) async fn end_generation(
        &mut self,
        job: &JobRow,
        end: GenerationEnd,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE generations SET ended = $3 WHERE job_id = $1 AND generation = $2 \
             AND ended IS NULL",
        )
        .bind(job.id.to_string())
        .bind(stored(job.generation))
        .bind(end.as_str())
        .execute(self.conn())
        .await
        .map_err(failed("end an execution"))?;
        Ok(())
    }

    /// An execution went on to another attempt.
    pub(crate) async fn move_generation(
        &mut self,
        job: &JobRow,
        attempt: u32,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE generations SET attempt = $3 WHERE job_id = $1 AND generation = $2")
            .bind(job.id.to_string())
            .bind(stored(job.generation))
            .bind(i64::from(attempt))
            .execute(self.conn())
            .await
            .map_err(failed("note an execution's attempt"))?;
        Ok(())
    }
}
