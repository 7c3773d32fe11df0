import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { HostError } from "./host-error.ts";
import { log } from "./log.ts";
import type { Settings } from "./settings.ts";

const LOOK_EVERY_MS = 1_000;

/** PEM texts as they are in the files. */
interface Pair {
  cert: string;
  key: string;
}

/**
 * The public socket's certificate and key. Executors find copies in the runtime folder, in the
 * configuration of that socket; while there is no other that holds together, those stay.
 */
export class Certificate {
  readonly #files: Pair;
  readonly #runtimeFolder: string;
  /** What executors are given; what was last tried, successfully or not; what was last found. */
  #served: Pair;
  #tried: Pair;
  #seen: Pair;
  #timer: NodeJS.Timeout | undefined;
  #replacing = false;

  /** Throws a `HostError` that says what is wrong with the files. */
  constructor(files: Pair, runtimeFolder: string) {
    this.#files = files;
    this.#runtimeFolder = runtimeFolder;
    this.#served = {
      cert: read("MAYFLY_TLS_CERT", files.cert),
      key: read("MAYFLY_TLS_KEY", files.key),
    };
    this.#tried = this.#served;
    this.#seen = this.#served;
    this.#write(this.#served);
  }

  /** Looks at the files again and again. `replace` has new processes take the place of all that serve. */
  watch(replace: () => Promise<void>): void {
    this.#timer = setInterval(() => {
      if (!this.#replacing) void this.#look(replace);
    }, LOOK_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(replace: () => Promise<void>): Promise<void> {
    this.#replacing = true;
    try {
      const found = await this.#read();
      // Two files cannot change at once: taken when they have not changed for a while.
      if (!found || !same(found, this.#seen)) this.#seen = found ?? { cert: "", key: "" };
      else if (!same(found, this.#tried)) await this.#take(found, replace);
    } finally {
      this.#replacing = false;
    }
  }

  async #read(): Promise<Pair | undefined> {
    try {
      const [cert, key] = await Promise.all([
        readFile(this.#files.cert, "utf8"),
        readFile(this.#files.key, "utf8"),
      ]);
      return { cert, key };
    } catch {
      return undefined; // About to be replaced, as likely as not.
    }
  }

  async #take(found: Pair, replace: () => Promise<void>): Promise<void> {
    this.#tried = found;
    try {
      this.#write(found);
      await replace();
      this.#served = found;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      log("error", "certificate_refused", { reason: error.message });
      this.#write(this.#served);
    }
  }

  #write(pair: Pair): void {
    const { chain, key } = check(pair);
    const [own] = chain as [X509Certificate];
    writePublicSocket(this.#runtimeFolder, {
      privateKey: key.export({ type: "pkcs8", format: "pem" }) as string,
      certificateChain: chain.join(""),
    });
    log("info", "certificate_used", {
      names: own.subjectAltName ?? own.subject,
      until: own.validTo,
    });
  }
}

function read(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new HostError(`${name}: ${path} cannot be read: ${(error as Error).message}`);
  }
}

const same = (a: Pair, b: Pair): boolean => a.cert === b.cert && a.key === b.key;

const CERTIFICATE = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs;

/** Throws a `HostError` if they are not a chain of certificates and the key of its first. */
function check({ cert, key: keyText }: Pair): { chain: X509Certificate[]; key: KeyObject } {
  let key: KeyObject;
  try {
    key = createPrivateKey(keyText);
  } catch (error) {
    throw new HostError(
      `MAYFLY_TLS_KEY: must be a private key as PEM, not encrypted: ${(error as Error).message}`,
    );
  }
  let chain: X509Certificate[];
  try {
    chain = (cert.match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
  } catch (error) {
    throw new HostError(
      `MAYFLY_TLS_CERT: must be certificates as PEM: ${(error as Error).message}`,
    );
  }
  const [own] = chain;
  if (!own) {
    throw new HostError("MAYFLY_TLS_CERT: must be certificates as PEM: there is none in it");
  }
  if (!own.checkPrivateKey(key)) {
    throw new HostError(
      "MAYFLY_TLS_KEY: is not the key of the first certificate in MAYFLY_TLS_CERT",
    );
  }
  try {
    createSecureContext({ cert: chain.join(""), key: keyText });
  } catch (error) {
    throw new HostError(`MAYFLY_TLS_CERT: cannot be used: ${(error as Error).message}`);
  }
  return { chain, key };
}

/** Puts what executors have for their public socket into the runtime folder: https with a pair, else http. */
export function writePublicSocket(
  runtimeFolder: string,
  pair?: { privateKey: string; certificateChain: string },
): void {
  const protocol = pair
    ? `https = (tlsOptions = (keypair = (privateKey = ${JSON.stringify(pair.privateKey)}, certificateChain = ${JSON.stringify(pair.certificateChain)})))`
    : "http = ()";
  const lines = [
    "@0xf27be9d04c6a8153;",
    `using Workerd = import "/workerd/workerd.capnp";`,
    `const socket :Workerd.Socket = (name = "public", ${protocol}, service = "mayfly");`,
  ];
  // Written beside it, since a process may be started at any moment.
  const path = join(runtimeFolder, "public.capnp");
  writeFileSync(`${path}.new`, `${lines.join("\n")}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Opens the certificate, if there is to be TLS, and writes the configuration of the public socket. */
export function openCertificate({ tls }: Settings, runtimeFolder: string): Certificate | undefined {
  if (tls) return new Certificate(tls, runtimeFolder);
  writePublicSocket(runtimeFolder);
  return undefined;
}
