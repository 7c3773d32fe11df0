import type { Case, Differences } from "../case.ts";

export const cases: Record<string, Case> = {};

export const differences: Differences = {};
