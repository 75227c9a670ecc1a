/** F10 to F12: the server ends our sessions, or is away for a while. What was read, sent and answered by then is continued, not repeated. */
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { startDaemonProcess } from "../support/daemon-process.ts";
import { eventually } from "../support/eventually.ts";
import { recordSpeed } from "../support/evidence.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

test("F10 the listener's session is ended: it is back within a second, and a change made in the gap is synced", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const direct = new URL(product.database.url);
  direct.port = String(proxy.port);
  const daemon = await product.start({
    LISTEN_DATABASE_URL: direct.href,
    // So long that only looking after the reconnect can find the change in time.
    SYNC_SWEEP_INTERVAL_MS: "60000",
  });
  await insertAccount(product.database, { accountNo: "A-0" });
  await untilAtRest(product.database);
  const rounds = 10;
  const listener = "application_name like 'account-sync % listener'";
  let slowestMs = 0;

  for (let round = 1; round <= rounds; round += 1) {
    // Refused until the change is made, so that it falls into the gap however fast the reconnect is.
    await proxy.refuse();
    await endSessions(product.database, listener);
    await eventually(async () => expect(await countSessions(product.database, listener)).toBe(0), {
      intervalMs: 5,
    });
    await insertAccount(product.database, { accountNo: `A-${round}`, tiers: 1, pics: 1 });
    await proxy.accept();
    const welcomeAt = performance.now();

    await eventually(() => expect(requestsFor(product, `A-${round}`)).toBe(1), { intervalMs: 5 });
    slowestMs = Math.max(slowestMs, performance.now() - welcomeAt);
    await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1));
  }

  // A second for the reconnect, the quiet period, and the sweep.
  expect(slowestMs).toBeLessThan(2_000);
  expect(await daemon.metric("listener_reconnects_total")).toBeGreaterThanOrEqual(rounds);
  await expectFlawless(product, "F10", { tries: rounds, recoveryMs: slowestMs });
});

test("F11 sessions are ended between read and journal, between answer and journal, between journal and ids: one request per account", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ always: { delayMs: 150 } });
  const rounds = 4;
  const accounts = 5;
  let slowestMs = 0;

  // The lock stops the daemon at the moment: it can read the table, and has to wait for writing it.
  const moments = [
    { moment: "M1", lockAt: "before", table: "account_sync.attempt" },
    { moment: "M5", lockAt: "in flight", table: "account_sync.attempt" },
    { moment: "M6", lockAt: "in flight", table: "m_account" },
  ] as const;
  for (const { moment, lockAt, table } of moments) {
    for (let round = 0; round < rounds; round += 1) {
      const codes = Array.from({ length: accounts }, (_, n) => `${moment}-${round}-${n}`);
      await withClient(product.database.url, async (gate) => {
        const lock = () => gate.query(`begin; lock table ${table} in exclusive mode`);
        if (lockAt === "before") await lock();
        // In one statement, so that all are in flight together.
        await product.database.query(
          "insert into m_account (account_no, name, phone_no, email) select code, 'Toko', '081234567890', 'toko@example.com' from unnest($1::text[]) code",
          [codes],
        );
        if (lockAt === "in flight") {
          await eventually(() => expect(product.sandbox.counts().inWork).toBe(accounts));
          await lock();
        }
        await eventually(
          async () =>
            expect(
              await countSessions(product.database, `${OURS} and wait_event_type = 'Lock'`),
            ).toBeGreaterThan(0),
          { intervalMs: 5 },
        );
        const sent = codes.map((code) => requestsFor(product, code));
        if (moment === "M1") expect(sent).toEqual(codes.map(() => 0));
        await endSessions(product.database, OURS);
        await gate.query("rollback");
      });
      const releasedAt = performance.now();
      await untilAtRest(product.database);
      slowestMs = Math.max(slowestMs, performance.now() - releasedAt);

      expect(codes.map((code) => requestsFor(product, code))).toEqual(codes.map(() => 1));
    }
  }

  expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200);
  await expectFlawless(product, "F11", { tries: moments.length * rounds, recoveryMs: slowestMs });
});

