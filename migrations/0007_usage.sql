-- What has run, by the minute in which it ended. Executors add to it in batches, about two a second: see
-- src/usage/ledger.ts. It stays when a script is deleted. In time the minutes of an hour become the hour's
-- first, and its hours the day's: see src/usage/roll-up.ts.
CREATE TABLE usage (
  account_id TEXT NOT NULL,
  script_name TEXT NOT NULL,
  version_id TEXT NOT NULL,
  trigger TEXT NOT NULL,
  -- minutes since 1970
  minute INTEGER NOT NULL,
  invocations INTEGER NOT NULL,
  -- those of them whose outcome was not ok
  errors INTEGER NOT NULL,
  wall_time_ms INTEGER NOT NULL,
  cpu_time_us INTEGER NOT NULL,
  subrequests INTEGER NOT NULL,
  request_bytes INTEGER NOT NULL,
  response_bytes INTEGER NOT NULL,
  PRIMARY KEY (account_id, script_name, version_id, trigger, minute)
) WITHOUT ROWID;

-- What is still to be rolled up.
CREATE INDEX usage_minutes ON usage (minute) WHERE minute % 60 <> 0;
CREATE INDEX usage_hours ON usage (minute) WHERE minute % 1440 <> 0;

-- Calls of bindings, such as "kv.get".
CREATE TABLE usage_operations (
  account_id TEXT NOT NULL,
  script_name TEXT NOT NULL,
  version_id TEXT NOT NULL,
  trigger TEXT NOT NULL,
  minute INTEGER NOT NULL,
  operation TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (account_id, script_name, version_id, trigger, minute, operation)
) WITHOUT ROWID;

CREATE INDEX usage_operations_minutes ON usage_operations (minute) WHERE minute % 60 <> 0;
CREATE INDEX usage_operations_hours ON usage_operations (minute) WHERE minute % 1440 <> 0;

-- Batches that are in, so that one that is sent again because its answer was lost is not counted twice.
CREATE TABLE usage_batches (
  id TEXT PRIMARY KEY,
  -- milliseconds since 1970
  at INTEGER NOT NULL
) WITHOUT ROWID;
