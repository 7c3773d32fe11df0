// Does what a test asks of it, which is nothing good, and tells what came of it.
import * as workers from "cloudflare:workers";
import { connect } from "cloudflare:sockets";
import childProcess from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import v8 from "node:v8";
import vm from "node:vm";
import threads from "node:worker_threads";

let calls = 0;

export class Named extends workers.WorkerEntrypoint {
  fetch() {
    return Response.json(this.ctx.props);
  }
}

const listen = (emitter, ...events) =>
  new Promise((resolve, reject) => {
    emitter.on("error", reject);
    for (const event of events) emitter.on(event, (value) => resolve(String(value)));
  });

async function readSocket(socket) {
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  return new Response(socket.readable).text();
}

const tries = {
  readFile: (path) => fs.readFileSync(path, "utf8"),
  listFolder: (path) => fs.readdirSync(path),
  writeFile: (path) => fs.writeFileSync(path, "x"),
  link: (path) => (fs.symlinkSync(path, "/tmp/link"), fs.readFileSync("/tmp/link", "utf8")),
  environment: () => ({ ...process.env }),
  processIds: () => [process.pid, process.ppid],
  machine: () => [os.hostname(), os.networkInterfaces(), os.userInfo()],
  execute: () => childProcess.execSync("id").toString(),
  spawn: () => listen(childProcess.spawn("id"), "exit"),
  thread: () => new threads.Worker("1", { eval: true }),
  // oxlint-disable-next-line no-eval -- that it fails is what is tested
  evaluate: () => (0, eval)("1"),
  makeFunction: () => new Function("return 1")(),
  makeWasm: () => String(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))),
  runInContext: () => vm.runInThisContext("1"),
  engineFlags: () => v8.setFlagsFromString("--allow-natives-syntax"),
  heapSnapshot: () => v8.getHeapSnapshot(),
  signal: () => process.kill(process.ppid, "SIGKILL"),
  nativeCode: () => process.dlopen({}, "/lib/x86_64-linux-gnu/libc.so.6"),
  binding: () => process.binding("fs"),
  importModule: async (name) => Object.keys(await import(name)),

  exports: (_, ctx) => [Object.keys(ctx.exports), Object.keys(workers.exports)],
  reachExport: (name, ctx) => typeof ctx.exports[name],
  environmentOf: (_, __, env) => [Object.keys(env), Object.keys(workers.env)],
  forgeProps: async (_, ctx) =>
    (await ctx.exports.Named({ props: { forged: 1 } }).fetch("http://x")).json(),
  callStub: (name, _, env) => env.SELF[name](),
  readStub: async (name, _, env) => String(await env.SELF[name]),
  callKv: (name, _, env) => env.KV[name]("a", {}),
  stubConnect: (address, _, env) => readSocket(env.SELF.connect(address)),
  cache: () => caches.default.match("http://x/"),
  openCache: async () => (await caches.open("x")).match("http://x/"),

  fetch: async (url) => (await fetch(url)).text(),
  socket: (address) => readSocket(connect(address)),
  tlsSocket: (address) => readSocket(connect(address, { secureTransport: "on" })),
  nodeHttp: (url) => new Promise((resolve, reject) => http.get(url, resolve).on("error", reject)),
  nodeSocket: (address) => {
    const [host, port] = address.split(":");
    const socket = net.connect(Number(port), host);
    socket.write("GET / HTTP/1.0\r\n\r\n");
    return listen(socket, "data");
  },
  webSocket: (url) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      socket.addEventListener("open", () => resolve("open"));
      socket.addEventListener("error", ({ message }) => reject(new Error(message)));
      socket.addEventListener("close", () => reject(new Error("closed")));
    }),

  kvGet: async (key, _, env) => env.KV.get(key),
  kvList: async (prefix, _, env) => (await env.KV.list({ prefix })).keys.map(({ name }) => name),
  r2Get: async (key, _, env) => (await env.BUCKET.get(key))?.text() ?? null,
  r2List: async (prefix, _, env) =>
    (await env.BUCKET.list({ prefix })).objects.map(({ key }) => key),
  sql: async (sql, _, env) => (await env.DB.prepare(sql).all()).results,

  count: () => ++calls,
  leaveBehind: (value) => (globalThis.left = value),
  find: () => globalThis.left ?? null,
};

export default {
  async fetch(request, env, ctx) {
    const { name, value } = await request.json();
    try {
      const result = await Promise.race([
        tries[name](value, ctx, env),
        scheduler.wait(3_000).then(() => Promise.reject(new Error("no answer"))),
      ]);
      return Response.json({ result: result ?? null });
    } catch (error) {
      return Response.json({ error: `${error.name}: ${error.message}` });
    }
  },
};
