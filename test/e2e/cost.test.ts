/**
 * What a sync costs, in counts that do not depend on how busy the machine is: statements, buffers and bytes of write-ahead log for each account
 * of a backlog, and the round trips of one edit until its request. Times are measured by `npm run bench`. Each bound is some 1.3 times what was
 * counted when it was set; one that is exceeded means that syncs have become dearer.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ANSWER, startServer } from "../support/customer-api-server.ts";
import { eventually } from "../support/eventually.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { createDatabase } from "../support/postgres.ts";
import { createProduct } from "../support/product.ts";
import { startCountingProxy } from "../support/round-trips.ts";

const ACCOUNTS = 1_000;

interface Cost {
  readonly statements: number;
  readonly buffers: number;
  readonly walBytes: number;
}

test("statements, buffers and write-ahead log per account of a backlog", async () => {
  const { database } = await startOwnPostgres({
    settings: {
      shared_preload_libraries: "pg_stat_statements",
      // The first change of a page after a checkpoint writes the whole page: a matter of chance.
      full_page_writes: "off",
    },
  });
  await database.query("create extension pg_stat_statements schema public");
  const product = await createProduct({ on: database });
  const quiet = { LOG_LEVEL: "warn", SYNC_CONCURRENCY: "32" };
  // Migrates, and ends before there are accounts.
  await (await product.start(quiet)).stop("the schema is there");
  await database.query(
    `insert into m_account (account_no, name, phone_no, email)
     select n, 'Toko ' || n, '081234567890', 'toko@example.com' from generate_series(1, $1) n`,
    [ACCOUNTS],
  );
  await database.query(
    `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     select id, n * 1000, n * 1000 + 999, 5, '2026-01-01', '2027-01-01' from m_account, generate_series(0, 1) n`,
  );
  await database.query(
    `insert into m_account_pic (account_id, name, phone_no, email, username)
     select id, 'Budi', '0812345678' || n, '', 'budi' || n from m_account, generate_series(1, 2) n`,
  );

  const first = await costOfDrain();
  await database.query("update m_account set name = name || ' Baru'");
  const again = await costOfDrain();

  expect(first).toEqual(withinBounds({ statements: 0.7, buffers: 290, walBytes: 15_000 }));
  expect(again).toEqual(withinBounds({ statements: 0.7, buffers: 170, walBytes: 9_000 }));

  async function costOfDrain(): Promise<Cost> {
    const sentBefore = product.requests().length;
    await database.query("select pg_stat_statements_reset()");
    const daemon = await product.start(quiet);
    await eventually(() => expect(product.requests().length - sentBefore).toBe(ACCOUNTS), {
      timeoutMs: 60_000,
    });
    await daemon.stop("all accounts are synced");
    const [cost] = await database.query<Cost>(
      `select
         sum(calls)::float8 / $1 as "statements",
         sum(shared_blks_hit + shared_blks_read)::float8 / $1 as "buffers",
         sum(wal_bytes)::float8 / $1 as "walBytes"
       from pg_stat_statements
       where toplevel and query ~ 'account_sync\\.|public\\.m_'`,
      [ACCOUNTS],
    );
    if (cost === undefined) throw new Error("nothing was counted");
    return cost;
  }
});

function withinBounds(bounds: Cost): Cost {
  const below = (bound: number) => expect.toSatisfy((cost: number) => cost > 0 && cost < bound);
  return {
    statements: below(bounds.statements),
    buffers: below(bounds.buffers),
    walBytes: below(bounds.walBytes),
  };
}

test("an edit takes four round trips to its request: fold, claim, load, journal; and two beside them", async () => {
  const database = await createDatabase({ migrated: true });
  await database.query("insert into m_account (name) values ('Toko')");
  const proxy = await startCountingProxy(database.url);
  const product = await createProduct({ on: { ...database, url: proxy.url } });
  const counted: number[] = [];
  const api = await startServer((_request, response) => {
    counted.push(proxy.roundTrips);
    response.setHeader("content-type", "application/json").end(JSON.stringify(ANSWER));
  });
  await product.start({
    CUSTOMER_API_URL: api.url,
    CUSTOMER_API_TOKEN: "token",
    CUSTOMER_API_CLIENT_ID: "",
    CUSTOMER_API_CLIENT_SECRET: "",
    SYNC_QUIET_PERIOD_MS: "0",
    SYNC_SWEEP_INTERVAL_MS: "60000",
  });
  await eventually(() => expect(counted).toHaveLength(1));

  let fewest = Number.POSITIVE_INFINITY;
  for (let edit = 1; edit <= 30; edit += 1) {
    await untilCalm();
    const before = proxy.roundTrips;
    await database.query("update m_account set name = 'Toko ' || $1::int", [edit]);
    await eventually(() => expect(counted).toHaveLength(1 + edit));
    fewest = Math.min(fewest, (counted.at(-1) ?? Number.POSITIVE_INFINITY) - before);
  }

  // Nothing waits for the load's commit, nor for the question when the next account falls due. Renewals and liveness come in between now and
  // then, hence the fewest.
  expect(fewest).toBe(6);

  /** The edit before is settled, and whatever looks after it has looked. */
  async function untilCalm(): Promise<void> {
    for (let last = -1; last !== proxy.roundTrips; ) {
      last = proxy.roundTrips;
      await sleep(50);
    }
  }
});
