import { connect } from "cloudflare:sockets";
import { WorkerEntrypoint } from "cloudflare:workers";
import { isAddress, isApiHost, toHostName } from "../../catalog/host.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { tracedFetch } from "../../observe/traces/calls.ts";
import { tracing } from "../../observe/traces/tracing.ts";
import {
  countSubrequest,
  LoopLimitError,
  nextDepth,
  waitFor,
  type Caller,
} from "../../pipeline/calls.ts";
import { dispatchFetch } from "../../pipeline/dispatch.ts";
import { errorPage } from "../../pipeline/error-page.ts";
import { loopLimit } from "../../pipeline/errors.ts";
import { INVOCATION_ID_HEADER } from "../../pipeline/headers.ts";
import {
  matchRoute,
  pickVersion,
  resolveEgressRules,
  resolveHost,
} from "../../pipeline/resolve.ts";
import { addressRule } from "./address.ts";
import { EgressError, networkError } from "./errors.ts";
import { fetchOutside } from "./outside.ts";
import { listRule, normalizeHost } from "./rules.ts";

// What Cloudflare gives as the client's address where one zone's worker calls another's.
const WORKER_ADDRESS = "2a06:98c0:3600::103";
const SMTP_PORT = "25";

/**
 * Where all goes that a worker sends to hosts, be it by `fetch` or by `connect`. Redirects are followed by
 * the worker's own isolate, so each of their hosts comes by here as well.
 */
export class Egress extends WorkerEntrypoint<Env, Caller> {
  override fetch(request: Request): Promise<Response> {
    if (!tracing) return this.#fetch(request);
    return tracedFetch(this.ctx.props, request, (traced) => this.#fetch(traced));
  }

  async #fetch(request: Request): Promise<Response> {
    countSubrequest(this.ctx.props);
    const url = new URL(request.url);
    const host = toHostName(url.hostname);
    await this.#checkLists(host);
    const response = this.#isOwnPort(url.port) && (await this.#fetchInside(request, host, url));
    if (response) return response;
    checkAddress(host);
    try {
      const sent = tracing ? withoutId(request) : request;
      return await waitFor(this.ctx.props, fetchOutside(sent, this.env));
    } catch (error) {
      throw networkError(error, host);
    }
  }

  /** A TCP connection. */
  override async connect(socket: Socket): Promise<void> {
    const { localAddress = "" } = await socket.opened;
    const target = await this.#checkTarget(localAddress).catch((error: unknown) => {
      // The runtime tells the worker only that there is no connection, so the log says why.
      const { accountId, scriptName } = this.ctx.props;
      log("warn", "connection_refused", {
        account: accountId,
        script: scriptName,
        address: localAddress,
        message: String(error),
      });
      throw error;
    });
    const outside = connect(target, { secureTransport: "off", allowHalfOpen: true });
    await Promise.all([
      socket.readable.pipeTo(outside.writable),
      outside.readable.pipeTo(socket.writable),
    ]);
  }

  async #checkTarget(address: string): Promise<string> {
    countSubrequest(this.ctx.props);
    const [, name = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
    const host = normalizeHost(name.includes(":") && !name.startsWith("[") ? `[${name}]` : name);
    if (host === undefined) throw new EgressError("invalid_address", address);
    await this.#checkLists(host);
    checkAddress(host);
    if (port === SMTP_PORT) throw new EgressError("smtp_port", host);
    // What is served here has its limits only where it comes as a request.
    if (this.#isOwnPort(port) && (await this.#isOwnHost(host))) {
      throw new EgressError("own_host", host);
    }
    return `${host}:${port}`;
  }

  async #checkLists(host: string): Promise<void> {
    const rules = await resolveEgressRules(this.ctx.props.accountId, this.env, this.ctx);
    const rule = rules && listRule(rules, host);
    if (rule) throw new EgressError(rule, host);
  }

  /** Whether the port is one that the platform's hosts are called at, here or through a proxy. */
  #isOwnPort(port: string): boolean {
    return port === "" || port === "80" || port === "443" || port === this.env.MAYFLY_PORT;
  }

  async #isOwnHost(host: string): Promise<boolean> {
    if (isAddress(host)) return false;
    return isApiHost(this.env, host) || Boolean(await resolveHost(host, this.env, this.ctx));
  }

  /** What the platform itself answers under this address, never over the network; undefined if nothing. */
  async #fetchInside(request: Request, host: string, url: URL): Promise<Response | undefined> {
    const { env, ctx } = this;
    if (isAddress(host)) return undefined;
    if (isApiHost(env, host)) throw new EgressError("control_api", host);
    const table = await resolveHost(host, env, ctx);
    const target = table && matchRoute(table, url.protocol.slice(0, -1), url.pathname + url.search);
    const version = target && pickVersion(target);
    if (!version) return undefined;

    const inside = withoutCf(request);
    inside.headers.set("host", url.host);
    if (target.accountId !== this.ctx.props.accountId) {
      inside.headers.set("cf-connecting-ip", WORKER_ADDRESS);
      inside.headers.set("x-forwarded-for", WORKER_ADDRESS);
    }
    try {
      const entrypoint = { depth: nextDepth(ctx.props, request) };
      const answered = dispatchFetch(target, version, inside, entrypoint, env, ctx);
      return await waitFor(ctx.props, answered);
    } catch (error) {
      if (error instanceof LoopLimitError) return errorPage(loopLimit, request);
      throw error;
    }
  }
}

// Isolates in which several invocations are at work put it in, and outside it is nobody's concern.
function withoutId(request: Request): Request {
  if (!request.headers.has(INVOCATION_ID_HEADER)) return request;
  const outgoing = new Request(request);
  outgoing.headers.delete(INVOCATION_ID_HEADER);
  return outgoing;
}

// What a worker says in `cf` the platform would take for the connection's own.
const withoutCf = (request: Request): Request => new Request(request, { cf: {} });

function checkAddress(host: string): void {
  const rule = addressRule(host);
  if (rule) throw new EgressError(rule, host);
}
