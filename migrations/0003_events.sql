-- What causes events besides HTTP. Messages, runs and intents are in objects of their own, one for
-- each queue, one for all schedules, one for each bucket with notifications.

CREATE TABLE queues (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  name TEXT NOT NULL,
  created_at TEXT NOT NULL,
  modified_at TEXT NOT NULL,
  -- seconds
  delivery_delay INTEGER NOT NULL DEFAULT 0,
  message_retention_period INTEGER NOT NULL DEFAULT 345600,
  delivery_paused INTEGER NOT NULL DEFAULT 0,
  purged_at TEXT,
  UNIQUE (account_id, name)
);

-- A queue has one consumer at most. settings has the API's names and units; what is missing there has
-- the default of its type. The dead letter queue is a name: it may be made later.
CREATE TABLE queue_consumers (
  id TEXT PRIMARY KEY,
  queue_id TEXT NOT NULL UNIQUE REFERENCES queues (id) ON DELETE CASCADE,
  type TEXT NOT NULL CHECK (type IN ('worker', 'http_pull')),
  -- of a worker
  script_id TEXT REFERENCES scripts (id) ON DELETE CASCADE,
  dead_letter_queue TEXT,
  settings TEXT NOT NULL,
  created_at TEXT NOT NULL
);

CREATE TABLE schedules (
  script_id TEXT NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
  cron TEXT NOT NULL,
  created_at TEXT NOT NULL,
  modified_at TEXT NOT NULL,
  PRIMARY KEY (script_id, cron)
);

-- One row per rule. actions is a JSON array of Cloudflare's action names.
CREATE TABLE bucket_notifications (
  rule_id TEXT PRIMARY KEY,
  bucket_number INTEGER NOT NULL REFERENCES buckets (number) ON DELETE CASCADE,
  queue_id TEXT NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
  prefix TEXT NOT NULL,
  suffix TEXT NOT NULL,
  actions TEXT NOT NULL,
  description TEXT,
  created_at TEXT NOT NULL
);

-- Whose changes go to which queue. script_id: declared by that script's deployment; NULL: by the API.
CREATE TABLE database_subscriptions (
  id TEXT PRIMARY KEY,
  database_id TEXT NOT NULL REFERENCES databases (id) ON DELETE CASCADE,
  table_name TEXT NOT NULL,
  queue_id TEXT NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
  -- a JSON array of insert, update, delete
  operations TEXT NOT NULL,
  script_id TEXT REFERENCES scripts (id) ON DELETE CASCADE,
  created_at TEXT NOT NULL
);

CREATE UNIQUE INDEX database_subscriptions_of_api ON database_subscriptions (database_id, lower(table_name), queue_id)
WHERE script_id IS NULL;

-- What each database's object was told last of its subscriptions, as JSON; '' while it is told.
CREATE TABLE database_feeds (
  database_id TEXT PRIMARY KEY REFERENCES databases (id) ON DELETE CASCADE,
  told TEXT NOT NULL
);

CREATE INDEX queue_consumers_by_script ON queue_consumers (script_id);
CREATE INDEX bucket_notifications_by_bucket ON bucket_notifications (bucket_number);
CREATE INDEX bucket_notifications_by_queue ON bucket_notifications (queue_id);
CREATE INDEX database_subscriptions_by_database ON database_subscriptions (database_id);
CREATE INDEX database_subscriptions_by_queue ON database_subscriptions (queue_id);
CREATE INDEX database_subscriptions_by_script ON database_subscriptions (script_id);
