import { DurableObject } from "cloudflare:workers";
import { setTailed } from "../../catalog/tailed-scripts.ts";
import { tellExecutors } from "../../control/invalidate.ts";
import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import { Allowance } from "./allowance.ts";
import { passes, type TailFilter } from "./filters.ts";
import { redactHeaders, redactUrl } from "./redact.ts";
import type { TraceData } from "./trace-item.ts";

/** Of one script at the same time, as on Cloudflare. */
export const MAX_SESSIONS = 10;
/** A session to which nobody is connected ends after so long. */
const UNUSED_MS = 60_000;
/** What a client that reads nothing may make the platform hold; then it is told to come again. */
const MAX_BYTES = 256 * 1024 * 1024;
const SUBPROTOCOL = "trace-v1";
// https://www.rfc-editor.org/rfc/rfc6455#section-7.4: wrangler ends after the first, comes again after the other.
const CLOSE_NORMAL = 1000;
const CLOSE_COME_AGAIN = 1012;

const OVERLOAD =
  "Tail is currently in sampling mode due to the high volume of messages. To prevent messages from being dropped consider adding filters.";
const OVERLOAD_STOP = "Tail has exited sampling mode and is no longer dropping messages.";

/** A session of `wrangler tail`. Times are milliseconds since 1970. */
export interface TailSession {
  id: string;
  expiresAt: number;
  /** Whether anybody looks on. */
  connected: boolean;
}

interface Session extends Omit<TailSession, "connected"> {
  filters: TailFilter[];
  /** When somebody must have connected; undefined while somebody is. */
  connectBy: number | undefined;
}

/** What this process has sent to a session. */
interface Sent {
  allowance: Allowance;
  bytes: number;
}

/**
 * The sessions of `wrangler tail` of one script; named by its id. The catalog says whether there are any,
 * and executors pass on what they see of the script only then. Sessions outlive the process, the sockets of
 * those who are connected do not.
 */
