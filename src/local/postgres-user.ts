/**
 * The system user that the embedded PostgreSQL runs as, and commands run as that user. PostgreSQL refuses to run as root: started by
 * root, it runs as `postgres` or another user without privileges.
 */
import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** null: the user of this process. */
export type PostgresUser = {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
} | null;

/** Users without privileges that a system may have, best first: Linux, macOS, any. */
const UNPRIVILEGED_USERS = ["postgres", "_postgres", "nobody"];

export async function choosePostgresUser(dataDir: string): Promise<PostgresUser> {
  if (process.platform === "win32") {
    throw new Error(
      "The embedded PostgreSQL does not run on Windows: start one yourself and set DATABASE_URL.",
    );
  }
  if (!isRoot()) return null;

  // A cluster made by an ordinary user stays usable by that user.
  const cluster = await stat(join(dataDir, "cluster")).catch(() => null);
  if (cluster !== null && cluster.uid !== 0) {
    return { name: `user ${cluster.uid}`, uid: cluster.uid, gid: cluster.gid };
  }

  for (const name of UNPRIVILEGED_USERS) {
    const [uid, gid] = await Promise.all([idOf("-u", name), idOf("-g", name)]);
    if (uid !== null && gid !== null && uid !== 0) return { name, uid, gid };
  }

  throw new Error(
    `PostgreSQL does not run as root, and none of the users ${UNPRIVILEGED_USERS.join(", ")} exists here: ` +
      "create one (useradd --system postgres), start as an ordinary user, or set DATABASE_URL.",
  );
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

async function idOf(option: "-u" | "-g", name: string): Promise<number | null> {
  const { code, stdout } = await runAs(null, "id", [option, name]);
  // macOS counts `nobody` from the end of the range; Node wants a signed number.
  return code === 0 ? Number.parseInt(stdout, 10) | 0 : null;
}

export async function findReachable(
  candidates: readonly string[],
  user: PostgresUser,
): Promise<string> {
  for (const candidate of candidates) {
    if (await canReach(candidate, user)) return candidate;
  }
  throw new Error(`${user?.name ?? "This user"} can reach none of ${candidates.join(", ")}.`);
}

export async function canReach(dir: string, user: PostgresUser): Promise<boolean> {
  const { code } = await runAs(user, "sh", ["-c", 'test -d "$1" && test -x "$1"', "sh", dir]);
  return code === 0;
}

const execFileAsync = promisify(execFile);

/** Runs a command to its end; never rejects. A command that does not exist has code 127. */
export async function runAs(
  user: PostgresUser,
  command: string,
  args: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const done = await execFileAsync(command, [...args], {
      ...toIds(user),
      cwd: "/",
      env: postgresEnvironment(),
    });
    return { code: 0, ...done };
  } catch (error) {
    const failed = error as Error & { code?: unknown; stdout?: string; stderr?: string };
    return {
      code: typeof failed.code === "number" ? failed.code : 127,
      stdout: failed.stdout ?? "",
      stderr: failed.stderr || failed.message,
    };
  }
}

export function toIds(user: PostgresUser): { uid?: number; gid?: number } {
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}

/** Only what a server needs: our own environment holds secrets, and PG* variables meant for clients. */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  const { PATH, TZ } = process.env;
  return { PATH, LC_ALL: "C", ...(TZ === undefined ? {} : { TZ }) };
}
