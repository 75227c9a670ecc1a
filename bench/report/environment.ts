/** What a figure depends on beside the code: the machine, the system, the versions. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { arch, cpus, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SERVER_SETTINGS } from "../lab/postgres.ts";

export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  readonly postgresSettings: Readonly<Record<string, string>>;
  readonly packages: Readonly<Record<string, string>>;
  /** What generated the writes: pgbench where it is installed. */
  readonly loadGenerator: string;
  /** Of the code that was measured; null outside a repository. */
  readonly commit: string | null;
}

const checkout = fileURLToPath(new URL("../..", import.meta.url));

export async function describeEnvironment(
  postgresVersion: string,
  loadGenerator: string,
): Promise<Environment> {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${release()} ${arch()}`,
    node: process.versions.node,
    postgres: postgresVersion,
    postgresSettings: SERVER_SETTINGS,
    packages: await readVersions(),
    loadGenerator,
    commit: await readCommit(),
  };
}

async function readVersions(): Promise<Record<string, string>> {
  const folders = {
    "account-sync": "",
    pg: "node_modules/pg/",
    undici: "node_modules/undici/",
    "graphile-worker": "bench/node_modules/graphile-worker/",
    "pg-boss": "bench/node_modules/pg-boss/",
  };
  const versions = Object.entries(folders).map(async ([name, folder]) => {
    const text = await readFile(`${checkout}${folder}package.json`, "utf8");
    return [name, (JSON.parse(text) as { version: string }).version] as const;
  });
  return Object.fromEntries(await Promise.all(versions));
}

/** With a plus where the files differ from it. */
async function readCommit(): Promise<string | null> {
  const git = (...args: string[]) =>
    promisify(execFile)("git", args, { cwd: checkout }).then(({ stdout }) => stdout.trim());
  try {
    const [commit, changes] = await Promise.all([
      git("rev-parse", "--short", "HEAD"),
      git("status", "--porcelain", "--untracked-files=no", "src", "sql"),
    ]);
    return changes === "" ? commit : `${commit}+`;
  } catch {
    return null;
  }
}
