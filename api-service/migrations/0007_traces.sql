-- The place in a trace of the request that a job or a message comes of, as W3C's `traceparent` is written: it
-- outlives the request, and goes with every message of the job.
ALTER TABLE jobs ADD COLUMN traceparent TEXT;
ALTER TABLE outbox ADD COLUMN traceparent TEXT;
