import type { Context } from "hono";
import { deployedHandlers } from "../catalog/deployed-handlers.ts";
import { getScript, type TailConsumer } from "../catalog/scripts.ts";
import type { ControlEnv } from "./app.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf } from "./script.ts";

const UNKNOWN_TAIL_WORKER = 10203;

/** Throws if one of them is no other script of the account with a `tail()` handler. */
export async function checkTailConsumers(
  c: Context<ControlEnv>,
  producer: string,
  consumers: TailConsumer[] = [],
): Promise<void> {
  const { CATALOG: db } = c.env;
  for (const [index, { service }] of consumers.entries()) {
    const field = `tail_consumers.${index}.service`;
    if (service === producer) throw invalid(10021, field, service, "another Worker of the account");
    const script = await getScript(db, accountOf(c), service);
    if (!script) {
      throw new ApiError(
        400,
        UNKNOWN_TAIL_WORKER,
        `${field}: got "${service}": Tail Worker does not exist on this account. Check the Worker name and try again.`,
      );
    }
    if (!(await deployedHandlers(db, script.id)).includes("tail")) {
      throw invalid(10021, field, service, "a Worker whose deployed version has a tail() handler");
    }
  }
}
