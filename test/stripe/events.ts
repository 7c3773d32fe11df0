// Whole events in the shape that Stripe sends (https://docs.stripe.com/api/events/object), with
// invented contents, serialized as Stripe does: indented by two spaces.
import { randomBytes } from "node:crypto";
import { now } from "./sign.ts";

/** An id as Stripe makes them, such as `evt_1…`. */
export function stripeId(prefix: string): string {
  return `${prefix}_1${randomBytes(16).toString("base64").replace(/\W/g, "x").slice(0, 23)}`;
}

interface About {
  /** Id of the event. */
  id?: string;
  /** When Stripe made it, Unix seconds. */
  created?: number;
}

/** Body of an event of any type. */
export function event(type: string, object: object, about: About = {}): string {
  const body = {
    id: about.id ?? stripeId("evt"),
    object: "event",
    api_version: "2025-04-30.basil",
    created: about.created ?? now(),
    data: { object },
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    type,
  };
  return JSON.stringify(body, null, 2);
}

export interface CheckoutOptions extends About {
  subscription: string | null;
  customer?: string;
  mode?: "payment" | "subscription";
  paymentStatus?: "paid" | "unpaid" | "no_payment_required";
  clientReferenceId?: string;
}

/** Body of a `checkout.session.completed`. */
export function checkoutCompleted(options: CheckoutOptions): string {
  const created = (options.created ?? now()) - 95;
  return event(
    "checkout.session.completed",
    {
      id: `cs_test_a1${randomBytes(28).toString("hex")}`,
      object: "checkout.session",
      adaptive_pricing: { enabled: false },
      after_expiration: null,
      allow_promotion_codes: null,
      amount_subtotal: 2900,
      amount_total: 2900,
      automatic_tax: { enabled: false, liability: null, provider: null, status: null },
      billing_address_collection: "auto",
      cancel_url: "https://shop.example/plans",
      client_reference_id: options.clientReferenceId ?? null,
      client_secret: null,
      collected_information: null,
      consent: null,
      consent_collection: null,
      created,
      currency: "eur",
      currency_conversion: null,
      custom_fields: [],
      custom_text: {
        after_submit: null,
        shipping_address: null,
        submit: null,
        terms_of_service_acceptance: null,
      },
      customer: options.customer ?? stripeId("cus"),
      customer_creation: "always",
      customer_details: {
        address: {
          city: "Zürich",
          country: "CH",
          line1: "Limmatquai 4",
          line2: null,
          postal_code: "8001",
          state: null,
        },
        email: "zoë.müller@example.com",
        name: "Zoë Müller 🐝",
        phone: null,
        tax_exempt: "none",
        tax_ids: [],
      },
      customer_email: null,
      discounts: [],
      expires_at: created + 86_400,
      invoice: stripeId("in"),
      invoice_creation: null,
      livemode: false,
      locale: null,
      metadata: { plan: "team", note: 'quotes " and \\ and </script>' },
      mode: options.mode ?? "subscription",
      payment_intent: null,
      payment_link: null,
      payment_method_collection: "always",
      payment_method_configuration_details: null,
      payment_method_options: { card: { request_three_d_secure: "automatic" } },
      payment_method_types: ["card"],
      payment_status: options.paymentStatus ?? "paid",
      permissions: null,
      phone_number_collection: { enabled: false },
      recovered_from: null,
      saved_payment_method_options: {
        allow_redisplay_filters: ["always"],
        payment_method_remove: "disabled",
        payment_method_save: null,
      },
      setup_intent: null,
      shipping_address_collection: null,
      shipping_cost: null,
      shipping_options: [],
      status: "complete",
      submit_type: null,
      subscription: options.subscription,
      success_url: "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
      total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
      ui_mode: "hosted",
      url: null,
      wallet_options: null,
    },
    options,
  );
}

