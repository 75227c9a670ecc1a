/** PostgreSQL's own directory and the password of its superuser: made once, kept from then on. */
import { randomBytes } from "node:crypto";
import { access, chown, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readIfExists } from "./data-directory.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { type PostgresUser, runAs } from "./postgres-user.ts";

export async function ensureCluster(make: {
  readonly home: string;
  readonly user: PostgresUser;
  readonly binaries: PostgresBinaries;
  readonly password: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
}): Promise<string> {
  const { home, user, binaries, password, settings, log } = make;
  const clusterDir = clusterDirOf(home);
  if (await exists(clusterDir)) return clusterDir;

  // Made aside and renamed when complete: an interrupted start leaves nothing that looks like a cluster.
  await removeUnfinished(home);
  const unfinished = join(home, `cluster.${process.pid}`);
  const passwordFile = join(home, `cluster.${process.pid}.password`);
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user !== null) {
    await chown(unfinished, user.uid, user.gid);
    await chown(passwordFile, user.uid, user.gid);
  }

  log(`making a database in ${clusterDir}`);
  const { code, stderr } = await runAs(user, binaries.initdb, [
    `--pgdata=${unfinished}`,
    "--username=postgres",
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    ...(settings["fsync"] === "off" ? ["--no-sync"] : []),
  ]);
  await rm(passwordFile, { force: true });
  if (code !== 0) {
    await rm(unfinished, REMOVE_ALL);
    throw new Error(`initdb could not make a database in ${clusterDir}: ${stderr.trim()}`);
  }

  await rename(unfinished, clusterDir);
  return clusterDir;
}

export function clusterDirOf(home: string): string {
  return join(home, "cluster");
}

/** We hold the lock, so the process that made them is gone; its initdb may run a moment longer, and make files while we remove them. */
async function removeUnfinished(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (/^cluster\.\d+/.test(name)) await rm(join(home, name), REMOVE_ALL);
  }
}

const REMOVE_ALL = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 } as const;

/** Random and kept, rather than trust on loopback: other users of the machine can reach the port. */
export async function readOrMakePassword(dataDir: string, home: string): Promise<string> {
  const kept = await readPassword(dataDir);
  if (kept !== "") return kept;

  const file = passwordFileOf(dataDir);
  if (await exists(clusterDirOf(home))) {
    throw new Error(
      `${file} is missing or empty, and the database cannot be opened without it: remove ${home} to start afresh.`,
    );
  }

  // On disk before a cluster is made with it: after a power cut there is no cluster without its password.
  const password = randomBytes(24).toString("base64url");
  const fresh = `${file}.fresh`;
  await rm(fresh, { force: true });
  await writeFile(fresh, `${password}\n`, { mode: 0o600, flush: true });
  await rename(fresh, file);
  return password;
}

/** Empty when there is none. */
export async function readPassword(dataDir: string): Promise<string> {
  return ((await readIfExists(passwordFileOf(dataDir))) ?? "").trim();
}

function passwordFileOf(dataDir: string): string {
  return join(dataDir, "password");
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
