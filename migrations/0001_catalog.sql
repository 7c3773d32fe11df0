-- The catalog: the platform's own records. User data is elsewhere (KV, R2, one object per database).
-- Times are ISO 8601 in UTC. Shapes that are only ever read whole are JSON.

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  subdomain TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL
);

-- A token's secret is never stored: token_hash is SHA-256 of it, in hex.
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  access TEXT NOT NULL CHECK (access IN ('read', 'write')),
  created_at TEXT NOT NULL,
  revoked_at TEXT
);

CREATE TABLE zones (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL
);

CREATE TABLE scripts (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  created_at TEXT NOT NULL,
  modified_at TEXT NOT NULL,
  workers_dev INTEGER NOT NULL DEFAULT 0,
  previews INTEGER NOT NULL DEFAULT 0,
  -- tags, logpush, observability, tail_consumers: what is set per script and not per version
  settings TEXT NOT NULL DEFAULT '{}',
  UNIQUE (account_id, name)
);

-- Immutable. modules is [{name, type, hash, size}], bindings are Cloudflare's shapes without secret texts.
CREATE TABLE versions (
  id TEXT PRIMARY KEY,
  script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  source TEXT NOT NULL,
  author TEXT NOT NULL,
  upload_hash TEXT NOT NULL,
  main_module TEXT NOT NULL,
  modules TEXT NOT NULL,
  bindings TEXT NOT NULL,
  compatibility_date TEXT NOT NULL,
  compatibility_flags TEXT NOT NULL,
  annotations TEXT NOT NULL,
  handlers TEXT NOT NULL,
  -- what else the upload said: placement, limits, mayfly's own settings, package_dependencies …
  metadata TEXT NOT NULL,
  startup_time_ms INTEGER NOT NULL,
  -- How it is run, decided when it was made: what dispatch must know before loading it.
  isolation TEXT NOT NULL CHECK (isolation IN ('request', 'shared')),
  wall_time_ms INTEGER NOT NULL,
  code_bytes INTEGER NOT NULL,
  UNIQUE (script_id, number)
);

-- Content-addressed code: the bytes are in the bucket under code/<hash>.
CREATE TABLE modules (
  hash TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  created_at TEXT NOT NULL
);

-- AES-GCM under a key that the database never sees.
CREATE TABLE secrets (
  version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  ciphertext TEXT NOT NULL,
  PRIMARY KEY (version_id, name)
);

CREATE TABLE deployments (
  id TEXT PRIMARY KEY,
  script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  source TEXT NOT NULL,
  author TEXT NOT NULL,
  annotations TEXT NOT NULL,
  -- [{version_id, percentage}], percentages add up to 100
  versions TEXT NOT NULL,
  UNIQUE (script_id, number)
);

CREATE TABLE routes (
  id TEXT PRIMARY KEY,
  zone_id TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
  -- NULL: a route that keeps requests away from any worker
  script_id TEXT REFERENCES scripts (id) ON DELETE CASCADE,
  pattern TEXT NOT NULL,
  -- the pattern's host, a wildcard's asterisk included
  host TEXT NOT NULL,
  UNIQUE (zone_id, pattern)
);

CREATE TABLE domains (
  id TEXT PRIMARY KEY,
  zone_id TEXT NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
  script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
  hostname TEXT NOT NULL UNIQUE
);

-- number is the key prefix in the platform's own namespace or bucket: short, never given twice.
CREATE TABLE kv_namespaces (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  title TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (account_id, title)
);

CREATE TABLE buckets (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  storage_class TEXT NOT NULL DEFAULT 'Standard',
  location TEXT,
  created_at TEXT NOT NULL,
  cors TEXT NOT NULL DEFAULT '[]',
  lifecycle TEXT NOT NULL DEFAULT '[]',
  UNIQUE (account_id, name)
);

CREATE TABLE databases (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (account_id, name)
);

-- Data whose owner is gone, still to be removed: prefix is a namespace's or bucket's.
CREATE TABLE garbage (
  store TEXT NOT NULL CHECK (store IN ('kv', 'r2')),
  prefix TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (store, prefix)
);

CREATE INDEX versions_by_script ON versions (script_id, number DESC);
CREATE INDEX deployments_by_script ON deployments (script_id, number DESC);
CREATE INDEX routes_by_host ON routes (zone_id, host);
CREATE INDEX routes_by_script ON routes (script_id);
CREATE INDEX domains_by_script ON domains (script_id);