export interface InvoiceOptions extends About {
  subscription: string;
  customer?: string;
  attempt?: number;
  nextAttemptAt?: number | null;
  /** As before API version 2025-03-31: the subscription as a field of the invoice. */
  legacy?: boolean;
}

/** Body of an `invoice.payment_failed`. */
export function paymentFailed(options: InvoiceOptions): string {
  const created = (options.created ?? now()) - 3600;
  const { subscription } = options;
  const origin = options.legacy
    ? { subscription, subscription_details: { metadata: {} } }
    : {
        parent: {
          quote_details: null,
          subscription_details: { metadata: {}, subscription },
          type: "subscription_details",
        },
      };
  return event(
    "invoice.payment_failed",
    {
      id: stripeId("in"),
      object: "invoice",
      account_country: "CH",
      account_name: "Example Shop",
      account_tax_ids: null,
      amount_due: 2900,
      amount_overpaid: 0,
      amount_paid: 0,
      amount_remaining: 2900,
      amount_shipping: 0,
      application: null,
      attempt_count: options.attempt ?? 1,
      attempted: true,
      auto_advance: true,
      automatic_tax: {
        disabled_reason: null,
        enabled: false,
        liability: null,
        provider: null,
        status: null,
      },
      automatically_finalizes_at: null,
      billing_reason: "subscription_cycle",
      collection_method: "charge_automatically",
      created,
      currency: "eur",
      custom_fields: null,
      customer: options.customer ?? stripeId("cus"),
      customer_address: null,
      customer_email: "zoë.müller@example.com",
      customer_name: "Zoë Müller 🐝",
      customer_phone: null,
      customer_shipping: null,
      customer_tax_exempt: "none",
      customer_tax_ids: [],
      default_payment_method: null,
      default_source: null,
      default_tax_rates: [],
      description: null,
      discounts: [],
      due_date: null,
      effective_at: created + 5,
      ending_balance: 0,
      footer: null,
      from_invoice: null,
      hosted_invoice_url: "https://invoice.stripe.com/i/acct_test/test_invented?s=ap",
      invoice_pdf: "https://pay.stripe.com/invoice/acct_test/test_invented/pdf?s=ap",
      issuer: { type: "self" },
      last_finalization_error: null,
      latest_revision: null,
      lines: {
        object: "list",
        data: [
          {
            id: stripeId("il"),
            object: "line_item",
            amount: 2900,
            currency: "eur",
            description: "1 × Team (at €29.00 / month)",
            discount_amounts: [],
            discountable: true,
            discounts: [],
            livemode: false,
            metadata: {},
            period: { end: created + 2_592_000, start: created },
            pricing: {
              price_details: { price: stripeId("price"), product: "prod_invented" },
              type: "price_details",
              unit_amount_decimal: "2900",
            },
            quantity: 1,
            taxes: [],
          },
        ],
        has_more: false,
        total_count: 1,
        url: "/v1/invoices/in_invented/lines",
      },
      livemode: false,
      metadata: {},
      next_payment_attempt: options.nextAttemptAt ?? null,
      number: "7C9E2A10-0002",
      on_behalf_of: null,
      payment_settings: {
        default_mandate: null,
        payment_method_options: null,
        payment_method_types: null,
      },
      period_end: created,
      period_start: created - 2_592_000,
      post_payment_credit_notes_amount: 0,
      pre_payment_credit_notes_amount: 0,
      receipt_number: null,
      rendering: null,
      shipping_cost: null,
      shipping_details: null,
      starting_balance: 0,
      statement_descriptor: null,
      status: "open",
      status_transitions: {
        finalized_at: created + 5,
        marked_uncollectible_at: null,
        paid_at: null,
        voided_at: null,
      },
      subtotal: 2900,
      subtotal_excluding_tax: 2900,
      test_clock: null,
      total: 2900,
      total_discount_amounts: [],
      total_excluding_tax: 2900,
      total_pretax_credit_amounts: [],
      total_taxes: [],
      webhooks_delivered_at: created + 2,
      ...origin,
    },
    options,
  );
}
