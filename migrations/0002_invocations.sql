-- One row per finished invocation, the newest only: see src/catalog/invocations.ts for how long.
CREATE TABLE invocations (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  script_name TEXT NOT NULL,
  version_id TEXT NOT NULL,
  trigger TEXT NOT NULL,
  started_at TEXT NOT NULL,
  wall_time_ms INTEGER NOT NULL,
  start_kind TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER
) WITHOUT ROWID;

CREATE INDEX invocations_by_script ON invocations (account_id, script_name, started_at DESC);
CREATE INDEX invocations_by_age ON invocations (started_at);
