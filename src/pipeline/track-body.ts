// Up to this many bytes a body whose length is known has left the isolate when its head has.
const SMALL_BODY_BYTES = 64 * 1024;

// The runtime shows a stream's length only to its inspector, under a symbol. Where that symbol is
// missing every body counts as one of unknown length, which is slower and as right.
let lengthSymbol: symbol | undefined;
let searched = false;

/** The body's length in bytes, if it is known before it has been read. */
export function knownLength(body: ReadableStream): number | undefined {
  if (!searched) {
    searched = true;
    lengthSymbol = Object.getOwnPropertySymbols(Object.getPrototypeOf(body) as object).find(
      (symbol) => symbol.description === "length",
    );
  }
  if (!lengthSymbol) return undefined;
  const length = (body as unknown as Record<symbol, unknown>)[lengthSymbol];
  return length === undefined ? undefined : Number(length);
}

/**
 * Calls `done` when the response's body, of the length that `knownLength` says, has left the isolate: at once
 * for small bodies, after the last byte for streams, and also when the client goes away. Returns the response
 * to pass on.
 */
export function trackBody(
  response: Response,
  body: ReadableStream | null,
  length: number | undefined,
  done: () => void,
  ctx: ExecutionContext,
): Response {
  if (!body || (length !== undefined && length <= SMALL_BODY_BYTES)) {
    done();
    return response;
  }
  const { readable, writable } =
    length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  // Without waitUntil nobody is left to be told when the last byte has gone.
  ctx.waitUntil(body.pipeTo(writable).then(done, done));
  return new Response(readable, response);
}
