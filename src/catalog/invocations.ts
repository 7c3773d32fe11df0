import type { Invocation } from "../pipeline/record.ts";

export async function saveInvocations(_db: D1Database, _invocations: Invocation[]): Promise<void> {}
