import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const r2 = new Hono<ControlEnv>();
