-- One row for each change of a row. A message that comes twice has the same id.
CREATE TABLE audit (
  message_id TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,
  -- When the change was made: ISO 8601, UTC.
  at TEXT NOT NULL,
  order_id TEXT NOT NULL,
  table_name TEXT NOT NULL,
  operation TEXT NOT NULL,
  -- JSON: by column what it was and what it became.
  changes TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_order ON audit (order_id, sequence);
