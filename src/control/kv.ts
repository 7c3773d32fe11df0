import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const kv = new Hono<ControlEnv>();
