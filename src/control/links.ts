import { Hono } from "hono";
import type { ControlEnv } from "./app.ts";

export const links = new Hono<ControlEnv>();
