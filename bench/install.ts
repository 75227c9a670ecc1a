/** Installs what bench/package.json names: the peers are no dependencies of the product, so `npm ci` of the checkout leaves them out. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));

export function installPackages(): void {
  if (isInstalled()) return;
  process.stderr.write("Installing the packages of bench/package.json\n");
  execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, stdio: "inherit" });
}

/** npm keeps a copy of the lock file that it has installed; a package that was left out or changed shows in it. */
function isInstalled(): boolean {
  const installed = `${folder}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return false;
  const read = (file: string) =>
    (JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, { version?: string }> })
      .packages;
  const wanted = Object.entries(read(`${folder}package-lock.json`)).filter(([path]) => path !== "");
  const found = read(installed);
  return wanted.every(([path, { version }]) => found[path]?.version === version);
}
