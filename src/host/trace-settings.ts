import { HostError } from "./host-error.ts";

/** Where spans go; by the variables that all of OpenTelemetry has. */
export interface TraceSettings {
  /** Spans are sent to it by POST. */
  endpoint: string;
  /** `name=value` pairs separated by commas, values percent-encoded. Secret. */
  headers: string;
  /** Share of traces that are recorded, of those that begin here: 0 to 1. */
  ratio: number;
  serviceName: string;
}

const PATH = "v1/traces";
const HEADERS = /^[!#$%&'*+.^_`|~\w-]+\s*=[^,]*$/;

/**
 * Undefined if no endpoint is set, or OTEL_TRACES_EXPORTER is `none`. Throws a `HostError` that names the
 * variable, its value and what is allowed.
 * https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export function readTraceSettings(env: NodeJS.ProcessEnv): TraceSettings | undefined {
  // An empty variable is one that is not set.
  const text = (name: string): string => env[name]?.trim() ?? "";
  const check = (name: string, ok: boolean, allowed: string): void => {
    if (!ok) throw new HostError(`${name}: got ${JSON.stringify(text(name))}, must be ${allowed}`);
  };
  // What is set for traces alone counts.
  const nameOf = (what: string): string =>
    [`OTEL_EXPORTER_OTLP_TRACES_${what}`, `OTEL_EXPORTER_OTLP_${what}`].find(text) ?? "";

  const at = nameOf("ENDPOINT");
  const exporter = text("OTEL_TRACES_EXPORTER");
  check("OTEL_TRACES_EXPORTER", ["", "otlp", "none"].includes(exporter), "otlp or none");
  if (!at || exporter === "none") return undefined;

  const url = URL.parse(text(at));
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  check(at, isHttp, "a URL like http://127.0.0.1:4318");
  const protocol = nameOf("PROTOCOL");
  check(protocol, ["", "http/json"].includes(text(protocol)), "http/json, or not set");
  const sampler = "OTEL_TRACES_SAMPLER";
  const samplers = ["", "parentbased_traceidratio"];
  check(sampler, samplers.includes(text(sampler)), "parentbased_traceidratio, or not set");
  const ratio = Number(text("OTEL_TRACES_SAMPLER_ARG") || 1);
  check("OTEL_TRACES_SAMPLER_ARG", ratio >= 0 && ratio <= 1, "a number from 0 to 1");
  const headers = nameOf("HEADERS");
  if (text(headers) && !areHeaders(text(headers))) {
    throw new HostError(
      `${headers}: must be headers like authorization=Bearer%20abc, separated by commas`,
    );
  }
  const base = (url as URL).href;
  return {
    endpoint: at.includes("TRACES") ? base : base.replace(/\/?$/, `/${PATH}`),
    headers: text(headers),
    ratio,
    serviceName: text("OTEL_SERVICE_NAME") || "mayfly",
  };
}

function areHeaders(text: string): boolean {
  try {
    return (
      decodeURIComponent(text) !== "" && text.split(",").every((part) => HEADERS.test(part.trim()))
    );
  } catch {
    return false;
  }
}
