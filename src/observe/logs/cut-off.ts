import type { Isolate } from "../../isolates/isolate.ts";
import type { Invocation } from "../../pipeline/record.ts";
import type { LogLine } from "../observed.ts";
import { keepLine } from "./kept.ts";

// What an isolate does when it is told to end takes moments; many may be told at once.
const WAIT_MS = 10_000;

interface CutOff {
  invocation: Invocation;
  at: number;
}

// By the isolate's name if it has one only, else by the invocation's id.
const cutOff = new Map<string, CutOff>();

/** The invocation has been ended before its isolate's tail has told what it has written. */
export function expectLines(invocation: Invocation, isolate: Isolate): void {
  if (!invocation.observed?.keep || isolate.kind === "shared") return;
  const now = Date.now();
  for (const [key, { at }] of cutOff) if (now - at > WAIT_MS) cutOff.delete(key);
  cutOff.set(isolate.kind === "request" ? isolate.name : invocation.id, { invocation, at: now });
}

/** Has the lines kept if the isolate's invocation, or the one of the id, has been cut off. */
export function keepLateLines(isolate: string, id: string | undefined, logs: LogLine[]): void {
  const key = cutOff.has(isolate) ? isolate : (id ?? "");
  const found = cutOff.get(key);
  if (!found) return;
  cutOff.delete(key);
  const { invocation } = found;
  for (const { level, timestamp, message } of logs) {
    keepLine(invocation, [invocation.id, level, timestamp, message]);
  }
}
