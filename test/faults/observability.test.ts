/** F39: the log is not read, the database is away during scrapes, a scraper never reads its answer: the sync goes on, scrapes are answered. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { CANARY } from "../support/canaries.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { freePort, watchMemory } from "../support/machine.ts";
import {
  apiEnvironment,
  createProduct,
  type Product,
  QUICK,
  readMetric,
} from "../support/product.ts";
import { countStates, untilAtRest } from "../support/queue-state.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { FLAWLESS } from "../support/verdict.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

test("F39 the log is not read: all accounts are synced, memory is bounded, scrapes answer, and what was dropped is said afterwards", async () => {
  const product = await createProduct();
  const { child, url } = await startUnread(product);
  const memory = await watchMemory(child.pid);
  const before = memory.peakMb();
  await fillThePipe(product, url);

  const accounts = 100;
  await insertAccounts(product.database, accounts);
  const scrapes: number[] = [];
  await eventually(
    async () => {
      const askedAt = performance.now();
      await readMetric(url, "pending_accounts");
      scrapes.push(performance.now() - askedAt);
      expect(await countStates(product.database)).toEqual({ clean: accounts });
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await readMetric(url, "runs_total", { outcome: "synced" })).toBe(accounts);
  expect(Math.max(...scrapes)).toBeLessThan(5_000);
  expect(memory.peakMb() - before).toBeLessThan(150);

  // The log is read now: first the lines that waited, then, with the next line, how many were dropped.
  const pieces = readPieces(child.stdout);
  await eventually(
    async () => {
      await insertAccount(product.database, { accountNo: crypto.randomUUID().slice(0, 8) });
      expect(pieces.join("")).toMatch(/"dropped_lines":[1-9]\d*/);
    },
    { timeoutMs: 30_000, intervalMs: 250 },
  );
  expect(pieces.join("")).not.toContain(CANARY.email);
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  recordFault("F39", found, { tries: accounts, recoveryMs: null });
});

test("F39 a full pipe that is never emptied does not keep the process from draining and leaving", async () => {
  const product = await createProduct();
  const { child, url } = await startUnread(product);
  await fillThePipe(product, url);
  // Requests that are under way at the signal: they have to be finished although their log lines cannot be written.
  const accounts = 5;
  product.sandbox.setFaults({ always: { delayMs: 500 } });
  await insertAccounts(product.database, accounts);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(accounts));

  const askedAt = performance.now();
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");

  expect(code).toBe(0);
  expect(performance.now() - askedAt).toBeLessThan(10_000);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F39", found, { tries: 1, recoveryMs: null });
});

test("F39 the reader of the log goes away: the process stays, and everything is synced", async () => {
  const product = await createProduct();
  const { child, url } = await startUnread(product);
  child.stdout.destroy();

  await insertAccounts(product.database, 200);
  await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await readMetric(url, "runs_total", { outcome: "synced" })).toBe(200);
  expect(child.exitCode).toBeNull();
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  recordFault("F39", found, { tries: 1, recoveryMs: null });
});

