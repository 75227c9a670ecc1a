/** F27 and F28: ids have arrived and the database does not take them for a while. They are written from the journal, never requested again. */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { createRole, LEAST_GRANTS } from "../support/roles.ts";

/** Time for a few tries, with the limit of attempts not reached before the obstacle is gone. */
const UNHURRIED = { SYNC_BACKOFF_MIN_MS: "1000", SYNC_BACKOFF_MAX_MS: "2000" };
const ACCOUNTS = 5;

test("F27 the application holds the rows: nothing waits for it, and the ids are written when it lets go", async () => {
  const product = await createProduct();
  await product.start(UNHURRIED);

  await blocked(product, {
    block: async (host) => {
      await host.query("begin");
      await host.query("select from m_account for update");
      await host.query("select from m_account_package_tier for update");
      await host.query("select from m_account_pic for update");
    },
    unblock: (host) => host.query("commit"),
  });
});

test("F27 the application holds the whole table: nothing waits for it, and the ids are written when it lets go", async () => {
  const product = await createProduct();
  await product.start(UNHURRIED);

  await blocked(product, {
    block: (host) => host.query("begin; lock table m_account in share mode"),
    unblock: (host) => host.query("commit"),
    // A lock of the application is not counted as an attempt.
    shows: { error_class: "database", attempts: 0 },
  });
});

test("F27 a check refuses the ids: they are written when it is gone", async () => {
  const product = await createProduct();
  await product.start(UNHURRIED);

  await blocked(product, {
    block: (host) =>
      host.query("alter table m_account add constraint no_ids check (uuid_be is null) not valid"),
    unblock: (host) => host.query("alter table m_account drop constraint no_ids"),
    shows: { error_class: "database" },
  });
});

test("F27 the column of the ids is away: they are written when it is back", async () => {
  const product = await createProduct();
  await product.start(UNHURRIED);

  await blocked(product, {
    block: (host) => host.query("alter table m_account_pic rename column uuid_be to moved"),
    unblock: (host) => host.query("alter table m_account_pic rename column moved to uuid_be"),
    // Not counted as an attempt, so no account is parked for it however long it takes.
    shows: { error_class: "database", attempts: 0 },
  });
});

test("F27 the right to write is revoked: they are written when it is granted again", async () => {
  const product = await createProduct();
  const { url, name } = await createRole(product.database, LEAST_GRANTS);
  await product.start({ ...UNHURRIED, DATABASE_URL: url });

  await blocked(product, {
    block: (host) => host.query(`revoke update on m_account from ${name}`),
    unblock: (host) => host.query(`grant update on m_account to ${name}`),
    shows: { error_class: "database", attempts: 0 },
  });
});

