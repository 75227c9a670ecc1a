/**
 * One run of the embedded PostgreSQL server: starts, is ready, stops.
 *
 * The server must not outlive this process, not even after SIGKILL, and must not end before it either, when Ctrl-C reaches the whole
 * process group while the daemon still drains. So it runs in a session of its own, behind a small shell that holds a pipe to us:
 *
 *     this process ──stdin──▶ sh ──▶ postgres        a line on the pipe is a signal for the server;
 *                                                    its end means that this process is gone: stop, within a second
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { type PostgresUser, postgresEnvironment, toIds } from "./postgres-user.ts";
import {
  AlreadyRunningError,
  PREVIOUS_SERVER_GRACE_MS,
  readPidFile,
  waitForPreviousServer,
} from "./postmaster-pid.ts";

export interface PostgresServer {
  readonly port: number;
  stop(): Promise<void>;
  crash(): Promise<void>;
}

export interface PostgresLaunch {
  readonly binaries: PostgresBinaries;
  readonly clusterDir: string;
  readonly user: PostgresUser;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
}

/** Includes the recovery after a crash. */
const READY_TIMEOUT_MS = 60_000;

/** Time for the last checkpoint before the server is stopped by force; nothing is lost in that case either. */
const STOP_TIMEOUT_MS = 10_000;

/**
 * We hold the lock, so a server that runs, or is only about to write its `postmaster.pid`, is one whose owner was killed: its supervisor
 * ends it within a second.
 */
export async function startServer(
  launch: PostgresLaunch,
  ports: readonly number[],
): Promise<PostgresServer> {
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

async function startOnSomePort(
  launch: PostgresLaunch,
  ports: readonly number[],
): Promise<PostgresServer> {
  for (const [index, port] of ports.entries()) {
    try {
      return await startOnPort(launch, port);
    } catch (error) {
      const isTaken = /could not bind/.test((error as Error).message);
      if (index === ports.length - 1 || !isTaken) throw error;
    }
  }
  throw new Error("There is no free port on 127.0.0.1 for the embedded PostgreSQL.");
}

async function startOnPort(launch: PostgresLaunch, port: number): Promise<PostgresServer> {
  const { clusterDir, log } = launch;
  const leftBehind = await readPidFile(clusterDir);
  const shell = spawnSupervised(launch, port);
  const output = readOutput(shell, log);
  const ended = once(shell, "exit");
  // The shell may end before it has read what is written to it.
  shell.stdin.on("error", () => {});
  let hasStarted = false;
  let stopping = false;
  let hasEnded = false;
  shell.on("exit", () => {
    hasEnded = true;
    if (hasStarted && !stopping) log("the embedded PostgreSQL ended by itself");
  });

  async function stopBy(signal: "INT" | "QUIT"): Promise<void> {
    stopping = true;
    shell.stdin.write(`${signal}\n`);
    const timeout = setTimeout(() => shell.stdin.end(), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timeout);
  }

  try {
    await waitUntilReady(clusterDir, leftBehind, () => hasEnded);
    hasStarted = true;
  } catch (error) {
    await stopBy("QUIT");
    throw toStartError(error as Error, output, clusterDir, port);
  }
  return { port, stop: () => stopBy("INT"), crash: () => stopBy("QUIT") };
}

/**
 * Runs "$@" until it ends. Reads signals for it from standard input, one per line. At the end of the input it stops the server: in good
 * order for a third of a second, then at once, then by force; none of the three loses committed data. The session of its own keeps the
 * terminal's signals away, the traps those that are sent to every process, so that only these lines end the server.
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

type Supervised = ChildProcessByStdio<Writable, null, Readable>;

function spawnSupervised(
  { binaries, clusterDir, user, settings }: PostgresLaunch,
  port: number,
): Supervised {
  const allSettings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    // No socket file: its path has a length limit, and its folder has to be writable.
    unix_socket_directories: "",
    ...settings,
  };
  return spawn(
    "sh",
    [
      ...["-c", SUPERVISOR, "sh", binaries.postgres, "-D", clusterDir],
      ...Object.entries(allSettings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    {
      ...toIds(user),
      cwd: "/",
      env: postgresEnvironment(),
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
}

/** Passes the server's lines on and keeps the last ones for an error message. */
function readOutput(shell: Supervised, log: (line: string) => void): readonly string[] {
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

/** By the status in `postmaster.pid`, as pg_ctl does. `leftBehind` is its text before the start. */
async function waitUntilReady(
  clusterDir: string,
  leftBehind: string,
  hasEnded: () => boolean,
): Promise<void> {
  const givesUpAt = performance.now() + READY_TIMEOUT_MS;

  for (;;) {
    const text = await readPidFile(clusterDir);
    // "standby" is as ready as a server in recovery will be.
    if (text !== leftBehind && /^(?:ready|standby)/m.test(text)) return;
    if (hasEnded()) throw new Error("it ended");
    if (performance.now() >= givesUpAt) {
      throw new Error(`not ready within ${READY_TIMEOUT_MS / 1000} s`);
    }
    await sleep(20);
  }
}

function toStartError(
  error: Error,
  output: readonly string[],
  clusterDir: string,
  port: number,
): Error {
  const text = output.join("\n");

  const runningPid = /postmaster \(PID (\d+)\) running/.exec(text)?.[1];
  if (runningPid !== undefined) return new AlreadyRunningError(clusterDir, Number(runningPid));
  if (/lock file "postmaster.pid" is empty/.test(text)) {
    return new AlreadyRunningError(clusterDir, null);
  }
  if (/could not bind/.test(text)) {
    return new Error(`The embedded PostgreSQL could not bind 127.0.0.1:${port}: it is in use.`);
  }
  return new Error(
    `The embedded PostgreSQL on ${clusterDir} did not start (${error.message}). Its last lines:\n${text}`,
  );
}
