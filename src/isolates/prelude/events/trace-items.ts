import { redactHeaders, redactUrl } from "../../../observe/tail/redact.ts";
import type { TraceData } from "../../../observe/tail/trace-item.ts";

type Request = Extract<TraceData["event"], { request: object }>["request"];

/** What a `tail()` handler is given for a finished invocation, a `TraceData` as JSON. */
export function toTraceItem(json: string): object {
  const item = JSON.parse(json) as TraceData;
  const { event } = item;
  if (!event || !("request" in event)) return item;
  const { url, headers } = event.request;
  const redacted = { ...event.request, url: redactUrl(url), headers: redactHeaders(headers) };
  const request = withUnredacted(redacted, withUnredacted(event.request));
  return { ...item, event: { ...event, request } };
}

// Like the runtime's own it is no member that is enumerated, so that items can be turned into JSON as they are.
function withUnredacted(request: Request, unredacted = request): Request {
  return Object.defineProperty(request, "getUnredacted", { value: () => unredacted });
}
