/** Packages that only a test needs, in versions that no installation has: fetched by npm when the test runs. */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Installs them into the folder. Resolves with false where the registry cannot be reached, which on CI is a failure. */
export async function installPackages(
  folder: string,
  packages: readonly string[],
): Promise<boolean> {
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/package.json`, JSON.stringify({ private: true }));
  try {
    await run(
      "npm",
      ["install", ...packages, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"],
      { cwd: folder },
    );
    return true;
  } catch (error) {
    if (process.env["CI"] === "true") throw error;
    return false;
  }
}
