-- What an account, or one of its scripts, may use in a day or a month. How much of it is used is kept by the
-- account's object: see src/usage/budgets/object.ts.
CREATE TABLE budgets (
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  -- NULL: all of the account's. A name and no reference: the budget outlives the script and holds for the
  -- next one of the name.
  script_name TEXT,
  unit TEXT NOT NULL CHECK (unit IN ('invocations', 'cpu_ms', 'usd')),
  amount REAL NOT NULL,
  -- of budgets in dollars: JSON, see Rates
  rates TEXT,
  period TEXT NOT NULL CHECK (period IN ('day', 'month')),
  -- JSON array of shares of the amount
  warn_at TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN ('warn', 'throttle', 'stop')),
  throttle_per_second INTEGER,
  webhook TEXT,
  -- sealed
  webhook_secret TEXT,
  created_at TEXT NOT NULL,
  modified_at TEXT NOT NULL,
  PRIMARY KEY (account_id, name)
) WITHOUT ROWID;
