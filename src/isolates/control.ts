/** What the prelude's `MayflyControl` entrypoint offers the platform in every isolate. */
export interface IsolateControl {
  /** Starts the isolate, unless it has been, and returns when its top level has run. */
  ready(): Promise<void>;
  /** The names of the default export's handlers. */
  handlers(): Promise<string[]>;
  /** Ends the isolate a moment later, with whatever still runs in it. */
  evict(): Promise<void>;
}

/** What `MayflyContext` offers, in isolates in which it is known which invocation is at work. */
export interface ContextControl {
  /** Passes on at once what has been written with `console`. */
  sendAll(): Promise<void>;
}

export function controlOf(worker: WorkerStub): IsolateControl {
  const entrypoint = worker.getEntrypoint("MayflyControl");
  const calls = entrypoint as unknown as Omit<IsolateControl, "ready">;
  return {
    ready: async () => void (await (await entrypoint.fetch("https://mayfly/ready")).text()),
    handlers: () => calls.handlers(),
    evict: () => calls.evict(),
  };
}
