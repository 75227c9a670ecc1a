/** The application does not notice the capture: no lock, no right, no error of it is ever in its way. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type CapturedTables,
  createCapturedTables,
  openQueue,
} from "../support/captured-tables.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let tables: CapturedTables;

beforeAll(async () => {
  tables = await createCapturedTables();
});

beforeEach(async () => {
  await tables.reset();
});

describe("the application is unharmed", () => {
  test("two open transactions change PICs of one account, and neither waits", async () => {
    const account = await tables.insertAccount();
    const pics = [
      await tables.insert("m_account_pic", { account_id: account }),
      await tables.insert("m_account_pic", { account_id: account }),
    ];

    await withClient(tables.url, async (first) => {
      await withClient(tables.url, async (second) => {
        for (const [client, pic] of [
          [first, pics[0]],
          [second, pics[1]],
        ] as const) {
          await client.query("begin");
          await client.query("set local lock_timeout = '1s'");
          await client.query("update m_account_pic set name = 'x' where id = $1", [pic]);
        }
        await second.query("commit");
        await first.query("commit");
      });
    });

    expect(await tables.takeChanges()).toContainEqual({ account_id: account });
  });

  test("beyond its own tables a captured statement locks nothing", async () => {
    const account = await tables.insertAccount();

    const locks = await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = name || 'x' where id = $1", [account]);
      const held = await client.query<{ what: string; mode: string }>(
        `select distinct c.relname as what, l.mode
         from pg_locks l
         left join pg_class c on c.oid = l.relation and c.relkind in ('r', 'S') and c.relnamespace <> 'pg_catalog'::regnamespace
         where l.pid = pg_backend_pid()
           and (c.oid is not null or l.locktype not in ('relation', 'virtualxid', 'transactionid'))
         order by what`,
      );
      await client.query("rollback");
      return held.rows;
    });

    expect(locks).toEqual([
      { what: "change", mode: "RowExclusiveLock" },
      { what: "doorbell_until", mode: "RowExclusiveLock" },
      { what: "m_account", mode: "RowExclusiveLock" },
    ]);
  });

  test("a role without any right on our schema writes and is captured", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    await tables.asApplicationRole(async (client) => {
      await client.query("update m_account set name = 'x' where id = $1", [account]);
      await expect(client.query("select from account_sync.change")).rejects.toThrow(
        /permission denied/,
      );
    });

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("nobody can make our rights run his code through his temporary schema", async () => {
    const account = await tables.insertAccount();
    await tables.query(
      "create table if not exists who_ran (name name); grant insert on who_ran to public",
    );
    await tables.query(
      "create or replace function leave_name(anyelement) returns boolean language sql as $$ insert into public.who_ran values (current_user); select true $$",
    );

    await tables.asApplicationRole(async (client) => {
      await client.query(
        "create domain pg_temp.text as pg_catalog.text check (public.leave_name(value))",
      );
      await client.query("create temporary table new_rows (id uuid)");
      await client.query("create temporary table change (account_id pg_catalog.text)");
      await client.query("update m_account set name = 'x' where id = $1", [account]);
    });

    expect(await tables.query("select * from who_ran")).toEqual([]);
  });

  test("nobody can attach our trigger functions to a table of his own", async () => {
    await tables.asApplicationRole(async (client) => {
      await client.query("create temporary table mine (id uuid)");
      await expect(
        client.query(
          "create trigger t after truncate on mine execute function account_sync.capture_m_account_truncate()",
        ),
      ).rejects.toThrow(/permission denied/);
    });
  });

  test("columns that were dropped, renamed or retyped after the migrate fail no statement", async () => {
    const upgraded = await createDatabase({ migrated: true });
    const [row] = await upgraded.query<{ id: string }>(
      "insert into m_account (name, email) values ('a', 'a@example.com') returning id",
    );
    const tier = `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
                  values ('${row?.id}', 1, 2, 0, '2026-01-01', '2026-02-01')`;
    await upgraded.query(tier);
    const taken = async () =>
      (
        await upgraded.query(
          "with taken as (delete from account_sync.change returning account_id) select distinct account_id from taken",
        )
      ).map((change) => change["account_id"]);
    await taken();

    await upgraded.query("alter table m_account_package_tier drop column percentage");
    await upgraded.query("alter table m_account drop column no_ktp");
    await upgraded.query("alter table m_account rename email to e_mail");
    await upgraded.query("alter table m_account alter name type json using to_json(name)");
    await upgraded.query(tier);
    expect(await taken()).toEqual([row?.id]);

    await upgraded.query("update m_account_package_tier set amount = 7");
    expect(await taken()).toEqual([row?.id]);

    await upgraded.query("update m_account set name = '\"b\"'");
    expect(await taken()).toEqual([row?.id]);

    await upgraded.query("update m_account set updated_at = now()");
    expect(await taken()).toEqual([]);

    await upgraded.query("delete from m_account");
    expect(await taken()).toEqual([row?.id]);
  });

  test("our write-back is no change, also when the application's trigger touches updated_at", async () => {
    const id = await tables.insertAccount();
    const pic = await tables.insert("m_account_pic", { account_id: id });
    await tables.query(
      `create or replace function touch() returns trigger language plpgsql as
       $$ begin new.updated_at := clock_timestamp(); new.updated_by := 'trigger'; return new; end $$`,
    );
    await tables.query(
      `create or replace trigger touch before update on m_account for each row execute function touch();
       create or replace trigger touch before update on m_account_pic for each row execute function touch();`,
    );
    await tables.takeChanges();

    await tables.query(
      "update m_account set uuid_be = 'ext', branch_uuid_be = 'ext-b', updated_by = 'account-sync', updated_at = now() where id = $1",
      [id],
    );
    await tables.query("update m_account_pic set uuid_be = 'ext' where id = $1", [pic]);
    await tables.query("drop trigger touch on m_account; drop trigger touch on m_account_pic");

    expect(await tables.takeChanges()).toEqual([]);
  });

  test("a publication for all tables lets changes be folded", async () => {
    await tables.insertAccount();
    await tables.query("create publication neighbours for all tables");

    const queue = openQueue(tables.database);
    const folded = await queue.fold();
    await queue.expand();
    await tables.query("drop publication neighbours");

    expect(folded.changes).toBe(1);
  });
});
