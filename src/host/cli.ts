import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { restoreBackup } from "./backup.ts";
import { listBudgets, removeBudget, setBudget, type BudgetOptions } from "./budget-commands.ts";
import { tellSupervisor } from "./control-socket.ts";
import { printEnvironment } from "./environment-command.ts";
import { HostError } from "./host-error.ts";
import { showLogs } from "./logs-command.ts";
import { ROOT } from "./paths.ts";
import { showPrices } from "./prices-command.ts";
import { readSettings } from "./settings.ts";
import { startCommand } from "./start-command.ts";
import { createToken, listTokens, revokeToken } from "./token-commands.ts";
import { showUsage } from "./usage-command.ts";

const HELP = `mayfly <command>

  start [--sandbox | --no-sandbox]
                                   run the platform until it is told to stop; with a sandbox around
                                   the processes that run workers, where that works (default),
                                   always, or never
  reload                           replace all executors without a failed request
  backup <folder>                  copy all data while the platform runs
  restore <folder>                 put such a copy into an empty data folder
  env                              print the variables that point wrangler here:
                                   eval "$(mayfly env)"
  token create <name> [--access read|write]
                                   make an API token of the default account (default: write)
  token list                       list its API tokens
  token revoke <id>                end an API token
  logs <script> [--since <time>] [--until <time>] [--level <level>] [--search <text>]
      [--invocation <id>] [--outcome <outcome>] [--trigger <trigger>] [--field <path>=<value>]…
      [--limit <count>] [--json] [--follow]
                                   what a script of the default account has run and logged, if its
                                   observability is enabled; the newest last; --follow goes on
  usage [--by <what>] [--since <time>] [--until <time>] [--script <name>] [--json]
                                   what workers of the default account have used; by script, version,
                                   trigger, minute, hour, day, operation or total, or several of them;
                                   times such as 2026-11-01, 24h or month (default)
  usage --prices [--month <month>] [--machine <price>] [--no-free-tier] [--json]
                                   what this month, or one such as 2026-11, would have cost elsewhere;
                                   beside what a machine costs, such as 5EUR or 12.50USD
  budget set <name> --invocations <n> | --cpu-ms <n> | --usd <n>
      [--script <name>] [--period day|month] [--warn-at <shares>] [--webhook <url>]
      [--action warn|throttle|stop] [--per-second <n>] [--rates <invocations>,<cpu-ms>]
                                   limit what workers of the default account, or one of them, may
                                   use; rates in dollars for a million of each
  budget list [--json]             list its budgets and how they stand
  budget remove <name>             take a budget away
  help                             print this
  --version                        print the version

Settings are environment variables: PORT, MAYFLY_DATA, MAYFLY_TOKEN, MAYFLY_DOMAIN, MAYFLY_BIND,
MAYFLY_ZONES, MAYFLY_API_HOSTS, MAYFLY_EXECUTORS, MAYFLY_SHARDS, MAYFLY_QUERY_MS,
MAYFLY_DRAIN_SECONDS, MAYFLY_LOG_DAYS, MAYFLY_LOG_MB, MAYFLY_SANDBOX, MAYFLY_TLS_CERT,
MAYFLY_TLS_KEY, MAYFLY_TRUSTED_PROXIES.
docs/running.md describes them.
`;

/** What was typed is not a command: shown with a hint, exit code 2. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help || positionals[0] === "help") return print(HELP);
  if (values.version) return print(`${version()}\n`);
  const [command, ...rest] = positionals;
  checkOptions(Object.keys(values), positionals.join(" "));
  switch (command) {
    case "start":
      takes(rest, 0, "start");
      return startCommand(readSettings({ ...process.env, ...sandboxOption(values.sandbox) }));
    case "reload":
      takes(rest, 0, "reload");
      return tellSupervisor(readSettings(process.env).dataFolder, "reload");
    case "backup": {
      const [folder] = takes(rest, 1, "backup <folder>");
      const { dataFolder } = readSettings(process.env);
      return tellSupervisor(dataFolder, "backup", resolve(folder as string));
    }
    case "restore": {
      const [folder] = takes(rest, 1, "restore <folder>");
      return restoreBackup(resolve(folder as string), readSettings(process.env).dataFolder);
    }
    case "env":
      takes(rest, 0, "env");
      return printEnvironment(readSettings(process.env));
    case "token":
      return token(rest, values.access);
    case "logs": {
      const [script] = takes(rest, 1, "logs <script>");
      return showLogs(readSettings(process.env), script as string, values);
    }
    case "usage":
      takes(rest, 0, "usage");
      if (values.prices) return showPrices(readSettings(process.env), values);
      checkPrices(Object.keys(values));
      return showUsage(readSettings(process.env), values);
    case "budget":
      return budget(rest, values);
    default:
      throw new UsageError(command ? `Unknown command "${command}"` : "No command given");
  }
}

/** The commands that take an option. */
const COMMANDS_WITH: Record<string, string[]> = {
  access: ["token create"],
  sandbox: ["start"],
  by: ["usage"],
  since: ["usage", "logs"],
  until: ["usage", "logs"],
  script: ["usage", "budget set"],
  prices: ["usage"],
  month: ["usage"],
  machine: ["usage"],
  "free-tier": ["usage"],
  json: ["usage", "logs", "budget list"],
  level: ["logs"],
  search: ["logs"],
  invocation: ["logs"],
  outcome: ["logs"],
  trigger: ["logs"],
  field: ["logs"],
  limit: ["logs"],
  follow: ["logs"],
  invocations: ["budget set"],
  "cpu-ms": ["budget set"],
  usd: ["budget set"],
  rates: ["budget set"],
  period: ["budget set"],
  action: ["budget set"],
  "per-second": ["budget set"],
  "warn-at": ["budget set"],
  webhook: ["budget set"],
};

