import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { callApi } from "../../../test/harness/api.ts";
import type { Platform } from "../../../test/harness/platform.ts";
import { upload } from "../../../test/harness/upload.ts";
import { whenWarm } from "../load.ts";
import { at, HELLO } from "../mayfly.ts";
import type { Row, Section } from "../report.ts";
import { Stage } from "../stage.ts";
import { median, medianRatio } from "../statistics.ts";
import { CONNECTIONS } from "./throughput.ts";

/** The same worker, which also writes one line of three fields. */
const LOGGING = HELLO.replace(
  "return new",
  'console.log({ event: "greeted", to: "World", took: 1 });\n    return new',
);
const KEPT = { observability: { enabled: true } };
/** More than the run can use. */
const INVOCATIONS = 1_000_000_000;
const SAMPLED = 0.05;

type Name = "off" | "kept" | "budget" | "logging" | "loggingKept" | "traced" | "sampled";

/** What it costs to see and to cap what workers do: requests per second of one executor with each on and off. */
export async function observing(quick: boolean): Promise<Section[]> {
  const { rounds, seconds } = quick ? { rounds: 3, seconds: 1 } : { rounds: 7, seconds: 2 };
  await using stage = new Stage();
  const plain = await stage.platform({ env: { MAYFLY_EXECUTORS: "1" } });
  const endpoint = await collector(stage);
  const tracing = (ratio: number): Promise<Platform> =>
    stage.platform({
      env: {
        MAYFLY_EXECUTORS: "1",
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
        OTEL_TRACES_SAMPLER_ARG: String(ratio),
      },
    });
  const [all, some] = [await tracing(1), await tracing(SAMPLED)];
  const targets = {
    off: await deploy(plain, "off", HELLO),
    kept: await deploy(plain, "kept", HELLO, KEPT),
    budget: await deploy(plain, "budget", HELLO),
    logging: await deploy(plain, "logging", LOGGING),
    loggingKept: await deploy(plain, "logging-kept", LOGGING, KEPT),
    traced: await deploy(all, "traced", HELLO),
    sampled: await deploy(some, "sampled", HELLO),
  };
  await callApi(plain, "PUT", `/accounts/${plain.accountId}/mayfly/budgets/bench`, {
    script: "budget",
    limit: { invocations: INVOCATIONS },
    period: "day",
    action: "stop",
  });
  const names = Object.keys(targets) as Name[];
  const perSecond = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >;
  for (let round = 0; round < rounds; round++) {
    // None of them is always the first or the last.
    const turns = round % 2 === 0 ? names : names.toReversed();
    for (const name of turns) {
      const answered = await whenWarm(targets[name], CONNECTIONS, seconds);
      perSecond[name].push(answered.perSecond);
    }
  }
  const row = (label: string, name: Name, reference?: Name, of = ""): Row => ({
    name: label,
    value: median(perSecond[name]),
    ...(reference && { ratio: medianRatio(perSecond[name], perSecond[reference]), of }),
  });
  return [
    {
      title: `Observing, shared, ${CONNECTIONS} connections`,
      unit: "req/s",
      rows: [
        row("all off", "off"),
        { ...row("logs kept", "kept", "off", "all off"), aim: { atLeast: 0.95 } },
        row("with a budget", "budget", "off", "all off"),
        row("traces, all requests", "traced", "off", "all off"),
        row(`traces, ${SAMPLED * 100} % of requests`, "sampled", "off", "all off"),
        row("a line written, all off", "logging", "off", "no line"),
        {
          ...row("a line written, logs kept", "loggingKept", "logging", "all off"),
          aim: { atLeast: 0.95 },
        },
      ],
    },
  ];
}

async function deploy(
  platform: Platform,
  name: string,
  code: string,
  metadata: Record<string, unknown> = {},
) {
  await upload(platform, { name, code, isolation: "shared", metadata });
  return at(platform, name);
}

/** Takes all traces and does nothing with them. */
async function collector(stage: Stage): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().once("end", () => {
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stage.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
