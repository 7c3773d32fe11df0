/** Stripe's objects, as far as this worker reads them: https://docs.stripe.com/api/events/object */

/** What every event has. `object` is what it is about, its shape given by `type`. */
export interface StripeEvent {
  id: string;
  type: string;
  /** Unix seconds. */
  created: number;
  object: Record<string, unknown>;
}

/** A checkout that ended with a subscription. */
export interface CompletedCheckout {
  sessionId: string;
  subscriptionId: string;
  customerId: string;
  clientReferenceId: string | null;
  /** False while a payment that takes days, such as a bank debit, is under way. */
  paid: boolean;
}

/** A subscription's invoice that could not be collected. */
export interface FailedInvoice {
  invoiceId: string;
  subscriptionId: string;
  customerId: string;
  /** Unix seconds, or null if Stripe does not try again. */
  nextAttemptAt: number | null;
}

/** The event in the body, or undefined if it is none. */
export function parseEvent(body: string): StripeEvent | undefined {
  let event: unknown;
  try {
    event = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!isRecord(event) || event.object !== "event" || !isRecord(event.data)) return undefined;
  const { id, type, created } = event;
  const { object } = event.data;
  if (typeof id !== "string" || typeof type !== "string" || !isRecord(object)) return undefined;
  if (!Number.isSafeInteger(created)) return undefined;
  return { id, type, created: Number(created), object };
}

/** The checkout of a `checkout.session.completed`, or undefined if it made no subscription. */
export function toCompletedCheckout(session: StripeEvent["object"]): CompletedCheckout | undefined {
  const sessionId = toId(session.id);
  const subscriptionId = toId(session.subscription);
  const customerId = toId(session.customer);
  if (session.mode !== "subscription" || !sessionId || !subscriptionId || !customerId) {
    return undefined;
  }
  const reference = session.client_reference_id;
  return {
    sessionId,
    subscriptionId,
    customerId,
    clientReferenceId: typeof reference === "string" ? reference : null,
    paid: session.payment_status !== "unpaid",
  };
}

/** The invoice of an `invoice.payment_failed`, or undefined if it is not of a subscription. */
export function toFailedInvoice(invoice: StripeEvent["object"]): FailedInvoice | undefined {
  const invoiceId = toId(invoice.id);
  const customerId = toId(invoice.customer);
  // Until API version 2025-03-31 the subscription was a field of the invoice itself.
  const parent = isRecord(invoice.parent) ? invoice.parent.subscription_details : undefined;
  const subscriptionId = toId(isRecord(parent) ? parent.subscription : invoice.subscription);
  if (!invoiceId || !subscriptionId || !customerId) return undefined;
  const next = invoice.next_payment_attempt;
  return {
    invoiceId,
    subscriptionId,
    customerId,
    nextAttemptAt: typeof next === "number" ? next : null,
  };
}

// A reference is an id, or the object itself where the endpoint was set up to expand it.
function toId(reference: unknown): string | undefined {
  const id = isRecord(reference) ? reference.id : reference;
  return typeof id === "string" && id !== "" ? id : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
