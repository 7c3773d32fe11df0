import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const secrets = new Hono<ControlEnv>();
