import { MAX_BODY_BYTES } from "./admit.ts";

/** A body that had no length turned out too large. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";
}

/** A body that had no length broke off before its end. */
export class BodyIncompleteError extends Error {
  override readonly name = "BodyIncompleteError";
}

/**
 * The request with a body that is watched on its way where it has no length. If it passes the limit or
 * breaks off, the whole call is aborted and rejects with that error. It is not enough that the stream fails:
 * a stream made here that fails looks to the worker as if it had come to its end.
 */
export function limitBody(request: Request): Request {
  if (!request.body || request.headers.has("content-length")) return request;
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  const call = new AbortController();
  const abort = (error: Error): Promise<never> => {
    call.abort(error);
    return new Promise(() => undefined);
  };
  let bytes = 0;
  const watched = new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      const piece = await reader
        .read()
        .catch((error: unknown) => new BodyIncompleteError(String(error)));
      if (piece instanceof Error) return abort(piece);
      if (piece.done) return controller.close();
      bytes += piece.value.byteLength;
      if (bytes > MAX_BODY_BYTES) {
        return abort(new BodyTooLargeError(`body: more than ${MAX_BODY_BYTES} bytes`));
      }
      return controller.enqueue(piece.value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  // oxlint-disable-next-line unicorn/no-invalid-fetch-options -- the method is the request's own
  return new Request(request, { body: watched, signal: call.signal });
}
