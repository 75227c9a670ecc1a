/**
 * F31 at its largest: a million accounts pending. They wait in the tables, so the process stays as small as with a thousand; console and
 * metrics answer quickly on such a queue and do not keep the database busy.
 *
 * MEMORY_ACCOUNTS makes it smaller, for a quick run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";

const MANY = Number(process.env["MEMORY_ACCOUNTS"] ?? 1_000_000);
const FEW = 1_000;

/** How long a scrape, a page or the status may take with everything pending; generous, as machines under test are busy. */
const ANSWER_MS_MAX = 2_500;

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

test.runIf(process.platform === "linux")(
  `F31 ${MANY} accounts pending: memory is what it is with ${FEW}, and looking at them stays quick`,
  // A minute or two on a quiet machine; five where two cores were shared by twenty processes.
  { timeout: 420_000 },
  async () => {
    const database = await createDatabase();
    const api = await startApi();
    const daemon = startProcess({
      args: ["start"],
      env: {
        DATABASE_URL: database.url,
        CUSTOMER_API_URL: api.url,
        CUSTOMER_API_TOKEN: "static-token",
        SYNC_QUIET_PERIOD_MS: "0",
        SYNC_BACKOFF_MIN_MS: "100",
        // So that the API's absence parks no create in doubt.
        CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503",
        SYNC_BACKOFF_MAX_MS: "1000",
        HTTP_PORT: "0",
      },
    });
    cleanups.push(async () => {
      daemon.signal("SIGKILL");
      await daemon.exit;
    });
    const { url } = JSON.parse(await daemon.waitForLine(/"msg":"started"/));

    const few = await peakWhile(daemon.pid, async () => {
      await pend(database, FEW);
      await work(api, 250);
      await look(url, database);
    });
    const foldedFrom = performance.now();
    const many = await peakWhile(daemon.pid, async () => {
      await pend(database, MANY);
      await work(api, 1_000);
      const { countings } = await look(url, database);
      // Thirty requests asked how many there are; counting took at most a twentieth of that time.
      expect(countings).toBeLessThan(10);
    });
    const foldMs = performance.now() - foldedFrom;

    process.stdout.write(
      `${JSON.stringify({ peakMb: { [FEW]: toMb(few), [MANY]: toMb(many) }, ratio: Number((many / few).toFixed(2)), insertFoldAndWorkMs: Math.round(foldMs) })}\n`,
    );
    expect(await unqueued(database)).toBe(0);
    expect(many / few).toBeLessThan(1.5);
    expect(many - few).toBeLessThan(100 * 1024 * 1024);
  },
);

/** Inserts accounts in one statement, and resolves when all of them are in the queue. */
async function pend(database: TestDatabase, count: number): Promise<void> {
  await database.query(
    `insert into m_account (account_no, name, phone_no, email)
     select 'M-' || $1::int || '-' || n, 'Toko ' || n, '081234567890', 'toko@example.com' from generate_series(1, $1::int) n`,
    [count],
  );
  await eventually(
    async () => {
      const [row] = await database.query(
        "select not exists (select from account_sync.change) as folded",
      );
      expect(row?.["folded"]).toBe(true);
    },
    { timeoutMs: 200_000, intervalMs: 250 },
  );
  // As autovacuum does within a minute: until then PostgreSQL plans for a small table.
  await database.query("analyze account_sync.account");
}

/** The API, which was away, answers until it has had so many requests, and is away again. */
async function work(api: Api, requests: number): Promise<void> {
  const before = api.answered();
  api.setUp(true);
  await eventually(() => expect(api.answered()).toBeGreaterThanOrEqual(before + requests), {
    timeoutMs: 60_000,
  });
  api.setUp(false);
}

/** Reads the pages of the console and the metrics ten times. Resolves with how often the queue was counted for them. */
async function look(url: string, database: TestDatabase): Promise<{ countings: number }> {
  const scansBefore = await fullScans(database);
  const took: Record<string, number> = {};
  const get = async (path: string) => {
    const startedAt = performance.now();
    const response = await fetch(url + path);
    expect(response.status).toBe(200);
    const text = await response.text();
    const name = path.replace(/cursor=[^&]*/, "cursor=…");
    took[name] = Math.max(took[name] ?? 0, Math.round(performance.now() - startedAt));
    return text;
  };

  for (let round = 0; round < 10; round += 1) {
    await get("/metrics");
    await get("/api/status");
    await get("/");
    for (const state of ["parked", "retrying", "blocked", "running", "waiting", "due"])
      await get(`/api/accounts?state=${state}&limit=500`);
    let cursor = "8";
    for (let page = 0; page < 3; page += 1)
      cursor = JSON.parse(await get(`/api/accounts?limit=500&cursor=${cursor}`)).next_cursor ?? "8";
  }

  const countings = (await fullScans(database)) - scansBefore;
  process.stdout.write(`${JSON.stringify({ slowestMs: took, countings })}\n`);
  for (const ms of Object.values(took)) expect(ms).toBeLessThan(ANSWER_MS_MAX);
  return { countings };
}

/** Accounts that the queue does not know: there must be none. */
async function unqueued(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ missing: number }>(
    "select ((select count(*) from m_account) - (select count(*) from account_sync.account))::int as missing",
  );
  return row?.missing ?? -1;
}

async function fullScans(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ scans: string }>(
    "select seq_scan as scans from pg_stat_all_tables where schemaname = 'account_sync' and relname = 'account'",
  );
  return Number(row?.scans);
}

/** The highest resident size of a process while `run` runs. */
async function peakWhile(pid: number, run: () => Promise<void>): Promise<number> {
  // 5: the peak starts anew from what it is now.
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  await run();
  const [, kilobytes] =
    /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

function toMb(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}

interface Api {
  readonly url: string;
  setUp(up: boolean): void;
  answered(): number;
}

/** Takes every create and remembers none of them: 503 while it is away. */
async function startApi(): Promise<Api> {
  let isUp = false;
  let answered = 0;
  const server = http.createServer((request, response) => {
    request.resume().on("end", () => {
      if (!isUp) return response.writeHead(503).end("{}");
      answered += 1;
      return response
        .writeHead(201, { "content-type": "application/json" })
        .end(JSON.stringify({ customer: { data: { id: `customer-${answered}` } } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    setUp: (up) => {
      isUp = up;
    },
    answered: () => answered,
  };
}
