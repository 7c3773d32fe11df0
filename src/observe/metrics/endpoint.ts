import type { Env } from "../../env.ts";
import { stateOf } from "../../roles/contract.ts";

/** `GET /_mayfly/metrics`: the numbers of all processes in Prometheus' text format. Needs a token. */
export async function metrics(
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const token = request.headers.get("authorization")?.replace(/^Bearer /, "");
  // Only state knows all executors.
  const text = token ? await stateOf(env, ctx).metrics(token) : undefined;
  if (text === undefined) {
    return new Response("401: needs Authorization: Bearer <token>\n", {
      status: 401,
      headers: { "www-authenticate": "Bearer" },
    });
  }
  return new Response(text, {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  });
}