test("F27 our write meets a deadlock in the making: the application goes on, we stand back, and the ids are written", async () => {
  const product = await createProduct();
  const { database } = product;
  // A write of an account also writes the ledger, in this order; the application below does it the other way round.
  await database.query(LEDGER);
  await product.start(UNHURRIED);

  await withClient(database.url, async (host) => {
    const ids = await accountsInFlight(product, "deadlock");
    await host.query("begin; update ledger set entries = entries + 1");
    product.sandbox.clearFaults();
    // We have the account's row and wait for the ledger.
    await eventually(
      async () =>
        expect(
          await waiting(database, "wait_event_type = 'Lock' and application_name like 'account-%'"),
        ).toBeGreaterThan(0),
      { intervalMs: 5 },
    );
    const startedAt = performance.now();
    await host.query("update m_account set brand_name = 'the application' where id = any ($1)", [
      ids,
    ]);
    await host.query("commit");
    process.stdout.write(
      `the application waited ${Math.round(performance.now() - startedAt)} ms for us\n`,
    );
    // Before the server looks for deadlocks, which might have chosen the application.
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
  const freedAt = performance.now();
  await untilAtRest(product.database);

  expect(product.requests()).toHaveLength(ACCOUNTS);
  await expectFlawless(product, "F27", {
    tries: ACCOUNTS,
    recoveryMs: performance.now() - freedAt,
  });
});

test("F27 our write is chosen as a deadlock's victim, again and again: it is repeated until it is not", async () => {
  const product = await createProduct();
  await product.start(UNHURRIED);

  await blocked(product, {
    block: (host) =>
      host.query(
        `create function chosen() returns trigger language plpgsql as $$ begin raise 'deadlock detected' using errcode = '40P01'; end $$;
         create trigger chosen before update of uuid_be on m_account_package_tier for each row execute function chosen()`,
      ),
    unblock: (host) => host.query("drop function chosen() cascade"),
    shows: { error_class: "database", attempts: 0 },
  });
});

test("F28 triggers of the application touch the row, and a second row, on our write: no further request", async () => {
  const product = await createProduct();
  await product.database.query(TOUCHING_TRIGGERS);
  await product.start();
  const accounts = 20;

  for (let n = 0; n < accounts; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}` });
  await untilAtRest(product.database);
  expect(product.requests()).toHaveLength(accounts);
  // A save that changes only columns that every save rewrites.
  await product.database.query("update m_account set updated_by = 'siti', name = name");
  await product.database.query("update m_account_pic set password = 'new', uuid_be = uuid_be");
  await product.database.query("update m_account set email = 'new@example.com'");
  await untilAtRest(product.database);

  const [row] = await product.database.query(
    "select count(*)::int as touched from m_account where updated_at > now() - interval '1 min'",
  );
  expect(row?.["touched"]).toBe(accounts);
  // One per insert, one per real change.
  expect(product.requests()).toHaveLength(2 * accounts);
  await expectFlawless(product, "F28", { tries: accounts, recoveryMs: null });
});

interface Obstacle {
  block(host: Host): Promise<unknown>;
  unblock(host: Host): Promise<unknown>;
  /** What the queue says of the accounts meanwhile. */
  readonly shows?: Readonly<Record<string, unknown>>;
}

type Host = Parameters<Parameters<typeof withClient>[1]>[0];

/** Creates are in flight when the obstacle comes, answered while it is there, and written when it is gone. */
async function blocked(product: Product, { block, unblock, shows }: Obstacle): Promise<void> {
  const { database } = product;
  let recoveryMs = 0;
  await withClient(database.url, async (host) => {
    const ids = await accountsInFlight(product, "A");
    await block(host);
    product.sandbox.clearFaults();
    await eventually(() => expect(product.sandbox.counts().inWork).toBe(0));
    // Once tried and postponed, so the obstacle was met.
    await eventually(async () => {
      const rows = await database.query(
        "select state, error_class, attempts from account_sync.status where account_id = any ($1) and error_class = 'database'",
        [ids],
      );
      expect(rows).toHaveLength(ACCOUNTS);
      for (const row of rows) expect(row).toMatchObject(shows ?? {});
    });
    expect(product.requests()).toHaveLength(ACCOUNTS);
    await unblock(host);
    const freedAt = performance.now();
    await untilAtRest(product.database);
    recoveryMs = performance.now() - freedAt;

    for (const id of ids) expect((await externalIds(database, id)).account).not.toBeNull();
  });
  expect(product.requests()).toHaveLength(ACCOUNTS);
  await expectFlawless(product, "F27", { tries: ACCOUNTS, recoveryMs });
}

/** The API has all of them in work, until the faults are cleared. */
async function accountsInFlight(product: Product, name: string): Promise<string[]> {
  product.sandbox.setFaults({ always: { delayMs: 60_000 } });
  const ids = await product.database.query<{ id: string }>(
    `with account as (
       insert into m_account (account_no, name, phone_no, email)
       select $1 || n, 'Toko', '081234567890', 'toko@example.com' from generate_series(1, $2) n returning id
     ), tier as (
       insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       select id, 0, 10, 1, '2026-01-01', '2026-12-31' from account
     ), pic as (
       insert into m_account_pic (account_id, name, phone_no, email)
       select id, 'Budi', '081211112222', 'budi@example.com' from account
     )
     select id from account`,
    [name, ACCOUNTS],
  );
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(ACCOUNTS));
  return ids.map(({ id }) => id);
}

async function waiting(database: TestDatabase, condition: string): Promise<number> {
  const [row] = await database.query<{ sessions: number }>(
    `select count(*)::int as sessions from pg_stat_activity where datname = current_database() and ${condition}`,
  );
  return row?.sessions ?? 0;
}

const LEDGER = `
  create table ledger (entries integer not null);
  insert into ledger values (0);
  create function keep_ledger() returns trigger language plpgsql as $$
  begin
    update ledger set entries = entries + 1;
    return null;
  end $$;
  create trigger keep_ledger after update on m_account for each row execute function keep_ledger()`;

const TOUCHING_TRIGGERS = `
  create function touch() returns trigger language plpgsql as $$
  begin
    new.updated_at := clock_timestamp();
    return new;
  end $$;
  create trigger touch before update on m_account for each row execute function touch();
  create trigger touch before update on m_account_package_tier for each row execute function touch();
  create trigger touch before update on m_account_pic for each row execute function touch();
  create function touch_owner() returns trigger language plpgsql as $$
  begin
    update m_account set updated_by = 'trigger', name = name where id = new.account_id;
    return null;
  end $$;
  create trigger touch_owner after update on m_account_pic for each row execute function touch_owner();
  create trigger touch_owner after update on m_account_package_tier for each row execute function touch_owner()`;
