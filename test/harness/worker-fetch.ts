import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";

const WITHOUT_BODY = new Set([101, 204, 205, 304]);

/**
 * `fetch` for the addresses of workers: names under `.localhost` mean this machine, but not every
 * system resolves them. Redirects are not followed.
 */
export async function fetchWorker(address: string | URL, init?: RequestInit): Promise<Response> {
  // The standard class works out what the method, the headers and the body are.
  const { method, headers, body, signal } = new Request(address, {
    ...init,
    ...(init?.body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
  const { port, host, pathname, search } = new URL(address);
  const outgoing = request({
    host: "127.0.0.1",
    port,
    method,
    path: pathname + search,
    headers: { ...Object.fromEntries(headers), host, ...lengthOf(init?.body) },
    signal,
  });
  const responded = once(outgoing, "response") as Promise<[IncomingMessage]>;
  // A server may answer and close before it has read the whole body; then its answer counts.
  if (body)
    Readable.from(body)
      .on("error", () => {})
      .pipe(outgoing);
  else outgoing.end();
  const [response] = await responded;
  outgoing.on("error", () => {});

  const status = response.statusCode ?? 0;
  const received = new Headers();
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    received.append(response.rawHeaders[i] ?? "", response.rawHeaders[i + 1] ?? "");
  }
  if (WITHOUT_BODY.has(status)) {
    response.resume();
    return new Response(null, { status, headers: received });
  }
  const stream = Readable.toWeb(response) as ReadableStream<Uint8Array>;
  return new Response(stream, { status, headers: received });
}

// Without it the body goes in chunks, as streams do.
function lengthOf(body: unknown): { "content-length"?: number } {
  if (typeof body === "string") return { "content-length": Buffer.byteLength(body) };
  if (body instanceof Uint8Array) return { "content-length": body.byteLength };
  return {};
}
