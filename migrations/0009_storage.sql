-- What accounts hold, in bytes: a row for each measurement that found another number than the one before. It
-- holds until the next. See src/usage/storage/samples.ts.
CREATE TABLE storage_samples (
  account_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  -- milliseconds since 1970
  at INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (account_id, kind, at)
) WITHOUT ROWID;
