import { createServer, request, type Server } from "node:http";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "./host-error.ts";
import { inDataFolder } from "./paths.ts";

/**
 * Lets other commands of this machine talk to the supervisor: a Unix socket that only the platform's
 * user can open. The data folder says where it is.
 */
export function openControlSocket(
  dataFolder: string,
  runtimeFolder: string,
  commands: Record<string, (argument: string) => Promise<void>>,
): Server {
  const path = join(runtimeFolder, "control.sock");
  const server = createServer((req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? "/", "http://supervisor");
    const command = commands[pathname.slice(1)];
    const done = command
      ? command(searchParams.get("argument") ?? "")
      : Promise.reject(new HostError("no such command"));
    done.then(
      () => res.end(),
      (error: Error) => res.writeHead(500).end(error.message),
    );
  });
  server.listen(path);
  writeFileSync(inDataFolder(dataFolder).control, `${path}\n`, { mode: 0o600 });
  server.once("close", () => rmSync(inDataFolder(dataFolder).control, { force: true }));
  return server;
}

/** Has the supervisor that uses the data folder carry out a command. Throws a `HostError` with why not. */
export async function tellSupervisor(
  dataFolder: string,
  command: string,
  argument = "",
): Promise<void> {
  const notRunning = new HostError(`MAYFLY_DATA: no platform runs on ${dataFolder}`);
  let socketPath: string;
  try {
    socketPath = readFileSync(inDataFolder(dataFolder).control, "utf8").trim();
  } catch {
    throw notRunning;
  }
  const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const req = request(
      { socketPath, path: `/${command}?${new URLSearchParams({ argument })}`, method: "POST" },
      (res) => {
        let text = "";
        res.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        res.on("end", () => resolve({ status: res.statusCode ?? 0, text }));
      },
    );
    req.on("error", () => reject(notRunning));
    req.end();
  });
  if (answer.status !== 200) throw new HostError(answer.text);
}
