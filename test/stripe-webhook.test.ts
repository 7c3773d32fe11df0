import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPlatform, type Platform } from "./harness/platform.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";
import { checkoutCompleted, event, paymentFailed, stripeId } from "./stripe/events.ts";
import { now, signatureHeader, v1 } from "./stripe/sign.ts";

const SECRET = "whsec_8HqzGkV2yJ5mRtW0cXbN4dLpQ7sFaE1u";
const OTHER_SECRET = "whsec_Zz3uYh6KxPq9wVtMr5nBc0dJf2gTs8Le";
const cwd = join(import.meta.dirname, "../workers/stripe-webhook");

let platform: Platform;
let address: string;

beforeAll(async () => {
  platform = await startPlatform();
  const stdout = await wrangler(["deploy"]);
  // wrangler prints addresses without port.
  const host = /^ +(stripe-webhook\.\S+)$/m.exec(stdout)?.[1];
  expect(host, stdout).toBeDefined();
  address = `http://${host}:${platform.port}`;
});
afterAll(() => platform.stop());

async function wrangler(args: string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await platform.wrangler(args, { cwd, ...(input && { input }) });
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

async function post(body: string, signature?: string): Promise<Response> {
  return fetchWorker(new URL("/webhooks/stripe", address), {
    method: "POST",
    headers: {
      "content-type": "application/json; charset=utf-8",
      "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
      ...(signature === undefined ? {} : { "stripe-signature": signature }),
    },
    body,
  });
}

const deliver = (body: string): Promise<Response> => post(body, signatureHeader(body, SECRET));

async function outcome(response: Response): Promise<[number, unknown]> {
  const body = (await response.json()) as { duplicate?: boolean; error?: { code: string } };
  return [response.status, body.error?.code ?? body.duplicate];
}

async function subscription(id: string): Promise<Record<string, unknown>> {
  const response = await fetchWorker(new URL(`/subscriptions/${id}`, address));
  return (await response.json()) as Record<string, unknown>;
}

const ACCEPTED = [200, false];
const DUPLICATE = [200, true];

describe("before it is set up", () => {
  it("asks for its secret", async () => {
    expect(await outcome(await deliver("{}"))).toEqual([500, "secret_missing"]);
    await wrangler(["secret", "put", "STRIPE_WEBHOOK_SECRET"], SECRET);
    expect(await outcome(await deliver("{}"))).toEqual([400, "event_invalid"]);
  });

  it("records nothing while there are no tables, so that Stripe delivers again", async () => {
    const id = stripeId("sub");
    const body = checkoutCompleted({ subscription: id });
    expect(await outcome(await deliver(body))).toEqual([500, "internal"]);
    await wrangler(["d1", "migrations", "apply", "DB", "--remote"]);
    expect(await outcome(await deliver(body))).toEqual(ACCEPTED);
    expect(await subscription(id)).toMatchObject({ status: "active" });
  });
});

describe("signatures", () => {
  const body = event("customer.updated", { id: stripeId("cus"), object: "customer" });

  it("takes the body only as it was signed", async () => {
    const signature = signatureHeader(body, SECRET);
    const minified = JSON.stringify(JSON.parse(body));
    expect(await outcome(await post(minified, signature))).toEqual([400, "signature_mismatch"]);
    expect(await outcome(await post(`${body} `, signature))).toEqual([400, "signature_mismatch"]);
    expect(await outcome(await post(body.replace("customer.", "customer-"), signature))).toEqual([
      400,
      "signature_mismatch",
    ]);
    expect(await outcome(await post("", signature))).toEqual([400, "signature_mismatch"]);
    expect(await outcome(await post(body, signature))).toEqual(ACCEPTED);
  });

  it("takes only its own secret", async () => {
    const signature = signatureHeader(body, OTHER_SECRET);
    expect(await outcome(await post(body, signature))).toEqual([400, "signature_mismatch"]);
  });

  it("takes any of several signatures, as while a secret is replaced", async () => {
    const t = now();
    const wrong = `v1=${v1(body, OTHER_SECRET, t)}`;
    const right = `v1=${v1(body, SECRET, t)}`;
    for (const parts of [
      [wrong, right],
      [right, wrong],
      ["v1=short", wrong, right],
      [right, `v0=${v1(body, OTHER_SECRET, t)}`],
    ]) {
      const fresh = event("customer.updated", { id: stripeId("cus") });
      expect((await post(body, [`t=${t}`, ...parts].join(","))).status).toBe(200);
      expect((await post(fresh, [`t=${t}`, ...parts].join(","))).status).toBe(400);
    }
    expect(await outcome(await post(body, `t=${t},${wrong},${wrong}`))).toEqual([
      400,
      "signature_mismatch",
    ]);
  });

  it("does not take the scheme v0", async () => {
    const t = now();
    const header = `t=${t},v0=${v1(body, SECRET, t)}`;
    expect(await outcome(await post(body, header))).toEqual([400, "signature_malformed"]);
  });

  it("asks for a header, and for one that is well formed", async () => {
    const t = now();
    const right = v1(body, SECRET, t);
    expect(await outcome(await post(body))).toEqual([400, "signature_missing"]);
    for (const header of [
      "t",
      `v1=${right}`,
      `t=${t}`,
      `t=soon,v1=${right}`,
      `t=${t},v1=${right.slice(1)}`,
      `t=${t},v1=${right.replace(/^./, "g")}`,
      `t=-${t},v1=${right}`,
      `T=${t},V1=${right}`,
    ]) {
      expect(await outcome(await post(body, header)), header).toEqual([400, "signature_malformed"]);
    }
  });

  it("takes signatures of the last and the next five minutes", async () => {
    for (const [age, expected] of [
      [-330, "timestamp_out_of_tolerance"],
      [-270, true],
      [270, true],
      [330, "timestamp_out_of_tolerance"],
      [1e9, "timestamp_out_of_tolerance"],
    ] as const) {
      const signature = signatureHeader(body, SECRET, now() - age);
      expect((await outcome(await post(body, signature)))[1], `${age} s old`).toBe(expected);
    }
  });

  it("does not let an old delivery be renewed by a new time", async () => {
    const old = signatureHeader(body, SECRET, now() - 3600);
    const renewed = old.replace(/t=\d+/, `t=${now()}`);
    expect(await outcome(await post(body, renewed))).toEqual([400, "signature_mismatch"]);
  });
});

// The answer to a large body that was not read may be lost with the connection, which is closed
// while the client still writes; then it asks again.
async function untilAnswered(ask: () => Promise<Response>): Promise<Response> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      const { code } = error as { code?: string };
      if (tries === 5 || (code !== "EPIPE" && code !== "ECONNRESET")) throw error;
    }
  }
}

