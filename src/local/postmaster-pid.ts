/**
 * PostgreSQL's `postmaster.pid`: which server runs on a cluster, on which port, and how far its start is. Read instead of connecting: if
 * another process had taken the port, a connection would offer the password to it.
 */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readIfExists } from "./data-directory.ts";
import { isAlive } from "./data-lock.ts";
import { runAs } from "./postgres-user.ts";

export async function portOfRunningServer(clusterDir: string): Promise<number | null> {
  const text = (await readIfExists(pidFileOf(clusterDir))) ?? "";
  const lines = text.split("\n");
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  const isReady = /^ready/m.test(text) && pid > 0 && isAlive(pid);
  return isReady && (await commandLineOf(pid)).includes(clusterDir) ? port : null;
}

/** A server whose owner was killed ends within a second; after this time it counts as the server of another owner. */
export const PREVIOUS_SERVER_GRACE_MS = 2_000;

/**
 * Waits for the end of a server that was started before this one, and removes a file that names none. After a crash of the machine the
 * file can hold a process id that another process has now. PostgreSQL refuses to start when that is a process of the same user, which in
 * a container it usually is; hence the look at the command line. An empty file belongs to a server that was cut off in its first moment,
 * or that is only starting.
 *
 * @throws AlreadyRunningError
 */
export async function waitForPreviousServer(
  clusterDir: string,
  log: (line: string) => void,
): Promise<void> {
  const pidFile = pidFileOf(clusterDir);
  const givesUpAt = performance.now() + PREVIOUS_SERVER_GRACE_MS;

  for (;;) {
    const text = await readIfExists(pidFile);
    const pid = Number.parseInt(text ?? "", 10);
    const isEmpty = text?.trim() === "";
    const isOver = performance.now() >= givesUpAt;
    if (!isEmpty && !(pid > 0 && isAlive(pid))) return;

    if (isEmpty ? isOver : !(await commandLineOf(pid)).includes(clusterDir)) {
      log(`removing the process id file of a server that is gone: ${pidFile}`);
      await rm(pidFile, { force: true });
      return;
    }

    if (isOver) throw new AlreadyRunningError(clusterDir, pid);
    await sleep(100);
  }
}

/** The file's text; empty when there is none or it cannot be read. */
export async function readPidFile(clusterDir: string): Promise<string> {
  return await readFile(pidFileOf(clusterDir), "utf8").catch(() => "");
}

export class AlreadyRunningError extends Error {
  constructor(clusterDir: string, pid: number | null) {
    const process = pid === null ? "" : ` (process ${pid})`;
    super(
      `A PostgreSQL${process} already runs on ${clusterDir}, and no account-sync has started it: stop it first, or set DATABASE_URL to use its database.`,
    );
  }
}

function pidFileOf(clusterDir: string): string {
  return join(clusterDir, "postmaster.pid");
}

async function commandLineOf(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
  } catch {
    return (await runAs(null, "ps", ["-p", String(pid), "-o", "command="])).stdout;
  }
}