export class TailObject extends DurableObject<Env> {
  #sessions: Session[];
  readonly #sent = new Map<string, Sent>();
  // What the catalog says, if that is known, and the changes of it, one after the other.
  #entered: number | "none" | "unknown" = "unknown";
  #entering: Promise<boolean> = Promise.resolve(true);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sessions = ctx.storage.kv.get<Session[]>("sessions") ?? [];
    // Cut off by the end of the process that this object was in before.
    const cutOff = this.#sessions.filter(
      ({ id, connectBy }) => connectBy === undefined && this.#sockets(id).length === 0,
    );
    for (const session of cutOff) session.connectBy = Date.now() + UNUSED_MS;
    if (cutOff.length > 0) ctx.waitUntil(this.#changed());
  }

  /** Begins a session of at most so many milliseconds; `undefined`: no such script. */
  async open(
    scriptId: string,
    filters: TailFilter[],
    lifetimeMs: number,
  ): Promise<TailSession | "too many" | undefined> {
    if (this.#sessions.length >= MAX_SESSIONS) return "too many";
    const now = Date.now();
    const session = {
      id: crypto.randomUUID(),
      filters,
      expiresAt: now + lifetimeMs,
      connectBy: now + UNUSED_MS,
    };
    this.ctx.storage.kv.put("scriptId", scriptId);
    this.#sessions.push(session);
    if (await this.#changed()) return this.#describe(session);
    await this.destroy();
    return undefined;
  }

  async list(): Promise<TailSession[]> {
    return this.#sessions.map((session) => this.#describe(session));
  }

  /** Ends a session; false if there is none of this id. */
  async close(id: string): Promise<boolean> {
    if (!this.#find(id)) return false;
    await this.#end([id], "The session was ended.");
    return true;
  }

  /** The script is gone. */
  async destroy(): Promise<void> {
    for (const { id } of this.#sessions) this.#hangUp(id, "The Worker was deleted.");
    this.#sessions = [];
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  /** Shows invocations, each a `TraceData` as JSON, to the sessions whose filters they pass. */
  async show(items: string[], missed: number): Promise<void> {
    if (this.#sessions.length === 0) {
      // Somebody has not heard that the last one is over. Of a script that is gone nothing is known.
      if (this.#entered === "unknown" && this.#scriptId) await this.#changed();
      return;
    }
    for (const json of items) {
      const item = JSON.parse(json) as TraceData;
      let redacted: string | undefined;
      for (const { id, filters } of this.#sessions) {
        if (passes(item, filters)) this.#send(id, (redacted ??= toRedactedJson(item)));
      }
    }
    if (missed > 0) for (const { id } of this.#sessions) this.#leaveOut(id);
  }

  /** Connects to the session whose id is the last part of the path. */
  override async fetch(request: Request): Promise<Response> {
    const session = this.#find(request.url.slice(request.url.lastIndexOf("/") + 1));
    if (!session) return new Response("There is no such session", { status: 404 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [session.id]);
    session.connectBy = undefined;
    await this.#changed();
    const offered = request.headers.get("sec-websocket-protocol")?.split(/\s*,\s*/) ?? [];
    return new Response(null, {
      status: 101,
      webSocket: client,
      ...(offered.includes(SUBPROTOCOL) && { headers: { "sec-websocket-protocol": SUBPROTOCOL } }),
    });
  }

  // wrangler says whether it wants to see what its filters keep from it. It does not come to that here.
  override webSocketMessage(): void {}

  override async webSocketClose(socket: WebSocket): Promise<void> {
    await this.#left(socket);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.#left(socket);
  }

  override async alarm(): Promise<void> {
    const now = Date.now();
    const over = this.#sessions.filter((session) => endOf(session) <= now);
    await this.#end(
      over.map(({ id }) => id),
      "The session has expired.",
    );
  }

  // Who comes back opens another session, as wrangler does.
  async #left(socket: WebSocket): Promise<void> {
    const [id = ""] = this.ctx.getTags(socket);
    const others = this.#sockets(id).filter((other) => other !== socket);
    if (others.length === 0 && this.#find(id)) await this.#end([id]);
  }

  get #scriptId(): string | undefined {
    return this.ctx.storage.kv.get<string>("scriptId");
  }

  #describe({ id, expiresAt }: Session): TailSession {
    return { id, expiresAt, connected: this.#sockets(id).length > 0 };
  }

  #find(id: string): Session | undefined {
    return this.#sessions.find((session) => session.id === id);
  }

  #sockets(id: string): WebSocket[] {
    const sockets = this.ctx.getWebSockets(id);
    return sockets.filter(({ readyState }) => readyState === WebSocket.OPEN);
  }

  async #end(ids: string[], reason?: string): Promise<void> {
    for (const id of ids) this.#hangUp(id, reason);
    this.#sessions = this.#sessions.filter(({ id }) => !ids.includes(id));
    await this.#changed();
  }

  #hangUp(id: string, reason?: string): void {
    for (const socket of this.#sockets(id)) {
      // The reason of the closing is shown to nobody.
      if (reason !== undefined) socket.send(notice("overload-stop", reason));
      socket.close(CLOSE_NORMAL, reason);
    }
    this.#sent.delete(id);
  }

  #sentTo(id: string): Sent {
    let sent = this.#sent.get(id);
    if (!sent) this.#sent.set(id, (sent = { allowance: new Allowance(), bytes: 0 }));
    return sent;
  }

  #send(id: string, message: string): void {
    const sockets = this.#sockets(id);
    if (sockets.length === 0) return;
    const sent = this.#sentTo(id);
    if (!sent.allowance.take(message.length)) return this.#leaveOut(id);
    const calm = sent.allowance.calmsDown();
    sent.bytes += message.length;
    for (const socket of sockets) {
      if (calm) socket.send(notice("overload-stop", OVERLOAD_STOP));
      socket.send(message);
      if (sent.bytes > MAX_BYTES) socket.close(CLOSE_COME_AGAIN, "Connect again");
    }
  }

  #leaveOut(id: string): void {
    if (!this.#sentTo(id).allowance.leaveOut()) return;
    for (const socket of this.#sockets(id)) socket.send(notice("overload", OVERLOAD));
  }

  /** Stores what has changed and tells the catalog; false if the script is gone. */
  async #changed(): Promise<boolean> {
    const { storage } = this.ctx;
    storage.kv.put("sessions", this.#sessions);
    if (this.#sessions.length > 0) await storage.setAlarm(Math.min(...this.#sessions.map(endOf)));
    else await storage.deleteAlarm();
    this.#entering = this.#entering.then(() => this.#enter());
    return this.#entering;
  }

  async #enter(): Promise<boolean> {
    const scriptId = this.#scriptId;
    const last = Math.max(...this.#sessions.map(({ expiresAt }) => expiresAt));
    const until = this.#sessions.length > 0 ? last : "none";
    if (scriptId === undefined || until === this.#entered) return true;
    try {
      const known = await setTailed(
        this.env.CATALOG,
        scriptId,
        until === "none" ? undefined : until,
      );
      if (until !== "none" && !known) return false;
      // Executors know whether it is tailed, not until when.
      const told = typeof this.#entered === "number" && until !== "none";
      this.#entered = until;
      if (!told) await tellExecutors(this.env, this.ctx);
    } catch (error) {
      this.#entered = "unknown";
      log("warn", "tail_not_entered", { script: scriptId, message: String(error) });
    }
    return true;
  }
}

const endOf = ({ expiresAt, connectBy = Infinity }: Session): number =>
  Math.min(expiresAt, connectBy);

function toRedactedJson(item: TraceData): string {
  const { event } = item;
  if (!event || !("request" in event)) return JSON.stringify(item);
  const { url, headers } = event.request;
  const request = { ...event.request, url: redactUrl(url), headers: redactHeaders(headers) };
  return JSON.stringify({ ...item, event: { ...event, request } });
}

/** What wrangler prints instead of an invocation. */
const notice = (type: "overload" | "overload-stop", message: string): string =>
  JSON.stringify({
    outcome: "ok",
    scriptName: null,
    exceptions: [],
    logs: [],
    eventTimestamp: Date.now(),
    event: { type, message },
  });
