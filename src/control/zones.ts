import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const zones = new Hono<ControlEnv>();
