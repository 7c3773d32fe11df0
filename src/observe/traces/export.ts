/**
 * Brings spans from state to the collector: OTLP over HTTP, as JSON, with the retries that it asks for.
 * https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import { droppedWaiting, exported, refused } from "./counters.ts";

/** A member of a request's `resourceSpans`, as JSON. */
interface Batch {
  text: string;
  spans: number;
}

// What one request may have; collectors take some megabytes.
const MAX_REQUEST_CHARS = 1_000_000;
// While the collector is away spans wait, up to about so much memory; then the oldest make room.
const MAX_WAITING_CHARS = 32_000_000;
const TIMEOUT_MS = 10_000;
const RETRYABLE = new Set([429, 502, 503, 504]);
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
const MAX_RETRY_AFTER_MS = 5 * 60_000;
// Pauses are taken in steps. An exporter silent for longer than a step or a request went with the call that
// it came with.
const STEP_MS = 1_000;
const GONE_MS = TIMEOUT_MS + 5_000;

let waiting: Batch[] = [];
let waitingChars = 0;
/** Since the collector last took something. */
let dropped = 0;
let workedAt = 0;

/** See `StateRole.exportSpans`. */
export function exportSpans(batch: Batch, env: Env, ctx: ExecutionContext): void {
  waiting.push(batch);
  waitingChars += batch.text.length;
  dropOldest();
  if (Date.now() - workedAt < GONE_MS) return;
  workedAt = Date.now();
  ctx.waitUntil(exportAll(env).finally(() => (workedAt = 0)));
}

function dropOldest(): void {
  while (waitingChars > MAX_WAITING_CHARS) {
    const batch = waiting.shift();
    if (!batch) return;
    waitingChars -= batch.text.length;
    dropped += batch.spans;
    droppedWaiting.value += batch.spans;
  }
}

async function exportAll(env: Env): Promise<void> {
  let failures = 0;
  while (waiting.length > 0) {
    const batches = takeRequest();
    const spans = batches.reduce((sum, batch) => sum + batch.spans, 0);
    workedAt = Date.now();
    const again = await post(batches, spans, env);
    workedAt = Date.now();
    if (!again) {
      if (dropped > 0) log("warn", "spans_dropped", { spans: dropped, reason: "too many waited" });
      dropped = 0;
      failures = 0;
      continue;
    }
    waiting.unshift(...batches);
    for (const { text } of batches) waitingChars += text.length;
    dropOldest();
    log("warn", "export_delayed", { spans, dropped, message: again.reason });
    const backoff = Math.min(FIRST_PAUSE_MS * 2 ** failures++, MAX_PAUSE_MS);
    await pause(again.afterMs ?? backoff * (0.5 + Math.random()));
  }
}

function takeRequest(): Batch[] {
  const taken: Batch[] = [];
  for (let chars = 0; chars < MAX_REQUEST_CHARS;) {
    const batch = waiting.shift();
    if (!batch) break;
    taken.push(batch);
    chars += batch.text.length;
    waitingChars -= batch.text.length;
  }
  return taken;
}

async function pause(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; workedAt = Date.now()) {
    await scheduler.wait(Math.min(STEP_MS, end - Date.now()));
  }
}

/** Undefined when it is done with the spans, be they taken or refused for good. */
async function post(
  batches: Batch[],
  spans: number,
  env: Env,
): Promise<{ reason: string; afterMs?: number | undefined } | undefined> {
  const body = `{"resourceSpans":[${batches.map(({ text }) => text).join(",")}]}`;
  let response: Response;
  let answer: string;
  try {
    response = await fetch(env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? "", {
      method: "POST",
      headers: { ...readHeaders(env), "content-type": "application/json" },
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    answer = await response.text();
  } catch (error) {
    return { reason: String(error) };
  }
  if (response.ok) {
    const rejected = logRejected(answer);
    refused.value += rejected;
    exported.value += spans - rejected;
    return undefined;
  }
  const reason = `the collector answered ${response.status}`;
  if (RETRYABLE.has(response.status)) return { reason, afterMs: retryAfter(response.headers) };
  refused.value += spans;
  log("error", "spans_refused", { spans, message: reason, answer: answer.slice(0, 1_000) });
  return undefined;
}

/** Seconds, or a date. */
function retryAfter(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

/** What a collector takes in part must not be sent again; how many spans it has not taken. */
function logRejected(answer: string): number {
  let partial: { rejectedSpans?: number | string; errorMessage?: string } | undefined;
  try {
    ({ partialSuccess: partial } = JSON.parse(answer || "{}"));
  } catch {
    // Taken is taken, whatever it says.
  }
  const spans = Number(partial?.rejectedSpans) || 0;
  const message = partial?.errorMessage;
  if (spans > 0 || message) log("warn", "spans_rejected", { spans, message });
  return spans;
}

/** `name=value` pairs separated by commas; values may be percent-encoded. */
function readHeaders({ OTEL_EXPORTER_OTLP_TRACES_HEADERS: text }: Env): Record<string, string> {
  const pairs = (text || "").split(",").map((pair) => {
    const [name = "", ...value] = pair.split("=");
    return [name.trim(), decodeURIComponent(value.join("=").trim())];
  });
  return Object.fromEntries(pairs.filter(([name]) => name));
}
