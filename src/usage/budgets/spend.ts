/**
 * The executor's side of budgets: invocations of scripts that have some begin from a lease, so that most of
 * them cost two comparisons. See `object.ts` for what state does.
 */
import type { ScriptTarget } from "../../catalog/routing.ts";
import type { Env } from "../../env.ts";
import type { PageError } from "../../pipeline/error-page.ts";
import { budgetExhausted, stateUnavailable } from "../../pipeline/errors.ts";
import { processId } from "../../pipeline/invocation-id.ts";
import { askState } from "../../roles/ask-state.ts";
import { stateOf } from "../../roles/contract.ts";
import type { Returned } from "./protocol.ts";

/** What is asked for at first, and the most. */
const MIN_WANTED = 8;
const MAX_WANTED = 1_000;
/** About how long a lease shall last: what is asked for follows it. */
const LEASE_LASTS_MS = 100;
/** What is not used for so long is given back. */
const IDLE_MS = 2_000;
/** Longer than a question takes at the most. Who asked may be gone before it has the answer. */
const ANSWERED_WITHIN_MS = 15_000;

/** What this process may begin of one script's invocations. */
interface Held {
  accountId: string;
  scriptId: string;
  scriptName: string;
  /** Since this is counted here; what was granted and not spent may be spent. */
  granted: number;
  spent: number;
  /** Until when, in milliseconds since 1970. */
  until: number;
  /** Until when it is of no use to ask, and when there may be something again. */
  refusedUntil: number;
  retryAt: number;
  /** What was granted in an earlier turn has been taken back. */
  turn: number;
  wanted: number;
  grantedAt: number;
  /** The question under way. */
  asking: Question | undefined;
}

interface Question {
  answered: Promise<void>;
}

// By the script's id. They stay for as long as the process does: what it has spent must not be forgotten.
const all = new Map<string, Held>();
let asked = 0;

/**
 * Takes one invocation of a script that has budgets. Undefined: it may begin, and `giveBack` must be called if
 * it does not. Else why it may not.
 */
export function spend(
  target: ScriptTarget,
  env: Env,
  ctx: ExecutionContext,
): PageError | undefined | Promise<PageError | undefined> {
  const held = all.get(target.scriptId) ?? newHeld(target);
  const now = Date.now();
  if (held.spent < held.granted && now < held.until) {
    held.spent++;
    return undefined;
  }
  return now < held.refusedUntil ? refusal(held, now) : spendWhenGranted(held, env, ctx);
}

/** An invocation that was taken does not begin. */
export function giveBack({ scriptId }: ScriptTarget): void {
  const held = all.get(scriptId);
  if (held) held.spent--;
}

/** When there may be something of the script's budgets again, if there is nothing now. */
export const budgetRetryAt = ({ scriptId }: ScriptTarget): number =>
  all.get(scriptId)?.retryAt ?? 0;

function newHeld({ accountId, scriptId, scriptName }: ScriptTarget): Held {
  const held: Held = {
    accountId,
    scriptId,
    scriptName,
    granted: 0,
    spent: 0,
    until: 0,
    refusedUntil: 0,
    retryAt: 0,
    turn: 0,
    wanted: MIN_WANTED,
    grantedAt: 0,
    asking: undefined,
  };
  all.set(scriptId, held);
  return held;
}

const refusal = ({ retryAt }: Held, now: number): PageError =>
  budgetExhausted(Math.max(1, Math.ceil((retryAt - now) / 1000)));

async function spendWhenGranted(
  held: Held,
  env: Env,
  ctx: ExecutionContext,
): Promise<PageError | undefined> {
  for (;;) {
    const now = Date.now();
    if (held.spent < held.granted && now < held.until) {
      held.spent++;
      return undefined;
    }
    if (now < held.refusedUntil) return refusal(held, now);
    const asking = held.asking ?? askForMore(held, env, ctx);
    try {
      const late = scheduler.wait(ANSWERED_WITHIN_MS).then(() => {
        if (held.asking === asking) held.asking = undefined;
      });
      await Promise.race([asking.answered, late]);
    } catch {
      return stateUnavailable;
    }
  }
}

/** Asks for more, one question at a time. */
function askForMore(held: Held, env: Env, ctx: ExecutionContext): Question {
  const lastedMs = Date.now() - held.grantedAt;
  if (lastedMs < LEASE_LASTS_MS) held.wanted = Math.min(held.wanted * 2, MAX_WANTED);
  else if (lastedMs > 4 * LEASE_LASTS_MS) held.wanted = Math.max(held.wanted / 2, MIN_WANTED);
  return ask(held, held.wanted, env, ctx);
}

function ask(held: Held, wanted: number, env: Env, ctx: ExecutionContext): Question {
  const asking: Question = { answered: Promise.resolve() };
  held.asking = asking;
  asking.answered = settle(held, wanted, asking, env, ctx).finally(() => {
    if (held.asking === asking) held.asking = undefined;
  });
  // Others wait for the answer, too: it must come even if the client of this one goes away.
  ctx.waitUntil(asking.answered.catch(() => undefined));
  return asking;
}

async function settle(
  held: Held,
  wanted: number,
  asking: Question,
  env: Env,
  ctx: ExecutionContext,
): Promise<void> {
  const { accountId, scriptId, scriptName } = held;
  // What is left, if it was too late for it, counts as given back from here on.
  held.granted = held.spent;
  const spent = held.spent;
  const lease = await askState(() =>
    stateOf(env, ctx).leaseInvocations(accountId, {
      processId: processId(),
      scriptId,
      scriptName,
      number: ++asked,
      spent,
      wanted,
    }),
  );
  // A later question, or a recall, has settled it otherwise.
  if (held.asking !== asking || lease.turn < held.turn) return;
  const { refused } = lease;
  held.granted = lease.granted;
  held.until = lease.until;
  held.grantedAt = Date.now();
  held.refusedUntil = refused?.until ?? 0;
  held.retryAt = refused?.retryAt ?? 0;
}

/** Gives back what the process may still begin of the account's invocations: see `ExecutorRole`. */
export function returnAll(accountId: string, turn: number): Returned {
  const spent: Returned["spent"] = [];
  for (const held of all.values()) {
    if (held.accountId !== accountId) continue;
    held.granted = held.spent;
    held.turn = Math.max(held.turn, turn);
    spent.push({ scriptId: held.scriptId, spent: held.spent });
  }
  return { processId: processId(), spent };
}

/** Asks again for what was refused: budgets may have changed. */
export function forgetRefusals(): void {
  for (const held of all.values()) held.refusedUntil = 0;
}

/** Gives back everything, as this process is about to end. Resolves when state knows. */
export async function returnBeforeEnd(env: Env, ctx: ExecutionContext): Promise<void> {
  const holding = [...all.values()].filter(({ granted, spent }) => granted > spent);
  await Promise.allSettled(holding.map((held) => (held.asking ?? ask(held, 0, env, ctx)).answered));
}

/** Whether there is anything that must be given back. */
export function holdsInvocations(): boolean {
  for (const { granted, spent } of all.values()) if (granted > spent) return true;
  return false;
}

/** Gives back what has not been used for a while. */
export function returnIdle(now: number, env: Env, ctx: ExecutionContext): void {
  for (const held of all.values()) {
    const idle = held.granted > held.spent && now - held.grantedAt > IDLE_MS;
    if (idle && !held.asking) ask(held, 0, env, ctx);
  }
}
