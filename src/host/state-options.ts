import type { Compatibility } from "./compatibility.ts";
import type { Sockets } from "./paths.ts";

/** What the supervisor tells the state process. Contains secrets, so it is sent and not an argument. */
export interface StateOptions {
  /** The platform Worker. */
  bundle: string;
  /** Folder of all that is kept. */
  dataFolder: string;
  sockets: Sockets;
  compatibility: Compatibility;
  /** Bindings of plain text: the MAYFLY_… and OTEL_… members of `Env`. */
  vars: Record<string, string>;
}
