/** Statements of every kind are captured, each at its cost and no more. */
import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  byAccount,
  type CapturedTables,
  createCapturedTables,
} from "../support/captured-tables.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let tables: CapturedTables;

beforeAll(async () => {
  tables = await createCapturedTables();
});

beforeEach(async () => {
  await tables.reset();
});

describe("statements of every kind", () => {
  test("deleting an account keeps its external id and marks its cascaded tiers", async () => {
    const id = await tables.insert("m_account", { uuid_be: "ext-1" });
    await tables.insert("m_account_package_tier", { account_id: id });
    await tables.takeChanges();

    await tables.query("delete from m_account where id = $1", [id]);

    expect(await tables.takeChanges()).toEqual([
      { account_id: id },
      { account_id: id, external_id: "ext-1" },
    ]);
  });

  test("an upsert captures what it inserted and what it really changed", async () => {
    const [same, changed] = [
      await tables.insertAccount({ name: "same" }),
      await tables.insertAccount({ name: "old" }),
    ];
    const inserted = randomUUID();
    await tables.takeChanges();

    await tables.query(
      `insert into m_account (id, name) values ($1, 'same'), ($2, 'new'), ($3, 'new')
       on conflict (id) do update set name = excluded.name, updated_at = now()`,
      [same, changed, inserted],
    );

    expect(await tables.takeChanges()).toEqual(byAccount([changed, inserted]));
  });

  test("MERGE captures what it inserted, updated and deleted", async () => {
    const [updated, deleted, inserted] = [
      await tables.insertAccount(),
      await tables.insertAccount(),
      randomUUID(),
    ];
    await tables.takeChanges();

    await tables.query(
      `merge into m_account a
       using (values ($1::uuid, 'update'), ($2, 'delete'), ($3, 'insert')) s (id, wish) on a.id = s.id
       when matched and s.wish = 'update' then update set name = 'merged'
       when matched then delete
       when not matched then insert (id, name) values (s.id, 'merged')`,
      [updated, deleted, inserted],
    );

    expect(await tables.takeChanges()).toEqual(byAccount([updated, deleted, inserted]));
  });

  test("MERGE that moves, changes and touches PICs of many accounts captures those that differ", async () => {
    const accounts: string[] = [];
    for (let index = 0; index < 6; index += 1) {
      const account = await tables.insertAccount();
      await tables.insert("m_account_pic", { account_id: account, name: `${index}` });
      accounts.push(account);
    }
    const [changed, from, to] = accounts as [string, string, string, ...string[]];
    await tables.takeChanges();

    await tables.query(
      `merge into m_account_pic p
       using unnest($1::uuid[]) with ordinality s (account_id, position) on p.account_id = s.account_id
       when matched and position = 1 then update set name = 'merged'
       when matched and position = 2 then update set account_id = $2
       when matched then update set updated_at = now(), name = p.name`,
      [accounts, to],
    );

    expect(await tables.takeChanges()).toEqual(byAccount([changed, from, to]));
  });

  test.each([1, 100])("keys that are swapped by one UPDATE of %i pairs", async (pairs) => {
    const account = await tables.insertAccount();
    const other = await tables.insertAccount();
    await tables.query(
      `insert into m_account_pic (id, account_id, name, phone_no, email)
       select md5(n::text)::uuid, case n % 2 when 0 then $1 else $2 end::uuid, 'same', '08', ''
       from generate_series(1, $3 * 2) n`,
      [account, other, pairs],
    );
    await tables.takeChanges();

    // Deferred, as each half of a swap takes an id that is still there.
    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query(
        "alter table m_account_pic drop constraint m_account_pic_pkey, add primary key (id) deferrable",
      );
      await client.query("set constraints all deferred");
      await client.query(
        `update m_account_pic p set id = md5((n + case n % 2 when 0 then -1 else 1 end)::text)::uuid
         from generate_series(1, $1 * 2) n where p.id = md5(n::text)::uuid`,
        [pairs],
      );
      await client.query("commit");
    });

    expect(await tables.takeChanges()).toEqual(byAccount([account, other]));
    await tables.query("delete from m_account_pic where account_id = any ($1)", [[account, other]]);
    await tables.query(
      "alter table m_account_pic drop constraint m_account_pic_pkey, add primary key (id)",
    );
  });

  test("an UPDATE of 100 accounts that changes some keys and some names captures these, old and new", async () => {
    await tables.query(
      "insert into m_account (id, name) select md5('keys' || n)::uuid, 'same' from generate_series(1, 100) n",
    );
    await tables.takeChanges();

    await tables.query(
      `update m_account a
       set id = case when n % 25 = 0 then md5('other' || n)::uuid else a.id end,
           name = case when n % 10 = 1 then 'other name' else 'same' end,
           updated_at = now()
       from generate_series(1, 100) n where a.id = md5('keys' || n)::uuid`,
    );

    const expected = await tables.query<{ id: string }>(
      `select id::text from m_account where id in (select md5('other' || n)::uuid from generate_series(25, 100, 25) n) or name = 'other name'
       union all select md5('keys' || n)::uuid::text from generate_series(25, 100, 25) n`,
    );
    expect(expected).toHaveLength(18);
    expect(await tables.takeChanges()).toEqual(byAccount(expected.map(({ id }) => id)));
  });

  test("a session that has updated one row updates 20,000 as quickly as another", async () => {
    await tables.query("insert into m_account (name) select 'many' from generate_series(1, 20000)");
    await tables.query("analyze m_account");

    await withClient(tables.url, async (client) => {
      for (let time = 0; time < 7; time += 1)
        await client.query(
          "update m_account set brand_name = 'x', name = name || '!' where id = (select id from m_account where name like 'many%' limit 1)",
        );
      await tables.takeChanges();
      // A nested loop over the rows of the transition tables would take more than a minute.
      await client.query("set statement_timeout = '20s'");
      await client.query("update m_account set name = name || '?' where name like 'many%'");
    });

    const [count] = await tables.query("select count(*)::int as changes from account_sync.change");
    expect(count).toEqual({ changes: 20_000 });
    await tables.query("delete from m_account where name like 'many%'");
  }, 60_000);

  test("COPY captures every account", async () => {
    await tables.query("copy m_account (name) from program 'seq 300'");

    expect(await tables.takeChanges()).toHaveLength(300);
  });

  test("one statement over many rows of an account appends one change", async () => {
    const account = await tables.insertAccount();
    await tables.query(
      "insert into m_account_pic (account_id, name, phone_no, email) select $1, n::text, '08', '' from generate_series(1, 50) n",
      [account],
    );

    await tables.takeChanges();
    await tables.query("update m_account_pic set name = name || '!' where account_id = $1", [
      account,
    ]);

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("a statement that changes nothing costs no transaction id", async () => {
    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where false");
      await client.query("delete from m_account_pic where false");
      await client.query("insert into m_bank (name) select 'x' where false");
      const id = await client.query("select pg_current_xact_id_if_assigned() as id");

      expect(id.rows).toEqual([{ id: null }]);
      await client.query("rollback");
    });
  });

  test("a change is written under the application's transaction id, not one of its own", async () => {
    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("insert into m_account (name) values ('x')");
      const ids = await client.query(
        "select xmin::text as change, (pg_current_xact_id()::text::bigint % (1::bigint << 32))::text as application from account_sync.change",
      );

      expect(ids.rows[0].change).toBe(ids.rows[0].application);
      await client.query("rollback");
    });
  });

  test("TRUNCATE is one marker for every table it empties", async () => {
    const other = await createDatabase({ migrated: true });

    await other.query("truncate m_account_pic");
    expect(await other.query("select marker, marker_id from account_sync.change")).toEqual([
      { marker: "known", marker_id: null },
    ]);

    await other.query("truncate m_account cascade");
    expect(
      await other.query("select distinct marker, account_id from account_sync.change"),
    ).toEqual([{ marker: "known", account_id: null }]);
  });

  test("a rollback leaves nothing, a rollback to a savepoint what was before it", async () => {
    const [kept, undone] = [await tables.insertAccount(), await tables.insertAccount()];
    await tables.takeChanges();

    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [undone]);
      await client.query("rollback");
    });
    expect(await tables.takeChanges()).toEqual([]);

    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [kept]);
      await client.query("savepoint s");
      await client.query("update m_account set name = 'x' where id = $1", [undone]);
      await client.query("rollback to s");
      await client.query("commit");
    });
    expect(await tables.takeChanges()).toEqual([{ account_id: kept }]);
  });

  test("a session with an empty search_path, as a restore has, is captured", async () => {
    await withClient(tables.url, async (client) => {
      await client.query("select pg_catalog.set_config('search_path', '', false)");
      await client.query("insert into public.m_account (name) values ('restored')");
      await client.query("update public.m_account set name = 'again' where name = 'restored'");
      await client.query("delete from public.m_account where name = 'again'");
    });

    expect(await tables.takeChanges()).toHaveLength(3);
  });

  test("PREPARE TRANSACTION works with the bell off, and its change is there after the commit", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [account]);
      await client.query("prepare transaction 'two phases'");
    });
    expect(await tables.takeChanges()).toEqual([]);
    await tables.query("commit prepared 'two phases'");

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("serializable transactions on different accounts do not fail each other", async () => {
    const [a, b] = [await tables.insertAccount(), await tables.insertAccount()];

    await withClient(tables.url, async (first) => {
      await withClient(tables.url, async (second) => {
        for (const [client, id] of [
          [first, a],
          [second, b],
        ] as const) {
          await client.query("begin isolation level serializable");
          await client.query("update m_account set name = 'x' where id = $1", [id]);
        }
        await first.query("commit");
        await second.query("commit");
      });
    });

    expect((await tables.takeChanges()).length).toBeGreaterThanOrEqual(2);
  });

  test("rows that row security hides from the application are captured all the same", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();
    await tables.query("alter table m_account enable row level security");

    await tables.query("update m_account set name = 'x' where id = $1", [account]);
    await tables.query("alter table m_account disable row level security");

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });
});
