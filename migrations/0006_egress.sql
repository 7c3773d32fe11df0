-- Which hosts the workers of an account may call: JSON arrays of patterns. No row: all.

CREATE TABLE egress_rules (
  account_id TEXT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
  allow TEXT NOT NULL,
  deny TEXT NOT NULL
);
