import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const d1 = new Hono<ControlEnv>();
