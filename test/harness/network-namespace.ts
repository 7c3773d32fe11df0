import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./processes.ts";

/** What the namespace's main process is told, and what it tells. */
export interface Settings {
  /** Socket whose connections it passes on to the platform. */
  relay: string;
  platformPort: number;
  /** File that becomes `/etc/hosts`. */
  hosts: string;
}
export type Report = { ready: true } | { connected: Contact } | { failed: string };

/** A connection that a service in the namespace has seen. */
export interface Contact {
  /** The namespace's address that was called. */
  address: string;
  port: number;
}

/**
 * A network of its own without any way out, whose services listen on all of these addresses: public ones
 * (reserved for documentation), private and link-local ones.
 */
export interface NetworkNamespace {
  /** Command that runs what follows it in the namespace. */
  enter: string[];
  /** Port of this machine's loopback that leads to the same port in the namespace. */
  platformPort: number;
  /** Connections that the services have seen until now. */
  contacts: Contact[];
  stop(): Promise<void>;
}

/** The reason why there can be none where a namespace may not be made. */
export async function startNetworkNamespace(
  platformPort: number,
): Promise<NetworkNamespace | string> {
  const folder = mkdtempSync(join(tmpdir(), "mayfly-net-"));
  const settings: Settings = {
    relay: join(folder, "relay"),
    platformPort,
    hosts: join(folder, "hosts"),
  };
  const main = join(import.meta.dirname, "network-namespace-main.ts");
  // As root of a user namespace it takes no privileges where those are allowed.
  const child = spawn("unshare", ["--map-root-user", "--net", "--mount", process.execPath, main], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const contacts: Contact[] = [];
  let ready = false;
  let failure: string | undefined;
  child.stderr?.on("data", (text: Buffer) => (failure = `${failure ?? ""}${text}`.slice(0, 500)));
  child.on("error", ({ message }) => (failure = message));
  child.on("message", (report: Report) => {
    if ("connected" in report) contacts.push(report.connected);
    else if ("failed" in report) failure = report.failed;
    else ready = true;
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const relay = await listen(settings);
  const stop = async (): Promise<void> => {
    relay.close();
    if (child.connected) child.disconnect();
    if (child.pid) await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  if (child.connected) child.send(settings);
  await until(() => ready || failure !== undefined || child.exitCode !== null, 10_000);
  if (!ready) {
    await stop();
    return `no network namespace can be made here: ${failure ?? `exit code ${child.exitCode}`}`;
  }
  const enter = ["nsenter", `--target=${child.pid}`, "--user", "--net", "--mount"];
  return { enter: [...enter, "--preserve-credentials"], platformPort, contacts, stop };
}

function listen({ relay, platformPort }: Settings): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const inside = connect({ path: relay, allowHalfOpen: true });
    client.on("error", () => inside.destroy());
    inside.on("error", () => client.destroy());
    client.pipe(inside).pipe(client);
  });
  return new Promise((resolve) => server.listen(platformPort, "127.0.0.1", () => resolve(server)));
}
