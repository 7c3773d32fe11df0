import { toCompletedCheckout, toFailedInvoice, type StripeEvent } from "./event.ts";

/** What is known of a subscription, as answered by the API. */
export interface Subscription {
  id: string;
  customer_id: string;
  status: "incomplete" | "active" | "past_due";
  status_at: number;
  checkout_session_id: string | null;
  client_reference_id: string | null;
  failed_payments: number;
  failed_invoice_id: string | null;
  next_payment_attempt_at: number | null;
}

/**
 * Records the event together with its effect, in one transaction, unless it was recorded before.
 * Says whether this delivery was the first.
 */
export async function recordEvent(
  db: D1Database,
  event: StripeEvent,
  body: string,
): Promise<boolean> {
  const deliveryId = crypto.randomUUID();
  const record = db
    .prepare(
      `INSERT INTO events (id, type, created_at, received_at, delivery_id, body)
       VALUES (?1, ?2, ?3, unixepoch(), ?4, ?5)
       ON CONFLICT (id) DO NOTHING`,
    )
    .bind(event.id, event.type, event.created, deliveryId, body);
  const effect = toEffect(db, event, deliveryId);
  const [recorded] = await db.batch(effect ? [record, effect] : [record]);
  return recorded?.meta.changes === 1;
}

/** The subscription, or null if no event told of it. */
export async function findSubscription(db: D1Database, id: string): Promise<Subscription | null> {
  return db.prepare("SELECT * FROM subscriptions WHERE id = ?").bind(id).first<Subscription>();
}

function toEffect(
  db: D1Database,
  event: StripeEvent,
  deliveryId: string,
): D1PreparedStatement | undefined {
  if (event.type === "checkout.session.completed") {
    return completeCheckout(db, event, deliveryId);
  }
  if (event.type === "invoice.payment_failed") {
    return failPayment(db, event, deliveryId);
  }
  return undefined;
}

// Both effects select from the event's own row: if another delivery wrote it, there is none and
// nothing happens. `WHERE` is needed anyway, for `ON CONFLICT` to be parsed after a SELECT.

function completeCheckout(
  db: D1Database,
  event: StripeEvent,
  deliveryId: string,
): D1PreparedStatement | undefined {
  const checkout = toCompletedCheckout(event.object);
  if (!checkout) return undefined;
  return db
    .prepare(
      `INSERT INTO subscriptions
         (id, customer_id, status, status_at, checkout_session_id, client_reference_id)
       SELECT ?1, ?2, ?3, created_at, ?4, ?5 FROM events WHERE id = ?6 AND delivery_id = ?7
       ON CONFLICT (id) DO UPDATE SET
         checkout_session_id = excluded.checkout_session_id,
         client_reference_id = excluded.client_reference_id,
         status = iif(excluded.status_at >= status_at, excluded.status, status),
         status_at = max(excluded.status_at, status_at)`,
    )
    .bind(
      checkout.subscriptionId,
      checkout.customerId,
      checkout.paid ? "active" : "incomplete",
      checkout.sessionId,
      checkout.clientReferenceId,
      event.id,
      deliveryId,
    );
}

function failPayment(
  db: D1Database,
  event: StripeEvent,
  deliveryId: string,
): D1PreparedStatement | undefined {
  const invoice = toFailedInvoice(event.object);
  if (!invoice) return undefined;
  return db
    .prepare(
      `INSERT INTO subscriptions
         (id, customer_id, status, status_at, failed_payments, failed_invoice_id,
          next_payment_attempt_at)
       SELECT ?1, ?2, 'past_due', created_at, 1, ?3, ?4 FROM events
       WHERE id = ?5 AND delivery_id = ?6
       ON CONFLICT (id) DO UPDATE SET
         failed_payments = failed_payments + 1,
         failed_invoice_id =
           iif(excluded.status_at >= status_at, excluded.failed_invoice_id, failed_invoice_id),
         next_payment_attempt_at = iif(excluded.status_at >= status_at,
           excluded.next_payment_attempt_at, next_payment_attempt_at),
         status = iif(excluded.status_at >= status_at, excluded.status, status),
         status_at = max(excluded.status_at, status_at)`,
    )
    .bind(
      invoice.subscriptionId,
      invoice.customerId,
      invoice.invoiceId,
      invoice.nextAttemptAt,
      event.id,
      deliveryId,
    );
}
