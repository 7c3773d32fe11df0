import { isIP } from "node:net";
import { availableParallelism, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { parseNetworks } from "../pipeline/networks.ts";
import { HostError } from "./host-error.ts";
import { ROOT } from "./paths.ts";
import { readTraceSettings, type TraceSettings } from "./trace-settings.ts";

/** How this platform is to run, from environment variables; docs/running.md describes each. */
export interface Settings {
  /** Port of the one public socket. */
  port: number;
  /** Whether `port` was given or is the default. */
  portGiven: boolean;
  /** IP address that the public socket is bound to. */
  bind: string;
  /** Files of the public socket's certificate and its key, as PEM; without them it speaks plain HTTP. */
  tls: { cert: string; key: string } | undefined;
  /** Addresses and networks of proxies that are believed. */
  trustedProxies: string[];
  /** Whether executors run in a sandbox; `auto`: if that works. */
  sandbox: "on" | "off" | "auto";
  /** Data folder, absolute. */
  dataFolder: string;
  /** Root token, if it is not the one kept in the data folder. */
  token: string | undefined;
  /** Base domain of workers' addresses. */
  domain: string;
  /** Further zones of the default account. */
  zones: string[];
  /** Further hosts under which the API answers. */
  apiHosts: string[];
  /** How many executors serve requests. */
  executors: number;
  /** Among how many shards new databases are spread. */
  shards: number;
  /** The longest that a query may take, in milliseconds. */
  queryMs: number;
  /** How long the kept logs of a script stay, in days, and how many MiB of them. */
  logDays: number;
  logMb: number;
  /** CPU time of an invocation in milliseconds: the default, and the most a version may ask for. */
  cpuMs: number;
  maxCpuMs: number;
  /** Memory in MiB above which an executor, or another process that does users' work, is replaced. */
  memoryMb: number;
  /** What requests in flight are given when their executor ends, in milliseconds. */
  drainMs: number;
  /** How many scripts, and how many queues, have series of their own in the metrics. */
  metricsSeries: number;
  /** Undefined: no traces are made. */
  traces: TraceSettings | undefined;
}

/** Throws a `HostError` that names the variable, its value and what is allowed. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  // An empty variable is one that is not set.
  const read = <T>(
    name: string,
    otherwise: T,
    parse: (text: string) => T | undefined,
    allowed: string,
  ): T => {
    const text = env[name]?.trim();
    if (!text) return otherwise;
    const value = parse(text);
    if (value === undefined) {
      throw new HostError(`${name}: got ${JSON.stringify(text)}, must be ${allowed}`);
    }
    return value;
  };
  const hosts = "host names like example.com, separated by commas, without ports";
  const cpuLimit = (name: string, otherwise: number): number =>
    read(
      name,
      otherwise,
      (text) => parseNumber(text, MIN_CPU_MS, MAX_CPU_MS),
      `a whole number from ${MIN_CPU_MS} to ${MAX_CPU_MS}`,
    );
  const executors = read(
    "MAYFLY_EXECUTORS",
    availableParallelism(),
    (text) => parseNumber(text, 1, MAX_EXECUTORS),
    `a whole number from 1 to ${MAX_EXECUTORS}`,
  );
  return {
    port: read(
      "PORT",
      8787,
      (text) => parseNumber(text, 1, 65535),
      "a whole number from 1 to 65535",
    ),
    portGiven: Boolean(env["PORT"]?.trim()),
    bind: read("MAYFLY_BIND", "127.0.0.1", parseAddress, "an IP address like 127.0.0.1 or 0.0.0.0"),
    tls: readTls(env),
    trustedProxies: read(
      "MAYFLY_TRUSTED_PROXIES",
      [],
      (text) => (parseNetworks(text) ? text.split(",").map((part) => part.trim()) : undefined),
      "IP addresses and networks like 127.0.0.1 or 10.0.0.0/8, separated by commas",
    ),
    sandbox: read(
      "MAYFLY_SANDBOX",
      "auto",
      (text) => SANDBOX.find((mode) => mode === text),
      "on, off or auto",
    ),
    dataFolder: read("MAYFLY_DATA", join(ROOT, ".mayfly"), (text) => resolve(text), "a path"),
    token: read<string | undefined>(
      "MAYFLY_TOKEN",
      undefined,
      (text) => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
      "printable ASCII without spaces",
    ),
    domain: read("MAYFLY_DOMAIN", "localhost", parseHost, "a host name like example.com"),
    zones: read("MAYFLY_ZONES", [], parseHosts, hosts),
    apiHosts: read("MAYFLY_API_HOSTS", [], parseHosts, hosts),
    executors,
    shards: read(
      "MAYFLY_SHARDS",
      1,
      (text) => parseNumber(text, 1, MAX_SHARDS),
      `a whole number from 1 to ${MAX_SHARDS}`,
    ),
    queryMs: read(
      "MAYFLY_QUERY_MS",
      30_000,
      (text) => parseNumber(text, MIN_QUERY_MS, MAX_QUERY_MS),
      `a whole number from ${MIN_QUERY_MS} to ${MAX_QUERY_MS}`,
    ),
    logDays: read(
      "MAYFLY_LOG_DAYS",
      7,
      (text) => parseNumber(text, 1, MAX_LOG_DAYS),
      `a whole number from 1 to ${MAX_LOG_DAYS}`,
    ),
    logMb: read(
      "MAYFLY_LOG_MB",
      100,
      (text) => parseNumber(text, 1, MAX_LOG_MB),
      `a whole number from 1 to ${MAX_LOG_MB}`,
    ),
    cpuMs: cpuLimit("MAYFLY_CPU_MS", 3_000),
    maxCpuMs: cpuLimit("MAYFLY_MAX_CPU_MS", MAX_CPU_MS),
    memoryMb: read(
      "MAYFLY_EXECUTOR_MEMORY_MB",
      defaultMemoryMb(executors),
      (text) => parseNumber(text, MIN_MEMORY_MB, MAX_MEMORY_MB),
      `a whole number from ${MIN_MEMORY_MB} to ${MAX_MEMORY_MB}`,
    ),
    drainMs: read(
      "MAYFLY_DRAIN_SECONDS",
      30_000,
      (text) => {
        const seconds = parseNumber(text, 0, MAX_DRAIN_SECONDS);
        return seconds === undefined ? undefined : seconds * 1000;
      },
      `a whole number from 0 to ${MAX_DRAIN_SECONDS}`,
    ),
    metricsSeries: read(
      "MAYFLY_METRICS_SERIES",
      200,
      (text) => parseNumber(text, 0, MAX_METRICS_SERIES),
      `a whole number from 0 to ${MAX_METRICS_SERIES}`,
    ),
    traces: readTraceSettings(env),
  };
}

function readTls(env: NodeJS.ProcessEnv): Settings["tls"] {
  const [cert, key] = [env["MAYFLY_TLS_CERT"]?.trim(), env["MAYFLY_TLS_KEY"]?.trim()];
  if (cert && key) return { cert: resolve(cert), key: resolve(key) };
  if (!cert && !key) return undefined;
  throw new HostError(
    `${cert ? "MAYFLY_TLS_KEY" : "MAYFLY_TLS_CERT"}: is not set, must be the path of a PEM file, as ${cert ? "MAYFLY_TLS_CERT" : "MAYFLY_TLS_KEY"} is set`,
  );
}

const SANDBOX = ["on", "off", "auto"] as const;
const MAX_EXECUTORS = 64;
const MAX_SHARDS = 16;
const MIN_QUERY_MS = 1_000;
const MAX_QUERY_MS = 300_000;
// Less is not told apart from the platform's own work; the maximum is Cloudflare's.
const MIN_CPU_MS = 250;
const MAX_CPU_MS = 300_000;
const MAX_DRAIN_SECONDS = 900;
const MAX_LOG_DAYS = 365;
// Of the 10 GB that an object's database may have.
const MAX_LOG_MB = 8_000;
/** A script has some fifty series or more. */
const MAX_METRICS_SERIES = 10_000;
// A few large requests at once soon take less. A quarter more than the maximum still leaves room in the
// 4 GiB in which the engine keeps all heaps of a process.
const MIN_MEMORY_MB = 128;
const MAX_MEMORY_MB = 2_560;
/** About where the engine stops to give one isolate more. */
const DEFAULT_MEMORY_MB = 1_536;
/** State, shards and the executors apart from the others, which seldom need as much. */
const OTHER_PROCESSES = 3;

function defaultMemoryMb(executors: number): number {
  // Of a container: 0 or more than there is where it sets no limit.
  const limit = process.constrainedMemory();
  const bytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  const share = Math.floor(bytes / (executors + OTHER_PROCESSES) / (1024 * 1024));
  return Math.max(MIN_MEMORY_MB, Math.min(DEFAULT_MEMORY_MB, share));
}

function parseNumber(text: string, min: number, max: number): number | undefined {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  return value >= min && value <= max ? value : undefined;
}

const parseAddress = (text: string): string | undefined => (isIP(text) ? text : undefined);

// RFC 1123: labels of letters, digits and inner hyphens, 63 bytes each.
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function parseHost(text: string): string | undefined {
  const host = text.toLowerCase();
  const ok = host.length <= 253 && host.split(".").every((label) => LABEL.test(label));
  return ok && !isIP(host) ? host : undefined;
}

function parseHosts(text: string): string[] | undefined {
  const hosts = text
    .split(",")
    .filter((host) => host.trim() !== "")
    .map((host) => parseHost(host.trim()));
  return hosts.every((host) => host !== undefined) ? hosts : undefined;
}

/** `host:port` of the public socket, as programs write it. */
export const publicAddress = ({ bind, port }: Settings): string =>
  `${bind.includes(":") ? `[${bind}]` : bind}:${port}`;

export const schemeOf = ({ tls }: Settings): "http" | "https" => (tls ? "https" : "http");

/** Address of the API for clients on this machine. */
export function apiAddress(settings: Settings): string {
  // "localhost" reaches both loopback addresses and whatever is bound to all of them.
  const local = ["127.0.0.1", "0.0.0.0", "::", "::1"].includes(settings.bind);
  const authority = local ? `localhost:${settings.port}` : publicAddress(settings);
  return `${schemeOf(settings)}://${authority}/client/v4`;
}
