// Runs as root of a network namespace of its own: gives it addresses and names, serves on all of them,
// and lives as long as the channel to the test.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Report, Settings } from "./network-namespace.ts";

const ADDRESSES = [
  "203.0.113.7/32",
  "2001:db8::7/128",
  "10.1.2.3/32",
  "100.64.0.1/32",
  "169.254.169.254/32",
  "172.16.0.5/32",
  "192.168.1.5/32",
  "fd00:ec2::254/128",
  "fe80::5/128",
];
const HOSTS = `127.0.0.1 localhost loopback.test
::1 localhost loopback6.test
203.0.113.7 public.test api.public.test mixed.test
2001:db8::7 public6.test
10.1.2.3 private.test mixed.test
169.254.169.254 metadata.google.internal
fd00:ec2::254 unique-local.test
`;

const send = (report: Report): void => void process.send?.(report);

process.once("disconnect", () => process.exit(0));
process.once("message", async (settings: Settings) => {
  try {
    execFileSync("ip", ["link", "set", "lo", "up"]);
    for (const address of ADDRESSES) execFileSync("ip", ["address", "add", address, "dev", "lo"]);
    writeFileSync(settings.hosts, HOSTS);
    execFileSync("mount", ["--bind", settings.hosts, "/etc/hosts"]);
    await Promise.all([serveHttp(), serveEcho(), relay(settings)]);
    send({ ready: true });
  } catch (error) {
    send({ failed: String(error) });
  }
});

/** Says where it was called, or redirects to what follows `/to/`. */
async function serveHttp(): Promise<void> {
  for (const port of [80, 8080]) {
    const server = createHttpServer((request, response) => {
      const [, location] = /^\/to\/(.*)/.exec(request.url ?? "") ?? [];
      if (location)
        return response.writeHead(302, { location: decodeURIComponent(location) }).end();
      const { method, url, headers } = request;
      const at = request.socket.localAddress;
      let body = "";
      request.setEncoding("utf8").on("data", (text: string) => (body += text));
      request.once("end", () => response.end(JSON.stringify({ at, method, url, headers, body })));
      return undefined;
    });
    await listen(server, port);
  }
}

/** Gives back what it gets, until there is no more. */
async function serveEcho(): Promise<void> {
  for (const port of [25, 7]) {
    await listen(
      createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)),
      port,
    );
  }
}

async function listen(server: Server, port: number): Promise<void> {
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => socket.destroy());
    const address = socket.localAddress?.replace("::ffff:", "") ?? "";
    send({ connected: { address, port } });
  });
  await new Promise<void>((resolve) => server.listen(port, "::", resolve));
}

async function relay({ relay: path, platformPort }: Settings): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const platform = connect({ port: platformPort, host: "127.0.0.1", allowHalfOpen: true });
    client.on("error", () => platform.destroy());
    platform.on("error", () => client.destroy());
    client.pipe(platform).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
}
