const { assign } = Object;

/** An exception loses its stack on the way out of the isolate, but not its own properties. */
export function keepStack(error: unknown): unknown {
  if (error instanceof Error) {
    try {
      assign(error, { mayflyStack: error.stack });
    } catch {
      // A frozen error goes without.
    }
  }
  return error;
}
