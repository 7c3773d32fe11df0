import { log } from "./log.ts";
import { apiAddress, publicAddress, type Settings } from "./settings.ts";
import { startPlatform } from "./supervisor.ts";

/** `mayfly start`: runs the platform until a signal ends it. */
export async function startCommand(settings: Settings): Promise<void> {
  const begun = performance.now();
  const signalled = onSignal();
  const platform = await Promise.race([startPlatform(settings), signalled.then(() => undefined)]);
  if (!platform) {
    // Nothing has been served yet; the guardian ends what was started.
    process.exit(0);
  }
  log("info", "ready", { ms: Math.round(performance.now() - begun) });
  process.stdout.write(banner(settings));

  log("info", "stopping", { signal: await signalled });
  await platform.stop();
  log("info", "stopped");
  process.exit(0);
}

// The first signal asks for an orderly end, the second for one at once.
function onSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    const ask = (signal: string): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, ask);
    // Started through a Node too old to run this one: the channel closes when that one ends.
    process.on("disconnect", () => ask("disconnect"));
  });
}

const banner = (settings: Settings): string => `
  Mayfly listens on   http://${publicAddress(settings)}
  Cloudflare API at   ${apiAddress(settings)}
  Data in             ${settings.dataFolder}

  Deploy a Worker from its project's folder:

    eval "$(npx mayfly env)"
    npx wrangler deploy

`;
