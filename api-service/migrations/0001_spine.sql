-- The state owner's rows. Statements and types are those that SQLite and PostgreSQL share:
-- ids and JSON are TEXT, times are BIGINT microseconds since 1970 UTC, booleans are BIGINT 0 or 1.

-- A block device as its owner sees it. The bytes are on a worker's side, below `backend`'s root.
-- Deleted rows stay as tombstones, so that clean-up can still name the backend of an attempt.
CREATE TABLE volumes (
    id                TEXT   NOT NULL PRIMARY KEY,
    project_id        TEXT   NOT NULL,
    user_id           TEXT   NOT NULL,
    status            TEXT   NOT NULL,
    -- What `backing-up` will go back to.
    previous_status   TEXT,
    size_gib          BIGINT NOT NULL,
    backend           TEXT   NOT NULL,
    source            TEXT   NOT NULL,
    availability_zone TEXT   NOT NULL,
    name              TEXT,
    description       TEXT,
    metadata          TEXT   NOT NULL,
    attachments       TEXT   NOT NULL,
    bootable          BIGINT NOT NULL,
    -- The job that brought it into a working status; only that job may bring it out again.
    job_id            TEXT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT,
    deleted_at        BIGINT
);
CREATE INDEX volumes_by_project ON volumes (project_id, created_at) WHERE deleted_at IS NULL;
-- Two records of one file would let one owner read the other's bytes.
CREATE UNIQUE INDEX volumes_one_per_source ON volumes (backend, source) WHERE deleted_at IS NULL;

-- A backup as its owner sees it. `container` and `prefix` are those of the attempt that counts.
-- `deleted` rows are tombstones until `jobs.tombstone_age`. How many depend on a backup is counted
-- from the live rows that name it as their parent; no number of it is stored.
CREATE TABLE backups (
    id                TEXT   NOT NULL PRIMARY KEY,
    project_id        TEXT   NOT NULL,
    user_id           TEXT   NOT NULL,
    volume_id         TEXT   NOT NULL,
    status            TEXT   NOT NULL,
    size_gib          BIGINT NOT NULL,
    object_count      BIGINT NOT NULL,
    availability_zone TEXT,
    container         TEXT,
    prefix            TEXT,
    name              TEXT,
    description       TEXT,
    fail_reason       TEXT,
    parent_id         TEXT REFERENCES backups (id),
    snapshot_id       TEXT,
    data_timestamp    BIGINT,
    metadata          TEXT   NOT NULL,
    restore_volume_id TEXT,
    -- 1 once a worker was granted a delete of it: its objects may be gone in part.
    delete_began      BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT,
    deleted_at        BIGINT
);
CREATE INDEX backups_by_project ON backups (project_id, created_at) WHERE deleted_at IS NULL;
CREATE INDEX backups_by_volume ON backups (volume_id) WHERE deleted_at IS NULL;
CREATE INDEX backups_by_parent ON backups (parent_id) WHERE deleted_at IS NULL;
-- Records that share their objects (imports): found before anything under a prefix is removed.
CREATE INDEX backups_by_prefix ON backups (container, prefix) WHERE deleted_at IS NULL;

-- One lineage of data of a backup: all names it may use, written before any of them exists.
-- Clean-up walks these rows, and nothing is ever found by guessing or listing.
CREATE TABLE attempts (
    backup_id         TEXT   NOT NULL REFERENCES backups (id),
    number            BIGINT NOT NULL,
    container         TEXT   NOT NULL,
    prefix            TEXT   NOT NULL,
    -- The time in the prefix; a later attempt has a strictly later one.
    prefix_time       BIGINT NOT NULL,
    -- Null for an imported backup, which has neither.
    snapshot          TEXT,
    scratch           TEXT,
    -- How objects are made (JSON), fixed for the attempt.
    options           TEXT   NOT NULL,
    -- Which snapshot the data comes from, once a worker has frozen it.
    identity          TEXT,
    taken_at          BIGINT,
    codec_fingerprint TEXT,
    -- live, committed, abandoned (a later attempt took over), given_up, deleted
    state             TEXT   NOT NULL,
    -- The first generation that was granted it, and whether others followed: then there may be
    -- strays of the earlier ones.
    first_generation  BIGINT,
    two_generations   BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    -- When the last clean job of it was done.
    cleaned_at        BIGINT,
    PRIMARY KEY (backup_id, number)
);