test.each(["refuses", "has gone silent"])(
  "F39 metrics are scraped while the database %s: each scrape answers, tells how old the queue's numbers are, and nothing is lost",
  async (how) => {
    const product = await createProduct();
    const database = new URL(product.database.url);
    const proxy = await startTcpProxy(Number(database.port));
    database.port = String(proxy.port);
    const daemon = await product.start({ DATABASE_URL: database.href });
    await insertAccounts(product.database, 20);
    await untilAtRest(product.database);

    if (how === "refuses") {
      await proxy.refuse();
      proxy.cut();
    } else proxy.blackhole(true);
    await product.database.query("update m_account set name = name || ' Baru'");
    const durations: number[] = [];
    await eventually(
      async () => {
        const askedAt = performance.now();
        // Five impatient scrapers at once.
        const answers = await Promise.all(
          Array.from({ length: 5 }, () => fetch(`${daemon.url}/metrics`)),
        );
        for (const answer of answers) {
          expect(answer.status).toBe(200);
          expect(await answer.text()).toContain("account_sync_runs_total");
        }
        durations.push(performance.now() - askedAt);
        expect(await daemon.metric("queue_status_age_seconds")).toBeGreaterThan(8);
      },
      { timeoutMs: 60_000 },
    );
    // The query for it is given two seconds.
    expect(Math.max(...durations)).toBeLessThan(5_000);
    expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${daemon.url}/api/status`)).status).toBe(200);

    if (how === "refuses") await proxy.accept();
    else proxy.blackhole(false);
    const recoveryMs = await untilAtRest(product.database);
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    await eventually(async () =>
      expect(await daemon.metric("queue_status_age_seconds")).toBeLessThan(2),
    );
    recordFault("F39", found, { tries: durations.length * 5, recoveryMs });
  },
);

test("F39 scrapers that never read their answers or never finish asking: the sync goes on, memory stays flat, and an honest scrape answers", async () => {
  const product = await createProduct();
  const { child, url } = await startUnread(product);
  const memory = await watchMemory(child.pid);
  const before = memory.peakMb();

  // A thousand requests that wait for their turn take 10 MB. One after the other, so that no more than one read is in memory at a time.
  const hoarders = 20;
  for (let n = 0; n < hoarders; n += 1) {
    const hoarder = ask(url, REQUEST.repeat(1_000), REQUEST);
    await eventually(() => expect(hoarder).toEqual({ isOver: true }));
  }
  // More than may be connected at all.
  const stutterers = Array.from({ length: 300 }, () =>
    ask(url, "GET /metrics HTTP/1.1\r\nX-Stutter: ", "a"),
  );
  await insertAccounts(product.database, 50);
  await untilAtRest(product.database, 60_000);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);

  const askedAt = performance.now();
  await eventually(
    async () => expect(await readMetric(url, "runs_total", { outcome: "synced" })).toBe(50),
    { timeoutMs: 60_000, intervalMs: 500 },
  );
  const recoveryMs = performance.now() - askedAt;
  expect(memory.peakMb() - before).toBeLessThan(150);
  recordFault("F39", found, { tries: hoarders + stutterers.length, recoveryMs });
});

type Unread = ChildProcessByStdio<null, Readable, null>;

/** The daemon as a process of its own whose log goes into a pipe that is not read. */
async function startUnread(product: Product): Promise<{ child: Unread; url: string }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child: Unread = spawn(
    process.execPath,
    [fileURLToPath(new URL("../../src/main.ts", import.meta.url))],
    {
      env: {
        ...inherited(),
        ...QUICK,
        ...apiEnvironment(product.sandbox),
        DATABASE_URL: product.database.url,
        HTTP_PORT: String(port),
        LOG_LEVEL: "debug",
      },
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  cleanups.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), {
    timeoutMs: 30_000,
  });
  expect(child.exitCode).toBeNull();
  return { child, url };
}

function inherited(): Record<string, string> {
  return Object.fromEntries(
    ["PATH", "HOME", "TMPDIR"].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** The pipe's own 64 KiB and the megabyte that may wait: each of these notifications is a line at level debug. */
async function fillThePipe(product: Product, url: string): Promise<void> {
  const lines = 12_000;
  await product.database.query(
    "select count(pg_notify('account_sync', 'neither an id nor JSON ' || n)) from generate_series(1, $1) n",
    [lines],
  );
  await eventually(
    async () => expect(await readMetric(url, "notifications_ignored_total")).toBe(lines),
    { timeoutMs: 30_000 },
  );
}

function readPieces(stream: Readable): string[] {
  const pieces: string[] = [];
  stream.setEncoding("utf8").on("data", (piece: string) => pieces.push(piece));
  return pieces;
}

const REQUEST = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** Asks over a connection of its own and reads nothing. Without reading, only a write tells that the connection is closed, so it keeps writing. */
function ask(url: string, request: string, more: string): { isOver: boolean } {
  const asker = { isOver: false };
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1" });
  socket.on("error", () => {
    asker.isOver = true;
  });
  socket.pause();
  const askingOn = setInterval(() => socket.write(more), 500);
  socket.on("close", () => {
    asker.isOver = true;
  });
  socket.write(request);
  cleanups.push(() => {
    clearInterval(askingOn);
    socket.destroy();
  });
  return asker;
}
