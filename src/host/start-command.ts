import { log } from "./log.ts";
import { apiAddress, publicAddress, schemeOf, type Settings } from "./settings.ts";
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
  process.stdout.write(banner(settings, platform.sandboxed));

  log("info", "stopping", { signal: await signalled });
  await platform.stop();
  log("info", "stopped");
  process.exit(0);
}

// One Ctrl+C may come twice, from the terminal and from npm, which passes it on.
const SAME_SIGNAL_MS = 200;
const PARENT_CHECK_MS = 500;

// The first signal asks for an orderly end, the second for one at once.
function onSignal(): Promise<string> {
  return new Promise((resolve) => {
    let askedAt: number | undefined;
    const ask = (reason: string): void => {
      if (askedAt !== undefined && performance.now() - askedAt > SAME_SIGNAL_MS) process.exit(1);
      askedAt ??= performance.now();
      resolve(reason);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, ask);

    // Started through a Node too old to run this one: the channel closes when that one ends.
    process.once("disconnect", () => ask("parent process ended"));
    process.channel?.unref();
    // npm may be killed without passing that on. A shell, on the other hand, may well leave this
    // process running in the background.
    if (process.env["npm_lifecycle_event"] === undefined) return;
    const parent = process.ppid;
    const timer = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(timer);
      ask("npm ended");
    }, PARENT_CHECK_MS);
    timer.unref();
  });
}

const banner = (settings: Settings, sandboxed: boolean): string => `
  Mayfly listens on   ${schemeOf(settings)}://${publicAddress(settings)}
  Cloudflare API at   ${apiAddress(settings)}
  Data in             ${settings.dataFolder}
  Workers run         ${sandboxed ? "in a sandbox" : "without a sandbox"}

  Deploy a Worker from its project's folder:

    eval "$(npx mayfly env)"
    npx wrangler deploy

`;