-- One unit of work. A worker holds its lease by (id, generation, claim_id); no time of a lease is
-- stored, only how often it was renewed.
CREATE TABLE jobs (
    id               TEXT   NOT NULL PRIMARY KEY,
    kind             TEXT   NOT NULL,
    -- queued, running, committing, settled
    state            TEXT   NOT NULL,
    -- Of a settled job: done, cancelled, failed, skipped.
    outcome          TEXT,
    fail_reason      TEXT,
    -- The queue it waits in is (kind, zone, backend).
    zone             TEXT   NOT NULL,
    backend          TEXT   NOT NULL,
    backup_id        TEXT REFERENCES backups (id),
    volume_id        TEXT REFERENCES volumes (id),
    -- The attempt a backup job works on, or a clean job cleans.
    attempt          BIGINT,
    -- What only one kind of job needs (JSON): a volume's action, whether a restore's target is new.
    details          TEXT   NOT NULL,
    project_id       TEXT   NOT NULL,
    user_id          TEXT   NOT NULL,
    request_id       TEXT,
    -- The execution that was granted last, and to whom.
    generation       BIGINT NOT NULL,
    claim_id         TEXT,
    worker           TEXT,
    incarnation      TEXT,
    renewals         BIGINT NOT NULL,
    -- Executions since the mark last moved.
    failures         BIGINT NOT NULL,
    -- Sealed bytes of the attempt, and when that last grew (at first: when the job was made).
    mark             BIGINT NOT NULL,
    mark_at          BIGINT NOT NULL,
    -- Whether the last generation ended by `release`.
    released         BIGINT NOT NULL,
    last_error       TEXT,
    cancel_requested BIGINT NOT NULL,
    -- Why it is given up, for the owner, and since when; from then on only clean-up is left.
    give_up          TEXT,
    give_up_at       BIGINT,
    created_at       BIGINT NOT NULL,
    queued_at        BIGINT NOT NULL,
    -- Not to be granted before.
    next_at          BIGINT,
    -- When its message was last confirmed by the broker, and how often that was repeated since it
    -- was queued.
    published_at     BIGINT,
    republished      BIGINT NOT NULL,
    settled_at       BIGINT
);
-- The two laws that keep jobs out of each other's way. A clean job is in nobody's way.
CREATE UNIQUE INDEX jobs_one_per_backup ON jobs (backup_id) WHERE state <> 'settled' AND kind <> 'clean';
CREATE UNIQUE INDEX jobs_one_per_volume ON jobs (volume_id) WHERE state <> 'settled' AND kind <> 'clean';
CREATE INDEX jobs_unsettled ON jobs (state, queued_at) WHERE state <> 'settled';
CREATE INDEX jobs_by_attempt ON jobs (backup_id, attempt);

-- Every execution ever granted: a repeated claim finds its answer here, and a stale generation the
-- attempt it may have written to.
CREATE TABLE generations (
    job_id      TEXT   NOT NULL REFERENCES jobs (id),
    generation  BIGINT NOT NULL,
    claim_id    TEXT   NOT NULL,
    worker      TEXT   NOT NULL,
    incarnation TEXT   NOT NULL,
    -- The attempt it works on; follows `restart`.
    attempt     BIGINT,
    granted_at  BIGINT NOT NULL,
    -- How it ended: lease, released, finished, settled. Null while it holds the lease.
    ended       TEXT,
    PRIMARY KEY (job_id, generation)
);
CREATE UNIQUE INDEX generations_one_per_claim ON generations (job_id, claim_id);

-- Messages that became true with the transaction that wrote them, until the broker has them.
CREATE TABLE outbox (
    -- The message id; stays the same when the message is sent again.
    id             TEXT   NOT NULL PRIMARY KEY,
    exchange       TEXT   NOT NULL,
    routing_key    TEXT   NOT NULL,
    message_type   TEXT   NOT NULL,
    content_type   TEXT   NOT NULL,
    correlation_id TEXT,
    body           TEXT   NOT NULL,
    -- The job whose doorbell this is; null for an event.
    job_id         TEXT,
    created_at     BIGINT NOT NULL,
    next_at        BIGINT NOT NULL,
    tries          BIGINT NOT NULL,
    last_error     TEXT
);
CREATE INDEX outbox_due ON outbox (next_at, id);

-- A project's own limits, where they differ from the configured ones. -1 is no limit.
CREATE TABLE quotas (
    project_id TEXT   NOT NULL,
    resource   TEXT   NOT NULL,
    hard_limit BIGINT NOT NULL,
    PRIMARY KEY (project_id, resource)
);

-- Every worker and zone ever seen. A zone in here may come back, so its jobs are queued; one that
-- is not has nobody to wait for. Written when a worker appears, changes or goes, not at each heartbeat.
CREATE TABLE workers (
    name            TEXT   NOT NULL,
    zone            TEXT   NOT NULL,
    incarnation     TEXT   NOT NULL,
    volume_backends TEXT   NOT NULL,
    targets         TEXT   NOT NULL,
    version         TEXT   NOT NULL,
    first_seen      BIGINT NOT NULL,
    last_seen       BIGINT NOT NULL,
    stopped_at      BIGINT,
    PRIMARY KEY (name, zone)
);
