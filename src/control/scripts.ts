import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const scripts = new Hono<ControlEnv>();
