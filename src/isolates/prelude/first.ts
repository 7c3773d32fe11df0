// Runs before the user's modules and takes the runtime's own functions: whatever the user puts in their
// place later must not keep the platform from ending the isolate.
import { waitUntil } from "cloudflare:workers";
import { answerByNamesWithIds } from "./calls/called-for.ts";

export { enterCallsBy } from "./calls/called-for.ts";

answerByNamesWithIds();

const { defineProperty } = Object;
const OwnPromise = Promise;
const wait = scheduler.wait.bind(scheduler);

export const { freeze } = Object;

/** Calls the function after so many milliseconds, whatever has become of globals and prototypes. */
export function callLater(call: () => void, ms: number): void {
  waitUntil(waitAndCall(call, ms));
}

async function waitAndCall(call: () => void, ms: number): Promise<void> {
  const waited = wait(ms);
  // With a constructor of its own it is awaited as it is; `then` is not called. Nothing is inherited.
  const descriptor = { __proto__: null, value: OwnPromise } as PropertyDescriptor;
  defineProperty(waited, "constructor", descriptor);
  await waited;
  call();
}
