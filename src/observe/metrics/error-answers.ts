import type { PageError } from "../../pipeline/error-page.ts";
import { counter, type Counter } from "./counters.ts";

// By the error's code, which has one status only.
const counters = { fetch: new Map<string, Counter>(), rpc: new Map<string, Counter>() };

/** Counts an answer of the platform's own in place of a worker's. */
export function countErrorAnswer(trigger: "fetch" | "rpc", { status, code }: PageError): void {
  let known = counters[trigger].get(code);
  if (!known) {
    known = counter("mayfly_error_answers_total", { trigger, status: String(status), code });
    counters[trigger].set(code, known);
  }
  known.value++;
}
