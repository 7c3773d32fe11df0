import { request } from "node:http";

/** What a process that does not stand still takes to answer. */
const ANSWERS_WITHIN_MS = 1_000;

/** Of a process that knows that it is about to be told to end. */
export interface Closing {
  /** It has been told. */
  told(): void;
}

/**
 * Has an executor that is told to end do first what must be done behind its last answers: see
 * `src/pipeline/close.ts`. `mark` is that of its flight recorder. Undefined if it does not answer.
 */
export function beginClosing(socketPath: string, mark: string): Promise<Closing | undefined> {
  return new Promise((resolve) => {
    const req = request({
      socketPath,
      path: "/_mayfly/close",
      method: "POST",
      headers: { host: "localhost", "mayfly-close": mark, "transfer-encoding": "chunked" },
      agent: false,
    });
    const timer = setTimeout(() => req.destroy(), ANSWERS_WITHIN_MS);
    req.once("response", (response) => {
      clearTimeout(timer);
      response.on("error", () => {}).resume();
      resolve(response.statusCode === 200 ? { told: () => req.end() } : undefined);
    });
    req.on("error", () => {});
    req.once("close", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    req.flushHeaders();
  });
}
