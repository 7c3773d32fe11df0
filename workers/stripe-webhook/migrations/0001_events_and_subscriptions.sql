-- Each event that Stripe has delivered, once. Times named *_at are Unix seconds.
CREATE TABLE events (
  id TEXT PRIMARY KEY,
  type TEXT NOT NULL,
  -- When Stripe made the event; events arrive in any order.
  created_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  -- Which of several deliveries of the event was the one that took effect.
  delivery_id TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE subscriptions (
  id TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('incomplete', 'active', 'past_due')),
  -- `created_at` of the event that set the status: what is older does not change it.
  status_at INTEGER NOT NULL,
  checkout_session_id TEXT,
  client_reference_id TEXT,
  failed_payments INTEGER NOT NULL DEFAULT 0,
  failed_invoice_id TEXT,
  -- When Stripe tries to collect the failed invoice again, or NULL if it does not.
  next_payment_attempt_at INTEGER
) STRICT;
