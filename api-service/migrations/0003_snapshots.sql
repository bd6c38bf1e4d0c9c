-- Snapshots that owners asked for. The bytes lie beside their volume's, under `source`; a volume with
-- a live one cannot be deleted. Deleted rows stay as tombstones, so that what a stale execution makes
-- later can still be named.
CREATE TABLE snapshots (
    id          TEXT   NOT NULL PRIMARY KEY,
    project_id  TEXT   NOT NULL,
    user_id     TEXT   NOT NULL,
    volume_id   TEXT   NOT NULL REFERENCES volumes (id),
    status      TEXT   NOT NULL,
    -- Of its volume, when it was taken.
    size_gib    BIGINT NOT NULL,
    -- Its name on the volume's backend, written before anything has it.
    source      TEXT   NOT NULL,
    name        TEXT,
    description TEXT,
    metadata    TEXT   NOT NULL,
    -- The job that brought it into a working status; only that job may bring it out again.
    job_id      TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT,
    deleted_at  BIGINT
);
CREATE INDEX snapshots_by_project ON snapshots (project_id, created_at) WHERE deleted_at IS NULL;
CREATE INDEX snapshots_by_volume ON snapshots (volume_id) WHERE deleted_at IS NULL;

-- The snapshot a job makes, removes or reads; what it makes or reads nobody else has meanwhile.
ALTER TABLE jobs ADD COLUMN snapshot_id TEXT REFERENCES snapshots (id);
CREATE UNIQUE INDEX jobs_one_per_snapshot ON jobs (snapshot_id) WHERE state <> 'settled' AND kind <> 'clean';

-- The snapshot a volume was filled from.
ALTER TABLE volumes ADD COLUMN snapshot_id TEXT;
