-- A chain may be imported in any order, so a backup's parent may be a row that is not here yet.
-- Neither SQLite nor PostgreSQL lets a reference name a row that may be missing: the column is made
-- anew without one. That a parent is not deleted under its increments is a rule of the store.
DROP INDEX backups_by_parent;
ALTER TABLE backups ADD COLUMN parent TEXT;
UPDATE backups SET parent = parent_id;
ALTER TABLE backups DROP COLUMN parent_id;
ALTER TABLE backups RENAME COLUMN parent TO parent_id;
CREATE INDEX backups_by_parent ON backups (parent_id) WHERE deleted_at IS NULL;
-- Attempts that share their names (imports): looked for before a record is taken in.
CREATE INDEX attempts_by_prefix ON attempts (container, prefix);