describe("bodies", () => {
  it("refuses what is signed but no event", async () => {
    for (const body of ["", "[]", "null", "{", '"evt"', '{"object":"event"}', "\0"]) {
      expect(await outcome(await deliver(body)), body).toEqual([400, "event_invalid"]);
    }
  });

  it("refuses huge ones, with and without a declared length", async () => {
    const huge = event("customer.updated", { id: "cus_1", description: "x".repeat(3 << 20) });
    const answer = await untilAnswered(() => deliver(huge));
    expect(await outcome(answer)).toEqual([413, "body_too_large"]);
    const response = await untilAnswered(() =>
      fetchWorker(new URL("/webhooks/stripe", address), {
        method: "POST",
        headers: { "stripe-signature": signatureHeader(huge, SECRET) },
        body: new Blob([huge]).stream(),
      }),
    );
    expect(await outcome(response)).toEqual([413, "body_too_large"]);
  });

  it("takes large ones", async () => {
    const large = event("customer.updated", { id: "cus_1", description: "ü".repeat(450_000) });
    expect(await outcome(await deliver(large))).toEqual(ACCEPTED);
  });
});

describe("subscriptions", () => {
  it("become active with a completed checkout", async () => {
    const id = stripeId("sub");
    const created = now() - 7;
    const body = checkoutCompleted({
      subscription: id,
      customer: "cus_zoe",
      clientReferenceId: "team-42",
      created,
    });
    expect(await outcome(await deliver(body))).toEqual(ACCEPTED);
    expect(await subscription(id)).toEqual({
      id,
      customer_id: "cus_zoe",
      status: "active",
      status_at: created,
      checkout_session_id: JSON.parse(body).data.object.id,
      client_reference_id: "team-42",
      failed_payments: 0,
      failed_invoice_id: null,
      next_payment_attempt_at: null,
    });
  });

  it("are incomplete while the payment is under way", async () => {
    const id = stripeId("sub");
    await deliver(checkoutCompleted({ subscription: id, paymentStatus: "unpaid" }));
    expect(await subscription(id)).toMatchObject({ status: "incomplete" });
  });

  it("are not made by checkouts of a single payment", async () => {
    const body = checkoutCompleted({ subscription: null, mode: "payment" });
    expect(await outcome(await deliver(body))).toEqual(ACCEPTED);
  });

  it("are past due after a failed payment, in either shape of the invoice", async () => {
    const id = stripeId("sub");
    await deliver(checkoutCompleted({ subscription: id, created: now() - 60 }));
    const first = paymentFailed({ subscription: id, created: now() - 50, nextAttemptAt: now() });
    await deliver(first);
    expect(await subscription(id)).toMatchObject({
      status: "past_due",
      failed_payments: 1,
      failed_invoice_id: JSON.parse(first).data.object.id,
      next_payment_attempt_at: JSON.parse(first).data.object.next_payment_attempt,
    });
    await deliver(paymentFailed({ subscription: id, attempt: 2, legacy: true }));
    expect(await subscription(id)).toMatchObject({
      status: "past_due",
      failed_payments: 2,
      next_payment_attempt_at: null,
    });
  });

  it("keep what a newer event said when an older one arrives late", async () => {
    const id = stripeId("sub");
    await deliver(paymentFailed({ subscription: id, created: now() }));
    const checkout = { subscription: id, clientReferenceId: "late", created: now() - 86_400 };
    expect(await outcome(await deliver(checkoutCompleted(checkout)))).toEqual(ACCEPTED);
    expect(await subscription(id)).toMatchObject({
      status: "past_due",
      failed_payments: 1,
      client_reference_id: "late",
    });
  });

  it("change once for an event that is delivered again, later and signed anew", async () => {
    const id = stripeId("sub");
    const body = paymentFailed({ subscription: id });
    expect(await outcome(await deliver(body))).toEqual(ACCEPTED);
    expect(await outcome(await post(body, signatureHeader(body, SECRET, now() + 20)))).toEqual(
      DUPLICATE,
    );
    expect(await subscription(id)).toMatchObject({ failed_payments: 1 });
  });

  it("change once for ten deliveries at the same time", async () => {
    for (let round = 0; round < 5; round++) {
      const id = stripeId("sub");
      const body = paymentFailed({ subscription: id });
      const outcomes = await Promise.all(
        Array.from({ length: 10 }, async () => outcome(await deliver(body))),
      );
      expect(outcomes.filter(([status]) => status === 200)).toHaveLength(10);
      expect(outcomes.filter(([, duplicate]) => duplicate === false)).toHaveLength(1);
      expect(await subscription(id)).toMatchObject({ failed_payments: 1 });
    }
  });

  it("count every one of many different events at the same time", async () => {
    const id = stripeId("sub");
    const bodies = Array.from({ length: 10 }, () => paymentFailed({ subscription: id }));
    await Promise.all(bodies.map(deliver));
    expect(await subscription(id)).toMatchObject({ failed_payments: 10 });
  });

  it("are unknown until an event tells of them", async () => {
    for (const id of ["sub_none", "%00", "'; DROP TABLE subscriptions; --", "ü".repeat(200)]) {
      const response = await fetchWorker(new URL(`/subscriptions/${id}`, address));
      expect(await outcome(response)).toEqual([404, "not_found"]);
    }
  });
});

it("keeps its events where wrangler can query them", async () => {
  const command = "SELECT count(*) AS n FROM events";
  const stdout = await wrangler([
    "d1",
    "execute",
    "DB",
    "--remote",
    "--json",
    "--command",
    command,
  ]);
  expect(JSON.parse(stdout)[0].results[0].n).toBeGreaterThan(10);
});

it("answers other paths and methods with what is wrong", async () => {
  for (const [method, path] of [
    ["GET", "/"],
    ["GET", "/webhooks/stripe"],
    ["DELETE", "/subscriptions/sub_1"],
  ] as const) {
    const response = await fetchWorker(new URL(path, address), { method });
    expect(await outcome(response)).toEqual([404, "not_found"]);
  }
});
