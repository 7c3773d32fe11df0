#!/usr/bin/env node
// Runs the CLI, with the Node that `npm install` brought along if this one cannot run TypeScript.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const cli = new URL("../src/host/cli.ts", import.meta.url);

if (process.features.typescript) {
  await import(cli.href);
} else {
  const require = createRequire(import.meta.url);
  const node = join(dirname(require.resolve("node/package.json")), "bin/node");
  // The channel tells the child when this process is gone, however that came about.
  const child = spawn(node, [fileURLToPath(cli), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    // A terminal sends Ctrl+C to both processes: passing it on would make it two.
    process.on(signal, () => signal !== "SIGINT" && child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`${node}: ${error.message}; run npm install in the Mayfly checkout`);
    process.exitCode = 1;
  });
  child.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}