test.skipIf(process.platform !== "linux")(
  "F12 PostgreSQL stops at once under load and is away: no exit, no storm, answers are kept, and work goes on within five seconds of its return",
  async () => {
    const postgres = await startOwnPostgres();
    const product = await createProduct({ on: postgres.database });
    const daemon = await startDaemonProcess(product);
    const outages = 3;
    let slowestMs = 0;

    for (let outage = 0; outage < outages; outage += 1) {
      const before = product.requests().length;
      // The first answers come while the server is there, the others when it is gone.
      product.sandbox.setFaults({ always: { delayMs: 400 } });
      for (let n = 0; n < 40; n += 1)
        await insertAccount(product.database, { accountNo: `A-${outage}-${n}`, tiers: 1, pics: 1 });
      const writer = writeUntilStopped(product.database, outage);
      await eventually(() => expect(product.sandbox.counts().inWork).toBeGreaterThan(8));
      await postgres.server.crash();

      const inOutage = product.requests().length;
      const cpuBefore = daemon.cpuMs();
      const linesBefore = daemon.stdout.length;
      const knocks = await countKnocks(postgres.port, outage === 0 ? 5_000 : 1_500);
      // The rest of the outage nothing listens on the port. An outage is a time, so both parts wait for time.
      await sleep(outage === 0 ? 5_000 : 1_500);
      const cpuMs = daemon.cpuMs() - cpuBefore;
      const lines = daemon.stdout.length - linesBefore;
      expect(product.sandbox.counts().inWork).toBe(0);
      // What was journaled ahead goes out, half as many as there are slots; nothing that was not.
      const ahead = product.requests().length - inOutage;
      expect(ahead).toBeGreaterThanOrEqual(0);
      expect(ahead).toBeLessThanOrEqual(SLOTS / 2);
      if (outage === 0) {
        process.stdout.write(
          `outage of 10 s: ${knocks / 5} connections/s, ${cpuMs} ms of processor time, ${lines} log lines\n`,
        );
        expect(knocks).toBeGreaterThan(2);
        expect(knocks).toBeLessThan(5 * 40);
        expect(cpuMs).toBeLessThan(3_000);
        expect(lines).toBeLessThan(60);
      }

      await postgres.server.restart();
      const backAt = performance.now();
      await writer.stop();
      product.sandbox.clearFaults();
      await insertAccount(product.database, { accountNo: `B-${outage}`, tiers: 1, pics: 1 });
      await eventually(() => expect(requestsFor(product, `B-${outage}`)).toBe(1), {
        intervalMs: 5,
      });
      await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1));
      const backMs = performance.now() - backAt;
      slowestMs = Math.max(slowestMs, backMs);

      await untilAtRest(product.database);
      expect(inOutage - before).toBeGreaterThan(0);
      // A create whose answer could not be journaled at once was not sent again.
      for (let n = 0; n < 40; n += 1)
        expect(
          product
            .requests()
            .filter(
              (request) => request.code === `A-${outage}-${n}` && request.operation === "create",
            ),
        ).toHaveLength(1);
    }

    recordSpeed({
      what: "working again after PostgreSQL is back",
      ms: slowestMs,
      withinMs: WORKING_AGAIN_WITHIN_MS,
    });
    expect(slowestMs).toBeLessThan(WORKING_AGAIN_WITHIN_MS);
    await expectFlawless(product, "F12", { tries: outages, recoveryMs: slowestMs });
  },
);

const WORKING_AGAIN_WITHIN_MS = 5_000;
/** The default of SYNC_CONCURRENCY. */
const SLOTS = 16;

const OURS =
  "application_name like 'account-sync %' and application_name not like '% listener' and application_name not like '% liveness'";

function requestsFor(product: Product, code: string): number {
  return product.requests().filter((request) => request.code === code).length;
}

async function countSessions(database: TestDatabase, condition: string): Promise<number> {
  const [row] = await database.query<{ sessions: number }>(
    `select count(*)::int as sessions from pg_stat_activity where datname = current_database() and ${condition}`,
  );
  return row?.sessions ?? 0;
}

/** Resolves when they have ended. */
async function endSessions(database: TestDatabase, condition: string): Promise<void> {
  await database.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and ${condition}`,
  );
}

/** An application that goes on editing when statements fail. */
function writeUntilStopped(database: TestDatabase, outage: number) {
  let stopped = false;
  const writing = (async () => {
    for (let edit = 0; !stopped; edit += 1) {
      await database
        .query("update m_account set email = $1 where account_no = $2", [
          `edit${edit}@example.com`,
          `A-${outage}-${edit % 40}`,
        ])
        .catch(() => {});
      // The application's own pace.
      await sleep(5);
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await writing;
    },
  };
}

/** Listens in the server's place for so long and resets every connection. Resolves with how many of our connections came. */
async function countKnocks(port: number, forMs: number): Promise<number> {
  let knocks = 0;
  const door = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (startup) => {
      // The application of the test connects, too.
      if (startup.includes("account-sync")) knocks += 1;
      socket.resetAndDestroy();
    });
  });
  door.listen(port, "127.0.0.1");
  await once(door, "listening");
  // Connections are counted over this time.
  await sleep(forMs);
  door.close();
  await once(door, "close");
  return knocks;
}
