import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const deployments = new Hono<ControlEnv>();
