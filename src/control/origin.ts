import type { Context } from "hono";
import type { ControlEnv } from "./app.ts";

/** Who makes a change, as versions and deployments tell afterwards. */
export interface Origin {
  /** Cloudflare's words: "wrangler", or "api" for everything else. */
  source: "wrangler" | "api";
  /** The token's name. */
  author: string;
}

export function originOf(c: Context<ControlEnv>): Origin {
  const wrangler = c.req.header("user-agent")?.startsWith("wrangler/") ?? false;
  return { source: wrangler ? "wrangler" : "api", author: c.var.principal.tokenName };
}
