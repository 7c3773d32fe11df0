-- One row per finished invocation, the newest only: see src/catalog/invocations.ts for how many.
CREATE TABLE invocations (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  script_name TEXT NOT NULL,
  version_id TEXT NOT NULL,
  trigger TEXT NOT NULL,
  -- milliseconds since 1970
  started_at INTEGER NOT NULL,
  wall_time_ms INTEGER NOT NULL,
  start_kind TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER
);

CREATE INDEX invocations_by_script ON invocations (account_id, script_name, seq);
