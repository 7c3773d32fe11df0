CREATE TABLE orders (
  id TEXT PRIMARY KEY,
  -- ISO 8601 in UTC
  placed_at TEXT NOT NULL,
  product TEXT NOT NULL,
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  -- ISO 4217, and the amount in its smallest unit
  currency TEXT NOT NULL CHECK (length(currency) = 3),
  amount INTEGER NOT NULL
);

CREATE INDEX orders_by_time ON orders (placed_at);
