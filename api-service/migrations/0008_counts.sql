-- What is counted at each request is counted in an index alone, not row by row: with 10,000 backups of one project that is a
-- fraction of the time, and a request has the writer's turn meanwhile.
CREATE INDEX backups_counted ON backups (project_id, deleted_at, size_gib) WHERE deleted_at IS NULL;
CREATE INDEX volumes_counted ON volumes (project_id, deleted_at, size_gib) WHERE deleted_at IS NULL;
-- Messages that the broker did not take; there are few.
CREATE INDEX outbox_tried ON outbox (next_at) WHERE tries > 0;
