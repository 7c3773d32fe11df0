// Console arguments as the runtime's own tail writes them: JSON of what JSON is for, text of all else.
const { stringify } = JSON;
const { isArray } = Array;
const { getPrototypeOf, prototype: plain } = Object;
// Symbols are not for this, as for the runtime.
const toText = (value: unknown): string => `${value as string}`;

/** The arguments as the text of a JSON array, whatever they are. */
export function formatAll(args: unknown[]): string {
  let text = "[";
  for (let index = 0; index < args.length; index++) {
    if (index > 0) text += ",";
    text += format(args[index]);
  }
  return text + "]";
}

function format(value: unknown): string {
  try {
    // Functions and symbols have no JSON.
    return (stringify(isJson(value) ? value : toText(value)) as string | undefined) ?? "null";
  } catch {
    // It refers to itself, or to a BigInt, or throws when it is read.
    return "{}";
  }
}

function isJson(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "undefined":
      return true;
    case "object": {
      if (value === null || isArray(value)) return true;
      const prototype: unknown = getPrototypeOf(value);
      if (prototype === plain || prototype === null) return true;
    }
  }
  return hasToJson(value);
}

const hasToJson = (value: unknown): boolean =>
  typeof (value as { toJSON?: unknown }).toJSON === "function";
