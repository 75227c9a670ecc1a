/**
 * Several starts on one data directory in the same instant, after every end the previous one can have had: exactly one runs, each other
 * one fails with one sentence and leaves nothing behind, and no data is lost.
 */
import { spawnSync } from "node:child_process";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";

const source = fileURLToPath(new URL("../../src/local/embedded-postgres.ts", import.meta.url));
const SENTENCE =
  /^account-sync (?:already runs on \S+, as process \d+|is being (?:started|stopped) on \S+ by process \d+)\.$/;

let folder: string;
let dataDir: string;
let script: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-two-"));
  // Started by root, the server runs as another user.
  await chmod(folder, 0o755);
  dataDir = join(folder, "data");
  script = join(folder, "owner.mts");
  await writeFile(
    script,
    `
    const [module, dataDir] = process.argv.slice(2);
    const { startEmbeddedPostgres } = await import(module);
    try {
      const server = await startEmbeddedPostgres({ dataDir, settings: { fsync: "off" } });
      process.on("SIGTERM", () => server.stop().then(() => process.exit(0)));
      console.log(server.url);
      setInterval(() => {}, 1000);
    } catch (error) {
      console.error(error.message);
      process.exitCode = 1;
    }
    `,
  );
});

afterAll(async () => {
  await eventually(() => expect(processesOf(folder)).toEqual([]));
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

describe("exactly one of three starts at once runs", () => {
  let running: RunningProcess | null = null;

  // In this order, on one directory: each finds what the one before has left.
  test.each<[string, () => Promise<void>]>([
    [
      "in a new folder, in which a first start was cut off",
      async () => {
        const gone = spawnSync("true").pid;
        await mkdir(join(dataDir, `cluster.${gone}`, "base"), { recursive: true });
        await writeFile(join(dataDir, `cluster.${gone}.password`), "");
        await writeFile(join(dataDir, "password"), "");
        await writeFile(join(dataDir, "port"), "");
        await writeFile(join(dataDir, "owner"), "");
      },
    ],
    ["while the one before stops", async () => running?.signal("SIGTERM")],
    ["when it has stopped", async () => stop(running)],
    ["when it was killed", async () => running?.signal("SIGKILL")],
    [
      "when the machine went down, and another process has its id now",
      async () => {
        await copyFile(join(dataDir, "cluster/postmaster.pid"), join(folder, "pid"));
        await stop(running);
        const left = await readFile(join(folder, "pid"), "utf8");
        const pidFile = join(dataDir, "cluster/postmaster.pid");
        await writeFile(pidFile, left.replace(/^\d+/, String(process.pid)), { mode: 0o600 });
        await writeFile(join(dataDir, "owner"), `{"pid":${process.pid},"state":"running"}\n`);
      },
    ],
    [
      "when the machine went down in the server's first moment",
      async () => {
        await stop(running);
        await writeFile(join(dataDir, "cluster/postmaster.pid"), "");
        await writeFile(join(dataDir, "port"), "no port");
      },
    ],
  ])("%s", async (_name, prepare) => {
    await prepare();

    const contenders = [startOne(), startOne(), startOne()];
    const winner = await findWinner(contenders);
    running = winner.process;

    for (const loser of contenders.filter((one) => one !== winner.process)) {
      expect(await loser.exit).toEqual({ code: 1, signal: null });
      expect(loser.stdout).toEqual([]);
      expect(loser.stderr).toEqual([expect.stringMatching(SENTENCE)]);
    }
    const kept = await withClient(winner.url, async (client) => {
      await client.query("create table if not exists kept (at timestamptz)");
      await client.query("insert into kept values (now())");
      return (await client.query("select count(*)::int as count from kept")).rows[0].count;
    });
    starts += 1;
    expect(kept).toBe(starts);
    expect((await readdir(dataDir)).toSorted()).toEqual(
      ["cluster", "lock", "owner", "password", "port"].toSorted(),
    );
  });

  let starts = 0;

  afterAll(async () => {
    await stop(running);
    expect((await readdir(dataDir)).toSorted()).toEqual(["cluster", "lock", "password", "port"]);
  });
});

test("the whole product twice at once: one runs, the other names the process that does, and does no harm", async () => {
  const cwd = join(folder, "product");
  await mkdir(cwd);
  const env = { HTTP_PORT: "0", LOG_LEVEL: "warn" };

  const both = [startProcess({ cwd, env }), startProcess({ cwd, env })];
  const loser = await Promise.race(both.map(async (one) => one.exit.then(() => one)));
  const winner = both.find((one) => one !== loser);
  await winner?.waitForLine(/^Ctrl-C stops/, 30_000);

  expect(loser.stderr).toEqual([
    expect.stringMatching(
      /^error: account-sync (?:is being started on \S+ by|already runs on \S+, as) process \d+\.$/,
    ),
    expect.stringContaining("status"),
  ]);
  expect(loser.stdout).toEqual([]);
  winner?.signal("SIGTERM");
  expect(await winner?.exit).toEqual({ code: 0, signal: null });
  expect(winner?.stderr).toEqual([]);
});

function startOne(): RunningProcess {
  return startProcess({ script, args: [source, dataDir], cwd: folder });
}

async function findWinner(
  contenders: readonly RunningProcess[],
): Promise<{ readonly process: RunningProcess; readonly url: string }> {
  return await eventually(
    () => {
      const ready = contenders.filter(({ stdout }) => stdout.length > 0);
      const errors = contenders.flatMap(({ stderr }) => stderr);
      if (ready.length !== 1) throw new Error(`${ready.length} run: ${errors.join("\n")}`);
      const [process] = ready;
      const url = process?.stdout[0];
      if (process === undefined || url === undefined) throw new Error("unreachable");
      return { process, url };
    },
    { timeoutMs: 30_000 },
  );
}

async function stop(running: RunningProcess | null): Promise<void> {
  running?.signal("SIGTERM");
  await running?.exit;
}

function processesOf(place: string): string[] {
  const { stdout } = spawnSync("ps", ["-eo", "pid,args"], { encoding: "utf8", maxBuffer: 1e8 });
  return stdout.split("\n").filter((line) => line.includes(place));
}
