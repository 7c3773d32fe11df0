import { env } from "cloudflare:workers";
import type { Env } from "../../env.ts";

/** How traces are made. */
export interface Tracing {
  /** Share of traces that are recorded, of those that begin here: 0 to 1. */
  ratio: number;
  /** `service.name` of all spans. */
  serviceName: string;
}

const { OTEL_TRACES_EXPORTER, OTEL_TRACES_SAMPLER_ARG, OTEL_SERVICE_NAME } = env as Env;

/** Undefined: no traces are made, and all that is left of them is the look at this. */
export const tracing: Tracing | undefined =
  OTEL_TRACES_EXPORTER === "otlp"
    ? {
        ratio: Number(OTEL_TRACES_SAMPLER_ARG || 1),
        serviceName: OTEL_SERVICE_NAME || "mayfly",
      }
    : undefined;
