// Assertions for code that runs inside a worker at any compatibility date, with or without Node's modules.

const show = (value: unknown): string =>
  typeof value === "string" || (typeof value === "object" && value !== null)
    ? (JSON.stringify(value) ?? String(value))
    : String(value);

export function ok(value: unknown, message = `got ${show(value)}`): asserts value {
  if (!value) throw new Error(message);
}

export function equal(actual: unknown, expected: unknown): void {
  ok(Object.is(actual, expected), `got ${show(actual)}, expected ${show(expected)}`);
}

/** Compares plain objects, arrays, maps, dates and bytes by what is in them. */
export function deepEqual(actual: unknown, expected: unknown): void {
  ok(isDeepEqual(actual, expected), `got ${show(actual)}, expected ${show(expected)}`);
}

const keysOf = (value: object): string[] =>
  Object.keys(value)
    .filter((key) => (value as Record<string, unknown>)[key] !== undefined)
    .sort();

function isDeepEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (a instanceof Date || b instanceof Date) {
    return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
  }
  if (a instanceof Map && b instanceof Map) return isDeepEqual([...a], [...b]);
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) {
    return isDeepEqual(new Uint8Array(a), new Uint8Array(b));
  }
  const keys = keysOf(a);
  return (
    keys.join("\0") === keysOf(b).join("\0") &&
    keys.every((key) =>
      isDeepEqual((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
    )
  );
}

/** Fails unless `run` throws or rejects with an error of this name whose message is, or matches, this. */
export async function rejects(
  run: () => unknown,
  name: string,
  message: string | RegExp,
): Promise<void> {
  let error: unknown;
  try {
    await run();
  } catch (thrown) {
    error = thrown;
  }
  ok(error instanceof Error, `did not throw; expected ${name}: ${String(message)}`);
  const matches =
    typeof message === "string" ? error.message === message : message.test(error.message);
  ok(
    error.name === name && matches,
    `threw ${error.name}: ${error.message}\nexpected ${name}: ${String(message)}`,
  );
}
