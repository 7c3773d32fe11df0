import { Hono } from "hono";
import * as z from "zod";
import { normalizePattern } from "../bindings/egress/rules.ts";
import { findEgressRules, replaceEgressRules } from "../catalog/egress-rules.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { invalid } from "./error.ts";
import { invalidate } from "./invalidate.ts";
import { accountOf } from "./script.ts";

/** Which hosts an account's workers may call: Mayfly's own, see docs/egress.md. */
export const egress = new Hono<ControlEnv>();

const PATTERN_INVALID = 10001;
/** In one list. All are looked at for each call. */
const MAX_PATTERNS = 200;

const list = z.array(z.string()).max(MAX_PATTERNS).default([]);
const newRules = z.strictObject({ allow: list, deny: list });

egress.get("/mayfly/egress", async (c) => {
  const rules = await findEgressRules(c.env.CATALOG, accountOf(c));
  return success(rules ?? { allow: [], deny: [] });
});

egress.put("/mayfly/egress", async (c) => {
  const given = await readJson(c, newRules, PATTERN_INVALID);
  const rules = { allow: normalize("allow", given.allow), deny: normalize("deny", given.deny) };
  await replaceEgressRules(c.env.CATALOG, accountOf(c), rules);
  await invalidate(c);
  return success(rules);
});

function normalize(field: string, patterns: string[]): string[] {
  const normal = patterns.map((pattern, index) => {
    const allowed = 'a host such as "api.example.com", "*.example.com" or "*", without port';
    const text = normalizePattern(pattern);
    if (text === undefined) {
      throw invalid(PATTERN_INVALID, `${field}.${index}`, pattern, allowed);
    }
    return text;
  });
  return [...new Set(normal)];
}
