import { callApi } from "./call-api.ts";
import { HostError } from "./host-error.ts";
import type { Settings } from "./settings.ts";
import { toTable } from "./table.ts";

/** As typed; what is allowed the API says. */
export interface BudgetOptions {
  script?: string | undefined;
  invocations?: string | undefined;
  "cpu-ms"?: string | undefined;
  usd?: string | undefined;
  rates?: string | undefined;
  period?: string | undefined;
  action?: string | undefined;
  "per-second"?: string | undefined;
  "warn-at"?: string | undefined;
  webhook?: string | undefined;
}

/** As the API shows it; the secret only when it is made. */
interface Budget {
  name: string;
  script: string | null;
  limit: Record<string, number>;
  period: string;
  action: string;
  state: string;
  used: number;
  period_end: string;
  webhook_secret?: string;
}

/** `mayfly budget set`: makes the budget, or replaces it by one with these options. */
export async function setBudget(
  settings: Settings,
  name: string,
  options: BudgetOptions,
): Promise<void> {
  const { script, period, action, webhook, rates } = options;
  const [perMillionInvocations, perMillionCpuMs] = rates?.split(",") ?? [];
  const budget = await callApi<Budget>(settings, "PUT", pathOf(name), {
    script,
    limit: {
      invocations: toNumber("invocations", options.invocations),
      cpu_ms: toNumber("cpu-ms", options["cpu-ms"]),
      usd: toNumber("usd", options.usd),
    },
    ...(rates !== undefined && {
      rates: {
        per_million_invocations: toNumber("rates", perMillionInvocations),
        per_million_cpu_ms: toNumber("rates", perMillionCpuMs),
      },
    }),
    period,
    warn_at: options["warn-at"]?.split(",").map((share) => toNumber("warn-at", share)),
    action,
    throttle_per_second: toNumber("per-second", options["per-second"]),
    webhook,
  });
  process.stderr.write(`${toText([budget])}\n`);
  if (budget.webhook_secret === undefined) return;
  process.stderr.write("Warnings are signed with this secret, shown only now:\n");
  process.stdout.write(`${budget.webhook_secret}\n`);
}

/** `mayfly budget list`: how the default account's budgets stand, as a table or as JSON. */
export async function listBudgets(settings: Settings, json = false): Promise<void> {
  const budgets = await callApi<Budget[]>(settings, "GET", "/mayfly/budgets");
  process.stdout.write(`${json ? JSON.stringify(budgets, null, 2) : toText(budgets)}\n`);
}

/** `mayfly budget remove`. */
export async function removeBudget(settings: Settings, name: string): Promise<void> {
  await callApi(settings, "DELETE", pathOf(name));
  process.stderr.write(`Budget ${name} is removed\n`);
}

const pathOf = (name: string): string => `/mayfly/budgets/${encodeURIComponent(name)}`;

function toNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = text.trim() === "" ? NaN : Number(text);
  if (Number.isFinite(number)) return number;
  throw new HostError(`--${option}: got "${text}", must be a number`);
}

const readable = (number: number): string =>
  number.toLocaleString("en-US", { maximumSignificantDigits: 6 });

function toText(budgets: Budget[]): string {
  if (budgets.length === 0) return "There are no budgets.";
  const rows = budgets.map(({ name, script, limit, period, action, state, used, period_end }) => {
    const [unit = "", amount = 0] = Object.entries(limit)[0] ?? [];
    return [
      name,
      script ?? "(all)",
      action,
      state,
      `${unit} a ${period}`,
      period_end.slice(0, "2026-11-01".length),
      readable(used),
      readable(amount),
      `${Math.floor((100 * used) / amount)} %`,
    ];
  });
  const title = ["name", "script", "action", "state", "of", "until", "used", "limit", ""];
  return toTable([title, ...rows], 6);
}
