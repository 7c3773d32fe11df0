/**
 * Measures Mayfly against workerd, Miniflare and others, on this machine, in one run:
 * `npm run bench [-- --quick] [--only <part>]…`. What travels between machines are the ratios. Targets
 * take turns, round by round, and what is printed is the median of the rounds.
 */
import { cpus, loadavg, release, type as system } from "node:os";
import { parseArgs } from "node:util";
import { firstRequests } from "./bench/parts/first-requests.ts";
import { latency } from "./bench/parts/latency.ts";
import { observing } from "./bench/parts/observing.ts";
import { peers } from "./bench/parts/peers.ts";
import { queues } from "./bench/parts/queues.ts";
import { throughput } from "./bench/parts/throughput.ts";
import { report, type Grid, type Section } from "./bench/report.ts";
import "./build.ts";

const PARTS: Record<string, (quick: boolean) => Promise<(Section | Grid)[]>> = {
  throughput,
  first: firstRequests,
  latency,
  queues,
  observing,
  peers,
};
const PART_WITHIN_MS = 10 * 60_000;

const { quick, only } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: Object.keys(PARTS) },
  },
}).values;
for (const part of only) {
  if (part in PARTS) continue;
  console.error(
    `--only: got ${JSON.stringify(part)}, must be one of ${Object.keys(PARTS).join(", ")}`,
  );
  process.exit(2);
}
// What has been started is ended when this process exits.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

const begun = Date.now();
// What else ran on the machine when the run began: above a few tenths the result says little.
const [load = 0] = loadavg();
const [cpu] = cpus();
const command = [
  "npm run bench",
  ...(process.argv.length > 2 ? ["--"] : []),
  ...process.argv.slice(2),
];
console.log(
  `\`${command.join(" ")}\`, ${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu?.model.trim()}, ` +
    `${system()} ${release()}, Node ${process.version}, load ${load.toFixed(1)} before\n`,
);
for (const [part, measure] of Object.entries(PARTS)) {
  if (!only.includes(part)) continue;
  const tooLong = setTimeout(() => {
    console.error(`${part}: not done within ${PART_WITHIN_MS / 60_000} minutes`);
    process.exit(1);
  }, PART_WITHIN_MS);
  console.log(report(await measure(quick)));
  clearTimeout(tooLong);
}
console.log(`${Math.round((Date.now() - begun) / 1000)} s`);
