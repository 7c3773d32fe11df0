// Opens the public socket in a process of its own and hands it to the supervisor: a Node process that
// opens a socket accepts from it, too, and the supervisor must not. Arguments: address, port.
import { createServer, type Server } from "node:net";

// Connections that wait while executors are busy or being replaced.
const BACKLOG = 1024;

const [bind, port] = process.argv.slice(2);
const server = createServer();
server.once("error", ({ code, message }: NodeJS.ErrnoException) => {
  process.send?.({ code, message }, () => process.exit(1));
});
server.listen({ host: bind, port: Number(port), backlog: BACKLOG }, () => {
  // A `Server` would be started again on the other side; its handle is only passed on.
  const { _handle: handle } = server as Server & { _handle: never };
  process.send?.({}, handle, () => process.exit(0));
});
