import { Router, StatusError, type IRequestStrict } from "itty-router";
import { readBody } from "./body.ts";
import type { Env } from "./env.ts";
import { parseEvent } from "./event.ts";
import { verifySignature, type SignatureProblem } from "./signature.ts";
import { findSubscription, recordEvent } from "./store.ts";

/** Stripe's events have a few kilobytes; no larger body is read, signed or not. */
const MAX_BODY_BYTES = 1024 * 1024;

const SIGNATURE_MESSAGES: Record<SignatureProblem, string> = {
  signature_missing: "stripe-signature: this header is required",
  signature_malformed: "stripe-signature: must have the form t=<seconds>,v1=<64 hex digits>",
  signature_mismatch: "stripe-signature: no v1 signature matches this body",
  timestamp_out_of_tolerance: "stripe-signature: t must be within 300 seconds of now",
};

const router = Router<IRequestStrict, [env: Env]>({ catch: toResponse });

router.post("/webhooks/stripe", async (request, env) => {
  if (!env.STRIPE_WEBHOOK_SECRET) {
    throw refuse(500, "secret_missing", "STRIPE_WEBHOOK_SECRET: set it with `wrangler secret put`");
  }
  const body = await readBody(request, MAX_BODY_BYTES);
  if (!body) {
    throw refuse(413, "body_too_large", `body: must be at most ${MAX_BODY_BYTES} bytes`);
  }
  const problem = await verifySignature(
    request.headers.get("stripe-signature"),
    body,
    env.STRIPE_WEBHOOK_SECRET,
    Math.floor(Date.now() / 1000),
  );
  if (problem) throw refuse(400, problem, SIGNATURE_MESSAGES[problem]);

  const text = new TextDecoder().decode(body);
  const event = parseEvent(text);
  if (!event) throw refuse(400, "event_invalid", "body: must be the JSON of a Stripe event");
  const first = await recordEvent(env.DB, event, text);
  return Response.json({ received: true, duplicate: !first });
});

router.get("/subscriptions/:id", async ({ params }, env) => {
  const id = params.id ?? "";
  const subscription = await findSubscription(env.DB, id);
  if (!subscription) throw refuse(404, "not_found", `subscription ${id}: unknown`);
  return Response.json(subscription);
});

router.all("*", ({ method, url }) => {
  throw refuse(404, "not_found", `No route for ${method} ${new URL(url).pathname}`);
});

function refuse(status: number, code: string, message: string): StatusError {
  return new StatusError(status, { code, error: message });
}

function toResponse(error: unknown): Response {
  const known =
    error instanceof StatusError
      ? error
      : refuse(500, "internal", "Internal error; the log says more");
  if (known !== error) console.error(error);
  return Response.json(
    { error: { code: known.code, message: known.message } },
    { status: known.status },
  );
}

export default { fetch: router.fetch } satisfies ExportedHandler<Env>;
