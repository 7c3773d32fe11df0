import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const user = new Hono<ControlEnv>();
