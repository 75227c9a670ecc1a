/**
 * The database is there and takes no writes (F34), or triggers, rows or rights are gone (F35). Nothing is sent that could not be journaled
 * before, and rows that cannot be seen do not count as removed.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { expect, test } from "vitest";
import { sqlOf } from "../../src/db/queries.ts";
import { eventually } from "../support/eventually.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { mountSmallDisk } from "../support/full-disk.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { createRole, LEAST_GRANTS } from "../support/roles.ts";

test("F34 the disk is full between read and journal: no request without its row, and all goes on when there is room", async () => {
  const disk = mountSmallDisk(160);
  process.stdout.write(`the full disk is ${disk === null ? "a trigger" : "a full tmpfs"}\n`);
  const postgres = await startOwnPostgres({
    ...(disk === null ? {} : { dataDir: join(disk.path, "data") }),
    settings: { max_wal_size: "48MB", min_wal_size: "32MB" },
  });
  const product = await createProduct({ on: postgres.database });
  const daemon = await product.start();

  await betweenReadAndJournal(product, async () => {
    if (disk !== null) disk.fill();
    else await postgres.database.query(FULL_DISK_TRIGGER);
  });
  await sendsNothing(product, daemon, { forMs: 3_000 });
  expect(daemon.log.join("\n")).toContain('"code":"53100"');
  if (disk !== null) disk.free();
  else await postgres.database.query("drop trigger full_disk on account_sync.attempt");
  const freeAt = performance.now();
  // A server that could not write its log has shut down.
  await withClient(postgres.database.url, (client) => client.query("select 1")).catch(() =>
    postgres.server.restart(),
  );

  await untilAtRest(product.database);
  const recoveryMs = performance.now() - freeAt;
  expect(product.requests()).toHaveLength(ACCOUNTS);
  await expectFlawless(product, "F34", { tries: ACCOUNTS, recoveryMs });
});

test("F34 the database becomes read-only between read and journal: no request without its row, and all goes on when it may be written", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const { database } = product;

  await betweenReadAndJournal(product, async () => {
    await setReadOnly(database, "on");
  });
  await sendsNothing(product, daemon, { forMs: 3_000 });
  // A change made meanwhile waits, and shows as waiting.
  await withClient(database.url, async (client) => {
    await client.query("set default_transaction_read_only = off");
    await client.query(
      "insert into m_account (account_no, name, phone_no, email) values ('more', 'Toko', '081234567890', 'toko@example.com')",
    );
  });
  await setReadOnly(database, "off");
  const writableAt = performance.now();

  await untilAtRest(product.database);
  const recoveryMs = performance.now() - writableAt;
  expect(product.requests()).toHaveLength(ACCOUNTS + 1);
  await expectFlawless(product, "F34", { tries: ACCOUNTS + 1, recoveryMs });
});

test("F34 the answer comes when the database is read-only: the ids are kept and written when it may be written", async () => {
  const product = await createProduct();
  await product.start();
  const { database } = product;
  product.sandbox.setFaults({ always: { delayMs: 60_000 } });
  await insertTogether(database);
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(ACCOUNTS));

  await setReadOnly(database, "on");
  product.sandbox.clearFaults();
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(0));
  // That nothing is sent again has no fact to wait for; a daemon that forgot the answer would send within its backoff of 50 ms.
  await sleep(1_000);
  expect(product.requests()).toHaveLength(ACCOUNTS);
  await setReadOnly(database, "off");
  const writableAt = performance.now();

  await untilAtRest(product.database);
  const recoveryMs = performance.now() - writableAt;
  expect(product.requests()).toHaveLength(ACCOUNTS);
  await expectFlawless(product, "F34", { tries: ACCOUNTS, recoveryMs });
});

test("F34 the server comes back as a standby: nothing is sent until it is promoted, and then everything is", async () => {
  const { server, database } = await startOwnPostgres();
  const product = await createProduct({ on: database });
  const daemon = await product.start();
  await betweenReadAndJournal(product, async () => {
    // Not an orderly stop: it ends the gate's session before the daemon's, whose journal entry then gets its lock and commits.
    await server.crash();
    await writeFile(join(server.clusterDir, "standby.signal"), "");
    await server.restart();
  });
  const [row] = await database.query("select pg_is_in_recovery() as recovering");
  expect(row?.["recovering"]).toBe(true);

  await sendsNothing(product, daemon, { forMs: 3_000 });
  await database.query("select pg_promote()");
  const promotedAt = performance.now();
  await untilAtRest(product.database);
  const recoveryMs = performance.now() - promotedAt;
  await rm(join(server.clusterDir, "standby.signal"), { force: true });

  expect(product.requests()).toHaveLength(ACCOUNTS);
  await expectFlawless(product, "F34", { tries: ACCOUNTS, recoveryMs });
});

test.each([
  {
    what: "row security hides the PICs",
    doIt: "alter table m_account_pic enable row level security",
    undoIt: "alter table m_account_pic disable row level security",
  },
  {
    what: "row security hides the accounts",
    doIt: "alter table m_account enable row level security",
    undoIt: "alter table m_account disable row level security",
  },
  {
    what: "the right to read tiers is revoked",
    doIt: "revoke select on m_account_package_tier from %role",
    undoIt: "grant select on m_account_package_tier to %role",
  },
  {
    what: "the right to read accounts is revoked",
    doIt: "revoke select on m_account from %role",
    undoIt: "grant select on m_account to %role",
  },
])(
  "F35 $what: nothing is sent meanwhile, nothing counts as removed, and no account is parked",
  async ({ doIt, undoIt }) => {
    const product = await createProduct();
    const { database } = product;
    // No superuser and no owner, so that row security and rights bind it.
    const { url, name } = await createRole(database, LEAST_GRANTS);
    const daemon = await product.start({ DATABASE_URL: url });
    await insertTogether(database);
    await untilAtRest(product.database);
    const before = product.requests().length;

    await database.query(doIt.replace("%role", name));
    await database.query("update m_account set email = 'edited@example.com'");
    await eventually(async () => {
      const rows = await database.query(
        "select error_class, attempts from account_sync.status where state = 'retrying'",
      );
      expect(rows).toHaveLength(ACCOUNTS);
      for (const row of rows) expect(row).toMatchObject({ error_class: "database", attempts: 0 });
    });
    expect(product.requests()).toHaveLength(before);
    expect(
      await daemon.metric("failed_total", { entity: "account", reason: "database" }),
    ).toBeGreaterThanOrEqual(ACCOUNTS);
    await database.query(undoIt.replace("%role", name));
    const undoneAt = performance.now();
    await untilAtRest(product.database);
    const recoveryMs = performance.now() - undoneAt;

    expect(product.requests()).toHaveLength(before + ACCOUNTS);
    expect(await daemon.metric("runs_total", { outcome: "gone" })).toBe(0);
    await expectFlawless(product, "F35", { tries: ACCOUNTS, recoveryMs });
  },
);

test.each([
  {
    what: "the triggers are disabled",
    doIt: "alter table m_account disable trigger user; alter table m_account_pic disable trigger user",
    undoIt:
      "alter table m_account enable trigger user; alter table m_account_pic enable trigger user",
  },
  {
    what: "the trigger's function is replaced by one that does nothing",
    doIt: "create or replace function account_sync.capture_m_account_update() returns trigger language plpgsql as $$ begin return null; end $$; create or replace function account_sync.capture_m_account_pic_delete() returns trigger language plpgsql as $$ begin return null; end $$",
    undoIt: null,
  },
])(
  "F35 $what: what is not captured is not sent, nothing counts as removed, and the next capture brings all of it",
  async ({ doIt, undoIt }) => {
    const product = await createProduct();
    const { database } = product;
    const first = await product.start();
    await insertTogether(database);
    await untilAtRest(product.database);
    const before = product.requests().length;

    await database.query(doIt);
    await database.query("update m_account set email = 'unseen@example.com'");
    await database.query("delete from m_account_pic where name = 'Siti'");
    // The triggers of tiers are intact, so this account is synced, with its current rows.
    await database.query(
      "update m_account_package_tier set amount = 7 where account_id = (select id from m_account where account_no = 'A-1')",
    );
    await eventually(() => expect(product.requests()).toHaveLength(before + 1));
    await untilAtRest(product.database);
    expect(product.requests().at(-1)).toMatchObject({
      code: "A-1",
      method: "PUT",
      body: { customer: { email: "unseen@example.com" }, "customer-crew": [{ name: "Budi" }] },
    });
    expect(await first.metric("runs_total", { outcome: "gone" })).toBe(0);

    // The checks find it (checks.test.ts) and it is repaired; a restart repairs the function without help.
    if (undoIt !== null) await database.query(undoIt);
    await first.stop("it is started again");
    await product.start();
    await database.query("update m_account set phone_no = '081299998888'");
    const mendedAt = performance.now();
    await untilAtRest(product.database);
    expect(product.requests()).toHaveLength(before + 1 + ACCOUNTS);
    await expectFlawless(product, "F35", {
      tries: ACCOUNTS,
      recoveryMs: performance.now() - mendedAt,
    });
  },
);

const ACCOUNTS = 5;

const FULL_DISK_TRIGGER = `
  create or replace function full_disk() returns trigger language plpgsql as $$
  begin
    raise 'could not extend file: No space left on device' using errcode = 'disk_full';
  end $$;
  create trigger full_disk before insert on account_sync.attempt for each row execute function full_disk()`;

/**
 * Brings the fault about when the accounts have been read and their sends are about to be journaled (M1). Others wait for the table, too:
 * housekeeping, before anything has been folded.
 */
