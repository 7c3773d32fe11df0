// Node's own HTTP server, as the ceiling of what the load generator can show.
import { createServer } from "node:http";

const server = createServer((request, response) => response.end("Hello World\n"));
server.listen(Number(process.argv[2]), "127.0.0.1");
