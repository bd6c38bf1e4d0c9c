-- What a row's jobs once told is told by the row itself, so that settled jobs can go when their time
-- is over.

-- 1 once a worker was granted a job that makes the volume: there may be data to remove.
ALTER TABLE volumes ADD COLUMN make_began BIGINT NOT NULL DEFAULT 1;
UPDATE volumes SET make_began = 0 WHERE status IN ('creating', 'error') AND NOT EXISTS (
    SELECT 1 FROM jobs j WHERE j.volume_id = volumes.id AND j.generation > 0
    AND j.kind IN ('volume', 'restore'));

-- The most executions that any one job to make or remove the snapshot was granted: none, and there is
-- nothing; several, and a stale one may make it once more.
ALTER TABLE snapshots ADD COLUMN generations BIGINT NOT NULL DEFAULT 0;
UPDATE snapshots SET generations = COALESCE((
    SELECT MAX(j.generation) FROM jobs j WHERE j.snapshot_id = snapshots.id AND j.kind = 'volume'), 0);

-- Settled jobs in the order in which they go.
CREATE INDEX jobs_settled ON jobs (settled_at) WHERE state = 'settled';
-- What still refers to a tombstone.
CREATE INDEX jobs_by_volume ON jobs (volume_id);
CREATE INDEX jobs_by_snapshot ON jobs (snapshot_id);
CREATE INDEX snapshots_any_by_volume ON snapshots (volume_id);
CREATE INDEX backups_any_by_volume ON backups (volume_id);
CREATE INDEX backups_any_by_parent ON backups (parent_id);
CREATE INDEX backups_deleted ON backups (deleted_at) WHERE deleted_at IS NOT NULL;
-- A job's doorbells are taken back when it settles.
CREATE INDEX outbox_by_job ON outbox (job_id);
