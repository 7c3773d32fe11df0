CREATE TABLE users (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  -- Counts the changes; the ETag of the user.
  version INTEGER NOT NULL DEFAULT 1,
  -- ISO 8601, UTC, to the millisecond.
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

-- The order of the list, oldest first.
CREATE INDEX users_by_creation ON users (created_at, id);
