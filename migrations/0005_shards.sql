-- Which shard keeps the database's data: fixed when it is made.
ALTER TABLE databases ADD COLUMN shard INTEGER NOT NULL DEFAULT 1;

CREATE INDEX databases_by_shard ON databases (shard);
