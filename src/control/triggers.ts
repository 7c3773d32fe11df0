import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const triggers = new Hono<ControlEnv>();
