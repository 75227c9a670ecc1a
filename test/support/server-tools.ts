/**
 * PostgreSQL as a distribution packages it, with pg_dump, pg_restore and psql, which npm does not bring: a server of the same version as
 * the tools, since pg_dump refuses a newer one.
 *
 * It ends with this process, however that ends: a shell holds a pipe to us and stops it when the pipe closes.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { eventually } from "./eventually.ts";
import { freePort } from "./machine.ts";

export interface ToolServer {
  /** Of a database on it. Every role logs in without a password. */
  url(role: string, database: string): string;
  /** Resolves with the exit code and everything said. */
  run(tool: "pg_dump" | "pg_restore" | "psql", args: readonly string[]): Promise<ToolRun>;
  stop(): Promise<void>;
}

export interface ToolRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const NEEDED = ["initdb", "postgres", "pg_dump", "pg_restore", "psql"];

/** The newest directory that has all of them; null where there is none. */
export function findServerTools(): string | null {
  const directories = globSync(["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"]).sort(
    (one, other) => Number(/\d+/.exec(other)?.[0]) - Number(/\d+/.exec(one)?.[0]),
  );
  return directories.find((path) => NEEDED.every((tool) => existsSync(join(path, tool)))) ?? null;
}

export async function startToolServer(tools: string): Promise<ToolServer> {
  const directory = await mkdtemp(join(tmpdir(), "account-sync-tools-"));
  const user = unprivilegedUser();
  if (user.uid !== undefined) await chown(directory, user.uid, user.gid);
  const data = join(directory, "data");
  const env = { ...process.env, LC_ALL: "C" };
  execFileSync(
    join(tools, "initdb"),
    ["--pgdata", data, "--auth", "trust", "--username", "postgres", "--no-sync"],
    { ...user, env, stdio: "ignore" },
  );

  const port = await freePort();
  const settings = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
  };
  const command = Object.entries(settings).map(([name, value]) => `-c ${name}='${value}'`);
  const server = spawn(
    "sh",
    [
      "-c",
      `"$0" -D "$1" ${command.join(" ")} </dev/null & server=$!; read -r _; kill -INT $server; wait $server`,
      join(tools, "postgres"),
      data,
    ],
    // A session of its own: Ctrl-C is for the tests, and they stop it.
    { ...user, env, stdio: ["pipe", "ignore", "ignore"], detached: true },
  );
  const ended = once(server, "close");
  const url = (role: string, database: string) =>
    `postgres://${role}@127.0.0.1:${port}/${database}`;
  await eventually(async () => {
    const client = new pg.Client({ connectionString: url("postgres", "postgres") });
    client.on("error", () => {});
    await client.connect();
    await client.end();
  });

  return {
    url,
    run: (tool, args) =>
      new Promise((resolve) => {
        execFile(join(tools, tool), args, { env }, (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
        );
      }),
    stop: async () => {
      server.stdin.end();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root; Debian's package makes a user for it, and every system has `nobody`. */
function unprivilegedUser():
  | { readonly uid: number; readonly gid: number }
  | Record<string, never> {
  if (process.getuid?.() !== 0) return {};
  const idOf = (option: string) =>
    Number(
      execFileSync("sh", ["-c", `id ${option} postgres 2>/dev/null || id ${option} nobody`], {
        encoding: "utf8",
      }),
    );
  return { uid: idOf("-u"), gid: idOf("-g") };
}