async function betweenReadAndJournal(product: Product, fault: () => Promise<unknown>) {
  // Not withClient: a gate that the fault itself may break.
  const gate = new pg.Client({ connectionString: product.database.url });
  gate.on("error", () => {});
  await gate.connect();
  await gate.query("begin; lock table account_sync.attempt in exclusive mode");
  await insertTogether(product.database);
  await eventually(
    async () => {
      const [row] = await product.database.query(
        `select count(*)::int as waiting from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and starts_with($1, left(query, 500))`,
        [sqlOf("journal_sends")],
      );
      expect(row?.["waiting"]).toBeGreaterThan(0);
    },
    { intervalMs: 5 },
  );
  await fault();
  await gate.query("rollback").catch(() => {});
  await gate.end().catch(() => {});
}

/** The daemon lives, sends nothing, has no hot loop, and shows that something waits. */
async function sendsNothing(
  product: Product,
  daemon: RunningDaemon,
  { forMs }: { readonly forMs: number },
): Promise<void> {
  const linesBefore = daemon.log.length;
  // The bound on log lines below is one per time, so there is no fact to wait for; a few tries fall into it.
  await sleep(forMs);
  expect(product.requests()).toEqual([]);
  expect(daemon.log.length - linesBefore).toBeLessThan(60);
  expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200);
  const isSeen =
    (await daemon.metric("oldest_pending_seconds")) > 0 ||
    (await daemon.metric("queue_status_age_seconds")) > 1;
  expect(isSeen).toBe(true);
  expect(daemon.log.join("\n")).toContain("database trouble");
}

async function insertTogether(database: TestDatabase): Promise<void> {
  await database.query(
    `with account as (
       insert into m_account (account_no, name, phone_no, email)
       select 'A-' || n, 'Toko', '081234567890', 'toko@example.com' from generate_series(1, $1) n returning id
     ), tier as (
       insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       select id, 0, 10, 1, '2026-01-01', '2026-12-31' from account
     )
     insert into m_account_pic (account_id, name, phone_no, email, created_at)
     select id, name, '081211112222', 'pic@example.com', timestamp '2026-01-01' + n * interval '1 day'
     from account, unnest(array['Budi', 'Siti']) with ordinality as pic (name, n)`,
    [ACCOUNTS],
  );
}

/** For new sessions; ours are ended, so it holds for all of them. */
async function setReadOnly(database: TestDatabase, value: "on" | "off"): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query("set default_transaction_read_only = off");
    await client.query(
      `alter database ${database.name} set default_transaction_read_only = ${value}`,
    );
  });
  await database.query(
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name like 'account-sync %'",
  );
}
