import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { findViolation, type KeyValue, type WireRequest, type WireSpan } from "./otlp-schema.ts";

const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/** A span that has been received. */
export interface Span {
  traceId: string;
  spanId: string;
  parentId: string | undefined;
  traceState: string | undefined;
  name: string;
  kind: string;
  /** Milliseconds since 1970. */
  start: number;
  end: number;
  attributes: Record<string, unknown>;
  resource: Record<string, unknown>;
  events: { name: string; attributes: Record<string, unknown> }[];
  links: { traceId: string; spanId: string }[];
  /** 0: not set, 2: an error. */
  status: number;
}

/** What a request is answered with; `hang`: nothing, ever. */
export type Reply = { status: number; headers?: Record<string, string>; body?: string } | "hang";

const TAKEN: Reply = { status: 200, body: "{}" };

/** A collector that takes what the protocol allows and nothing else. */
export class OtlpReceiver {
  readonly port: number;
  readonly spans: Span[] = [];
  /** What was wrong with requests; tests expect it to be empty. */
  readonly violations: string[] = [];
  /** Headers of each request, and when it came, be it answered or not. */
  readonly requests: { at: number; headers: IncomingMessage["headers"] }[] = [];
  /** What further requests are answered with. */
  reply: Reply = TAKEN;
  #server: Server | undefined;

  constructor(port: number) {
    this.port = port;
  }

  start(): Promise<void> {
    const server = createServer((request, response) => void this.#receive(request, response));
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
  }

  /** Closes its port, and all connections. */
  stop(): Promise<void> {
    const server = this.#server;
    return new Promise((resolve) => {
      if (!server) return resolve();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    try {
      for await (const piece of request) pieces.push(piece as Buffer);
    } catch {
      return;
    }
    const { reply } = this;
    this.requests.push({ at: Date.now(), headers: request.headers });
    if (reply === "hang") return;
    if (reply.status === 200) this.#take(request, Buffer.concat(pieces).toString());
    response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
    response.end(reply.body);
  }

  #take({ method, url, headers }: IncomingMessage, text: string): void {
    const line = `${method} ${url} ${headers["content-type"]}`;
    if (line !== "POST /v1/traces application/json") this.violations.push(line);
    let body: WireRequest;
    try {
      body = JSON.parse(text) as WireRequest;
    } catch (error) {
      this.violations.push(String(error));
      return;
    }
    const violation = findViolation(body);
    if (violation) this.violations.push(violation);
    for (const { resource, scopeSpans } of body.resourceSpans) {
      const of = toRecord(resource?.attributes);
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => read(span, of)));
    }
  }

  /** The spans of a trace. */
  trace(traceId: string): Span[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  /**
   * The trace as text, a line for each span, those within it indented. Throws if it is not one tree below the
   * parent given, or if a span is not in the time of its parent.
   */
  tree(traceId: string, parentId?: string): string {
    const spans = this.trace(traceId);
    const ids = new Set(spans.map(({ spanId }) => spanId));
    if (ids.size !== spans.length) throw new Error("A span has come twice, or two have one id");
    const roots = spans.filter((span) => span.parentId === parentId);
    if (roots.length !== 1) throw new Error(`${roots.length} roots:\n${list(spans)}`);
    let seen = 0;
    const write = (span: Span, depth: number): string => {
      seen++;
      const inside = spans
        .filter((other) => other.parentId === span.spanId)
        .sort((a, b) => a.start - b.start || a.name.localeCompare(b.name));
      for (const { name, start, end } of inside) {
        if (start < span.start) throw new Error(`${name} begins before ${span.name}`);
        // What other invocations do may go on when whoever called them has their answer.
        if (span.kind === "client" || span.kind === "producer") continue;
        if (end > span.end) throw new Error(`${name} is not within ${span.name}`);
      }
      const lines = inside.map((child) => write(child, depth + 1));
      return [`${"  ".repeat(depth)}${span.kind} ${span.name}`, ...lines].join("\n");
    };
    const text = write(roots[0] as Span, 0);
    if (seen !== spans.length) throw new Error(`Not one tree:\n${list(spans)}`);
    return text;
  }
}

const list = (spans: Span[]): string =>
  spans
    .map(({ spanId, parentId, kind, name }) => `${parentId} > ${spanId} ${kind} ${name}`)
    .join("\n");

const toRecord = (attributes: KeyValue[] = []): Record<string, unknown> =>
  Object.fromEntries(
    attributes.map(({ key, value: { stringValue, boolValue, intValue, doubleValue } }) => [
      key,
      stringValue ?? boolValue ?? doubleValue ?? Number(intValue),
    ]),
  );

const toMs = (nano: string): number => Number(nano) / 1e6;

const read = (span: WireSpan, resource: Record<string, unknown>): Span => ({
  traceId: span.traceId,
  spanId: span.spanId,
  parentId: span.parentSpanId,
  traceState: span.traceState,
  name: span.name,
  kind: KINDS[span.kind] ?? String(span.kind),
  start: toMs(span.startTimeUnixNano),
  end: toMs(span.endTimeUnixNano),
  attributes: toRecord(span.attributes),
  resource,
  events: (span.events ?? []).map(({ name, attributes }) => {
    return { name, attributes: toRecord(attributes) };
  }),
  links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
  status: span.status?.code ?? 0,
});
