/**
 * One process at a time on a data directory, from before its first file is made until its server has ended. Knows nothing of PostgreSQL.
 *
 *     <dataDir>/lock     a SQLite database without content, in an exclusive transaction for as long as the lock is held
 *     <dataDir>/owner    which process holds it and how far it is; for messages only, no decision depends on it
 *
 * SQLite, because it is the only way to a kernel lock that Node has built in. A kernel lock ends with its process, after SIGKILL too:
 * there is no stale lock file to judge by a process id that another process may have by now, and none that two starts could take over
 * at once.
 */
import { chown, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

export interface DataLock {
  /** Until `release()`. */
  isHeld(): boolean;
  /** For the message of a process that comes second. */
  tell(state: OwnerState): Promise<void>;
  /** False when the folder was removed or replaced while the lock is held. */
  isStanding(): Promise<boolean>;
  release(): Promise<void>;
}

export type OwnerState = "starting" | "running" | "stopping";

export interface Owner {
  readonly pid: number;
  readonly state: OwnerState;
}

/** Another process holds the lock. The message is one sentence. */
export class DataInUseError extends Error {
  override readonly name = "DataInUseError";
  /** null when the holder is not visible from here, as in another container. */
  readonly pid: number | null;

  constructor(dataDir: string, owner: Owner | null) {
    super(describeUse(dataDir, owner));
    this.pid = owner?.pid ?? null;
  }
}

/** The owner file is written a moment after the lock is taken; this is how long a missing one is waited for. */
const OWNER_MS = 1_000;
/** A server that is told to stop has ten seconds (STOP_TIMEOUT_MS in postgres-server.ts); a start in that time waits for its end. */
const STOPPING_MS = 12_000;
const LOOK_EVERY_MS = 50;

/** @throws DataInUseError */
export async function lockData(dataDir: string): Promise<DataLock> {
  const file = join(dataDir, "lock");
  const begunAt = performance.now();
  let database = tryLock(file);
  while (database === null) {
    const owner = await readOwner(dataDir);
    const waitMs = owner === null ? OWNER_MS : owner.state === "stopping" ? STOPPING_MS : 0;
    if (performance.now() - begunAt >= waitMs) throw new DataInUseError(dataDir, owner);
    await sleep(LOOK_EVERY_MS);
    database = tryLock(file);
  }

  const held = database;
  const ino = await prepareLockFile(dataDir, file).catch((error: unknown) => {
    held.close();
    throw error;
  });
  let told: Promise<void> = Promise.resolve();
  const tell = (state: OwnerState) => {
    told = told.then(async () => {
      // For messages only: a full disk, or a folder that was removed, must not keep a server from being stopped.
      if (held.isOpen) await writeOwner(dataDir, { pid: process.pid, state }).catch(() => {});
    });
    return told;
  };
  await tell("starting");
  const isStanding = async () => (await stat(file).catch(() => null))?.ino === ino;
  return {
    isHeld: () => held.isOpen,
    tell,
    isStanding,
    async release() {
      // Written later, the file would be left behind.
      await told;
      if (!held.isOpen) return;
      // Before the lock is free: the next holder writes its own. In a folder that was replaced the file belongs to another process.
      if (await isStanding()) await rm(join(dataDir, "owner"), { force: true });
      held.close();
    },
  };
}

/** The process that holds, or is about to release, the lock; null when no process visible from here does. */
export async function readOwner(dataDir: string): Promise<Owner | null> {
  const text = await readFile(join(dataDir, "owner"), "utf8").catch(() => "");
  try {
    const owner = JSON.parse(text) as Owner;
    return isAlive(owner.pid) ? owner : null;
  } catch {
    return null;
  }
}

/** Whether the process runs, also when it belongs to another user. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** SQLite's result code for a lock that another connection holds. */
const SQLITE_BUSY = 5;

/** Null when another process, or another caller in this one, holds it. */
function tryLock(file: string): DatabaseSync | null {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file, { timeout: 0 });
    // The database stays empty, so a journal on disk would be for nothing.
    database.exec("pragma journal_mode = memory; begin exclusive");
    return database;
  } catch (error) {
    database?.close();
    const { errcode, message } = error as Error & { readonly errcode?: number };
    if (errcode === SQLITE_BUSY) return null;
    throw new Error(
      `${file} cannot be locked (${message}): make its folder writable for this user, or remove the file if account-sync did not make it.`,
    );
  }
}

/** Resolves with the file's inode. The owner of the folder gets the file, so that one start as root does not lock that user out. */
async function prepareLockFile(dataDir: string, file: string): Promise<number> {
  if (process.getuid?.() === 0) {
    const { uid, gid } = await stat(dataDir);
    await chown(file, uid, gid);
  }
  return (await stat(file)).ino;
}

/** Written aside and renamed, so that a reader never sees half of it. */
async function writeOwner(dataDir: string, owner: Owner): Promise<void> {
  const fresh = join(dataDir, `owner.${process.pid}`);
  await writeFile(fresh, `${JSON.stringify(owner)}\n`);
  await rename(fresh, join(dataDir, "owner"));
}

function describeUse(dataDir: string, owner: Owner | null): string {
  if (owner === null) return `account-sync already runs on ${dataDir}, in another process.`;
  const { pid, state } = owner;
  switch (state) {
    case "starting":
      return `account-sync is being started on ${dataDir} by process ${pid}.`;
    case "running":
      return `account-sync already runs on ${dataDir}, as process ${pid}.`;
    case "stopping":
      return `account-sync is being stopped on ${dataDir} by process ${pid}.`;
    default:
      return state satisfies never;
  }
}
