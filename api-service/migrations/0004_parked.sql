-- Messages that nobody could handle, taken over from the broker's queue `bk.v1.parked`, for a person
-- to look at: sent once more (`redrive`) or dropped.
CREATE TABLE parked (
    id             TEXT   NOT NULL PRIMARY KEY,
    -- As its publisher wrote it.
    message_id     TEXT,
    exchange       TEXT   NOT NULL,
    routing_key    TEXT   NOT NULL,
    message_type   TEXT   NOT NULL,
    content_type   TEXT   NOT NULL,
    correlation_id TEXT,
    headers        TEXT   NOT NULL,
    -- Base64: it may be any bytes.
    body           TEXT   NOT NULL,
    -- Why, as a word and as a sentence.
    code           TEXT   NOT NULL,
    reason         TEXT   NOT NULL,
    published_by   TEXT,
    parked_at      BIGINT NOT NULL
);
