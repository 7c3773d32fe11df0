import { execFile } from "node:child_process";
import { promisify } from "node:util";

const INSTALLED_WITHIN_MS = 180_000;

/** Installs packages, given with exact versions, into a folder. Runs none of their install scripts. Throws why npm cannot. */
export async function install(folder: string, packages: string[]): Promise<void> {
  const options = ["--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"];
  try {
    await promisify(execFile)("npm", ["install", ...options, ...packages], {
      cwd: folder,
      timeout: INSTALLED_WITHIN_MS,
    });
  } catch (error) {
    const { stderr = "", message } = error as Error & { stderr?: string };
    const reason = /^npm error (.*)$/m.exec(stderr)?.[1] ?? message;
    throw new Error(`npm install: ${reason}`, { cause: error });
  }
}
