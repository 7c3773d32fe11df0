import { connect } from "cloudflare:sockets";
import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/**
 * Takes what executors in a sandbox send to hosts to the network. Which worker may call which host they have
 * found out; here only public addresses can be reached.
 */
export class Outside extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    try {
      return await fetch(request);
    } catch (error) {
      // An answer, since of an error the runtime would tell the other process nothing.
      const headers = { [markOf(this.env)]: encodeURIComponent((error as Error).message) };
      return new Response(null, { status: 502, headers });
    }
  }

  override async connect(socket: Socket): Promise<void> {
    const { localAddress = "" } = await socket.opened;
    const outside = connect(localAddress, { secureTransport: "off", allowHalfOpen: true });
    await Promise.all([
      socket.readable.pipeTo(outside.writable),
      outside.readable.pipeTo(socket.writable),
    ]);
  }
}

/** `fetch` of what a worker sends to a host, be it from a sandbox or not. Rejects as the network does. */
export async function fetchOutside(request: Request, env: Env): Promise<Response> {
  const response = await fetch(request);
  const message = env.MAYFLY_EGRESS_MARK ? response.headers.get(markOf(env)) : null;
  if (message !== null) throw new Error(decodeURIComponent(message));
  return response;
}

/** A header that no host can send, as it cannot know its name. */
const markOf = (env: Env): string => `mayfly-${env.MAYFLY_EGRESS_MARK}`;