function checkOptions(given: string[], typed: string): void {
  for (const option of given) {
    const commands = COMMANDS_WITH[option];
    if (!commands || commands.some((command) => `${typed} `.startsWith(`${command} `))) continue;
    throw new UsageError(`--${option} belongs to ${commands.join(" and ")}`);
  }
}

function checkPrices(given: string[]): void {
  const option = given.find((name) => ["month", "machine", "free-tier"].includes(name));
  if (option) throw new UsageError(`--${option} belongs to usage --prices`);
}

/** What is said on the command line counts more than the environment. */
function sandboxOption(sandbox: boolean | undefined): { MAYFLY_SANDBOX?: string } {
  return sandbox === undefined ? {} : { MAYFLY_SANDBOX: sandbox ? "on" : "off" };
}

async function token([action, ...rest]: string[], access = "write"): Promise<void> {
  switch (action) {
    case "create": {
      const [name] = takes(rest, 1, "token create <name>");
      if (access !== "read" && access !== "write") {
        throw new UsageError(`--access: got "${access}", must be read or write`);
      }
      return createToken(readSettings(process.env), name as string, access);
    }
    case "list":
      takes(rest, 0, "token list");
      return listTokens(readSettings(process.env));
    case "revoke": {
      const [id] = takes(rest, 1, "token revoke <id>");
      return revokeToken(readSettings(process.env), id as string);
    }
    default:
      throw new UsageError(
        `${action ? `Unknown command "token ${action}"` : "token"}: must be create, list or revoke`,
      );
  }
}

async function budget(
  [action, ...rest]: string[],
  options: BudgetOptions & { json?: boolean | undefined },
): Promise<void> {
  const settings = readSettings(process.env);
  switch (action) {
    case "set": {
      const [name] = takes(rest, 1, "budget set <name> …");
      return setBudget(settings, name as string, options);
    }
    case "list":
      takes(rest, 0, "budget list");
      return listBudgets(settings, options.json);
    case "remove": {
      const [name] = takes(rest, 1, "budget remove <name>");
      return removeBudget(settings, name as string);
    }
    default:
      throw new UsageError(
        `${action ? `Unknown command "budget ${action}"` : "budget"}: must be set, list or remove`,
      );
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      allowNegative: true,
      options: {
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
        access: { type: "string" },
        sandbox: { type: "boolean" },
        by: { type: "string" },
        since: { type: "string" },
        until: { type: "string" },
        script: { type: "string" },
        prices: { type: "boolean" },
        month: { type: "string" },
        machine: { type: "string" },
        "free-tier": { type: "boolean" },
        json: { type: "boolean" },
        level: { type: "string" },
        search: { type: "string" },
        invocation: { type: "string" },
        outcome: { type: "string" },
        trigger: { type: "string" },
        field: { type: "string", multiple: true },
        limit: { type: "string" },
        follow: { type: "boolean", short: "f" },
        invocations: { type: "string" },
        "cpu-ms": { type: "string" },
        usd: { type: "string" },
        rates: { type: "string" },
        period: { type: "string" },
        action: { type: "string" },
        "per-second": { type: "string" },
        "warn-at": { type: "string" },
        webhook: { type: "string" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function takes(args: string[], count: number, usage: string): string[] {
  if (args.length === count) return args;
  throw new UsageError(`Usage: mayfly ${usage}`);
}

function print(text: string): void {
  process.stdout.write(text);
}

function version(): string {
  const file = readFileSync(join(ROOT, "package.json"), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\nmayfly help lists the commands.\n`);
    process.exitCode = 2;
  } else if (error instanceof HostError) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  } else throw error;
}
