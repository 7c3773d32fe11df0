import { PLATFORM } from "../../pipeline/calls.ts";
import type { Caller } from "../../pipeline/calls.ts";
import type { Webhook } from "./protocol.ts";

/** What a host is given to answer. */
const ANSWER_MS = 10_000;

type EgressLoopback = (options: { props: Caller }) => Fetcher;

/**
 * Sends the request to where the account's workers may send theirs: public addresses, and what this platform
 * serves, within the account's rules. The status of the answer.
 */
export async function callWebhook(
  accountId: string,
  { url, headers, body }: Webhook,
  ctx: ExecutionContext,
): Promise<number> {
  const { Egress } = ctx.exports as unknown as { Egress: EgressLoopback };
  const egress = Egress({ props: { ...PLATFORM, accountId } });
  const response = await egress.fetch(url, {
    method: "POST",
    headers,
    body,
    redirect: "manual",
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  await response.body?.cancel();
  return response.status;
}
