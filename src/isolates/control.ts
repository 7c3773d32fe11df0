/** What the prelude's `MayflyControl` entrypoint offers the platform in every isolate. */
export interface IsolateControl {
  /** Starts the isolate, unless it has been, and returns when its top level has run. */
  ready(): Promise<void>;
  /** The names of the default export's handlers. */
  handlers(): Promise<string[]>;
  /** Ends the isolate a moment later, with whatever still runs in it. */
  evict(): Promise<void>;
}

export function controlOf(worker: WorkerStub): IsolateControl {
  return worker.getEntrypoint("MayflyControl") as unknown as IsolateControl;
}
