import { callApi } from "./call-api.ts";
import type { Settings } from "./settings.ts";
import { storageToText, type StorageResult } from "./storage-text.ts";
import { toTable } from "./table.ts";
import type { Group, OperationRow, Sums, UsageRow } from "../usage/rows.ts";

/** As typed; what is allowed the API says. */
export interface UsageOptions {
  by?: string | undefined;
  since?: string | undefined;
  until?: string | undefined;
  script?: string | undefined;
  json?: boolean | undefined;
}

/** What the API answers. */
export interface UsageResult {
  since: string;
  until: string;
  memory_mb: number;
  cpu_time_known: boolean;
  rows: UsageRow[] | OperationRow[];
  total: Sums;
}

/** `mayfly usage`: what the default account's workers have used, as a table or as JSON. */
export async function showUsage(settings: Settings, options: UsageOptions): Promise<void> {
  const { json, by = "script", ...others } = options;
  const query = new URLSearchParams({ by });
  for (const [name, value] of Object.entries(others))
    if (value !== undefined) query.set(name, value);
  const usage = await callApi<UsageResult>(settings, "GET", `/mayfly/usage?${query}`);
  const storage = await callApi<StorageResult>(settings, "GET", "/mayfly/usage/storage");
  process.stdout.write(
    json
      ? `${JSON.stringify({ ...usage, storage }, null, 2)}\n`
      : `${toText(usage)}\n${storageToText(storage)}\n`,
  );
}

const time = (text: string): string => text.replace(/^(.*)T(.*):00\.000Z$/, "$1 $2");

function toText({ since, until, memory_mb, cpu_time_known, rows, total }: UsageResult): string {
  const lines = [`From ${time(since)} to ${time(until)} UTC\n`];
  const [first] = rows;
  if (!first) lines.push("Nothing has been used.");
  else if ("count" in first) lines.push(operationTable(rows as OperationRow[]));
  else lines.push(usageTable(rows as UsageRow[], total));
  if (first && !("count" in first)) {
    const operations = Object.entries(total.operations).sort(([a], [b]) => (a < b ? -1 : 1));
    const calls = operations.map(([name, count]) => `${name} ${whole(count)}`);
    if (calls.length > 0) lines.push(`\nCalls of bindings: ${calls.join(", ")}`);
    lines.push(`\nGB-s: wall time at ${memory_mb} MB. CPU time is estimated.`);
  }
  if (!cpu_time_known) lines.push("CPU time is not known here: it counts as 0.");
  return `${lines.join("\n")}\n`;
}

const whole = (number: number): string => Math.round(number).toLocaleString("en-US");
const fraction = (number: number): string =>
  number.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const COLUMNS: [title: string, value: (sums: Sums) => string][] = [
  ["invocations", ({ invocations }) => whole(invocations)],
  ["errors", ({ errors }) => whole(errors)],
  ["wall s", ({ wall_time_ms }) => fraction(wall_time_ms / 1000)],
  ["CPU s", ({ cpu_time_ms }) => fraction(cpu_time_ms / 1000)],
  ["GB-s", ({ gb_seconds }) => fraction(gb_seconds)],
  ["subrequests", ({ subrequests }) => whole(subrequests)],
  ["bytes in", ({ request_bytes }) => whole(request_bytes)],
  ["bytes out", ({ response_bytes }) => whole(response_bytes)],
  [
    "binding calls",
    ({ operations }) => whole(Object.values(operations).reduce((a, b) => a + b, 0)),
  ],
];

function usageTable(rows: UsageRow[], total: Sums): string {
  const groups = groupsOf(rows[0] as UsageRow);
  const titles = [
    ...groups.map((name) => name.replace("_", " ")),
    ...COLUMNS.map(([title]) => title),
  ];
  const cells = (row: Group & Sums): string[] => [
    ...groups.map((name) => String(row[name])),
    ...COLUMNS.map(([, value]) => value(row)),
  ];
  const sum = [
    "total",
    ...groups.slice(1).map(() => ""),
    ...COLUMNS.map(([, value]) => value(total)),
  ];
  if (groups.length === 0) return toTable([titles, ...rows.map(cells)], 0);
  return toTable([titles, ...rows.map(cells), sum], groups.length);
}

function operationTable(rows: OperationRow[]): string {
  const groups = groupsOf(rows[0] as OperationRow);
  const titles = [...groups.map((name) => name.replace("_", " ")), "calls"];
  const cells = rows.map((row) => [...groups.map((name) => String(row[name])), whole(row.count)]);
  return toTable([titles, ...cells], groups.length);
}

const GROUPS = [
  "script_name",
  "version_id",
  "trigger",
  "minute",
  "hour",
  "day",
  "operation",
] as const;

// In the order in which the API gives them, which is that of the question.
const groupsOf = (row: Group): (keyof Group)[] =>
  Object.keys(row).filter((name): name is keyof Group => GROUPS.includes(name as keyof Group));
