import type { Invocation } from "../pipeline/record.ts";

/**
 * Says why an invocation failed, with the stack in the user's own file names: in the platform's log, and to
 * those who observe it.
 */
export function logFailure(
  { id, accountId, scriptName, versionId, outcome, observed, trace }: Invocation,
  { name, message, mayflyStack }: { name: string; message: string; mayflyStack?: string },
): void {
  const exception = {
    name,
    message,
    ...(mayflyStack && { stack: ownFrames(mayflyStack) }),
    timestamp: Date.now(),
  };
  observed?.exceptions.push(exception);
  trace?.exceptions.push(exception);
  log("error", "invocation_failed", {
    id,
    account: accountId,
    script: scriptName,
    version: versionId,
    outcome,
    message: `${name}: ${message}`,
    stack: mayflyStack,
  });
}

// As the runtime gives them to tails: without what is the name and the message. What the platform has put
// around the user's code is nobody's concern.
const ownFrames = (stack: string): string =>
  stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && !line.includes("__mayfly/"))
    .join("\n");

/** Writes one line of JSON to the process's log: `level`, `event` and what else is known. */
export function log(
  level: "info" | "warn" | "error",
  event: string,
  fields: Record<string, unknown> = {},
): void {
  const line = JSON.stringify({ at: new Date().toISOString(), level, event, ...fields });
  // The stream decides where the line goes: the host keeps stderr apart.
  if (level === "info") console.log(line);
  else console.error(line);
}
