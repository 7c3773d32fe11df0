import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const versions = new Hono<ControlEnv>();
