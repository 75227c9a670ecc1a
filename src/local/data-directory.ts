/** The folder that holds the embedded database: where it is, where its cluster is, and which port it had. */
import { once } from "node:events";
import {
  access,
  chmod,
  constants,
  mkdir,
  mkdtemp,
  readFile,
  stat,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canReach, findReachable, isRoot, type PostgresUser } from "./postgres-user.ts";

export async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true });
    await access(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `The embedded database is kept in ${dataDir}, and this user cannot write there (${(error as NodeJS.ErrnoException).code}): start in a folder that it can write to.`,
    );
  }

  if (isRoot()) {
    const { mode } = await stat(dataDir);
    await chmod(dataDir, mode | 0o011);
  }
}

/** The folder that holds `cluster`: the data directory, or, where `user` cannot reach it, a folder elsewhere that it points to. */
export async function findHome(
  dataDir: string,
  user: PostgresUser,
  log: (line: string) => void,
): Promise<string> {
  if (await canReach(dataDir, user)) return dataDir;

  const known = await readPointer(dataDir);
  if (known !== null && (await canReach(known, user))) return known;

  // Not the temporary folder first: /var/tmp survives a reboot.
  const parent = await findReachable(["/var/tmp", tmpdir(), "/tmp"], user);
  const home = await mkdtemp(join(parent, "account-sync-data-"));
  await chmod(home, 0o711);
  await writeFile(pointerOf(dataDir), `${home}\n`);
  log(`${user?.name} cannot reach ${dataDir}: the database is in ${home}`);
  return home;
}

/** Where the cluster may be, without regard to who can reach it. */
export async function possibleHomes(dataDir: string): Promise<readonly string[]> {
  const movedTo = await readPointer(dataDir);
  return movedTo === null ? [dataDir] : [dataDir, movedTo];
}

function pointerOf(dataDir: string): string {
  return join(dataDir, "moved-to");
}

async function readPointer(dataDir: string): Promise<string | null> {
  const home = (await readFile(pointerOf(dataDir), "utf8").catch(() => "")).trim();
  return home === "" ? null : home;
}

/** Null when the file does not exist. @throws Error with what to do when another user owns it */
export async function readIfExists(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return null;
    throw new Error(
      `The embedded database cannot be opened (${message}): it belongs to another user. ` +
        "Start as that user, or remove its folder to start afresh.",
    );
  }
}

export async function rememberPort(dataDir: string, port: number): Promise<void> {
  await writeFile(join(dataDir, "port"), `${port}\n`);
}

/** The remembered port where it is free, then any free ones: another process may take one before the server binds it. */
export async function portsToTry(dataDir: string, wanted: number): Promise<readonly number[]> {
  if (wanted !== 0) return [wanted];

  const remembered = Number(await readFile(join(dataDir, "port"), "utf8").catch(() => 0));
  const free = await Promise.all([remembered, 0, 0, 0].map(toFreePort));
  return free.filter((port) => port !== null);
}

async function toFreePort(port: number): Promise<number | null> {
  const probe = createServer();
  try {
    probe.listen(port, "127.0.0.1");
    await once(probe, "listening");
    const address = probe.address();
    return typeof address === "object" && address !== null ? address.port : null;
  } catch {
    return null;
  } finally {
    probe.close();
  }
}
