import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A self-signed certificate and its key, as PEM. */
export interface Pair {
  cert: string;
  key: string;
}

const KINDS = {
  ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
  rsa: ["-newkey", "rsa:2048"],
};

/** Makes a new one in the folder, for `localhost` and all workers' addresses. */
export function makePair(folder: string, name: string, kind: keyof typeof KINDS = "ec"): Pair {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const names = "subjectAltName=DNS:localhost,DNS:*.dev.localhost,IP:127.0.0.1";
  const subject = ["-subj", `/CN=${name}`, "-addext", names];
  const files = ["-keyout", key, "-out", cert];
  const request = ["req", "-x509", "-nodes", "-days", "30", ...KINDS[kind], ...subject, ...files];
  execFileSync("openssl", request, { stdio: "pipe" });
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}
