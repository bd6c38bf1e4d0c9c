-- Requests that other services published, under the ids they chose: a repeat is answered from here. Kept as long as
-- the job, and for `jobs.tombstone_age` at least.
CREATE TABLE publisher_requests (
    job_id     TEXT   NOT NULL PRIMARY KEY,
    -- The broker's login of its publisher.
    login      TEXT   NOT NULL,
    -- The request (JSON, members sorted): another one under the same id is refused.
    request    TEXT   NOT NULL,
    backup_id  TEXT,
    volume_id  TEXT,
    -- Of a rejected one: why.
    code       TEXT,
    message    TEXT,
    created_at BIGINT NOT NULL
);
