/**
 * A real PgBouncer (Debian's package) in front of a server, as administrators put it there: all of its clients share one pool of server
 * connections. Stopped at the end of the test file.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { eventually } from "./eventually.ts";
import { freePort } from "./machine.ts";
import { withClient } from "./postgres.ts";

const PROGRAM = "/usr/sbin/pgbouncer";

/** Without it these tests are skipped; on CI its absence is a failure. */
export const lacksPgBouncer = !isExecutable(PROGRAM) && process.env["CI"] !== "true";

export interface PgBouncerOptions {
  readonly mode: "session" | "transaction" | "statement";
  /** Server connections that all clients share. Default 8. */
  readonly poolSize?: number;
  /** On one port, each with a pool of its own, as on a machine of several cores. Default 1. */
  readonly processes?: number;
  /** Startup settings that are swallowed instead of refused. */
  readonly ignores?: readonly string[];
}

/** What administrators write into ignore_startup_parameters when a client is refused. */
export const GUARD_SETTINGS = [
  "options",
  "statement_timeout",
  "lock_timeout",
  "idle_in_transaction_session_timeout",
];

const running: { readonly child: ChildProcess; readonly directory: string }[] = [];

afterAll(async () => {
  for (const { child, directory } of running.splice(0)) {
    if (child.exitCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(directory, { recursive: true, force: true });
  }
});

/** Resolves with the URL of the database behind it. */
export async function startPgBouncer(
  databaseUrl: string,
  { mode, poolSize = 8, processes = 1, ignores = [] }: PgBouncerOptions,
): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  const directory = await mkdtemp(join(tmpdir(), "account-sync-pgbouncer-"));
  await chmod(directory, 0o755);
  const listenPort = await freePort();
  const settings = {
    listen_addr: "127.0.0.1",
    listen_port: listenPort,
    unix_socket_dir: "",
    // Any client is let in, and served in the pool of one database role.
    auth_type: "any",
    pool_mode: mode,
    default_pool_size: poolSize,
    max_client_conn: 200,
    ...(processes === 1 ? {} : { so_reuseport: 1 }),
    ...(ignores.length === 0 ? {} : { ignore_startup_parameters: ignores.join(",") }),
  };
  await writeFile(
    join(directory, "pgbouncer.ini"),
    [
      "[databases]",
      `* = host=${hostname} port=${port} user=${username} password=${decodeURIComponent(password)}`,
      "[pgbouncer]",
      ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
      "",
    ].join("\n"),
  );

  for (let started = 0; started < processes; started += 1) {
    const child = spawn(PROGRAM, [join(directory, "pgbouncer.ini")], {
      stdio: "ignore",
      // It refuses to run as root.
      ...(process.getuid?.() === 0 ? { uid: idOf("-u"), gid: idOf("-g") } : {}),
    });
    running.push({ child, directory });
  }

  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${listenPort}`;
  url.pathname = pathname;
  await eventually(() => withClient(url.href, (client) => client.query("select 1")));
  return url.href;
}

function idOf(option: "-u" | "-g"): number {
  return Number(execFileSync("id", [option, "nobody"], { encoding: "utf8" }));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
