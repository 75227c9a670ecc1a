/**
 * Change capture in the usual shape of the source tables: what the triggers append, and that the application does not notice them.
 * Other shapes are in capture-shapes.test.ts.
 */
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Database, createDatabase as openDatabase } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createQueue, type Queue } from "../../src/queue/queue.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";

/** What changes the command, by domain.md. A change of anything else is none. */
const PAYLOAD: Record<string, string[]> = {
  m_account:
    "name email phone_no no_ktp no_npwp account_no account_type_id parentId is_active".split(" "),
  m_account_package_tier:
    "account_id min_value max_value amount start_date end_date percentage is_active billing_method_id".split(
      " ",
    ),
  m_account_pic: "account_id name phone_no email no_ktp no_npwp username is_active".split(" "),
  m_account_address:
    "account_id address1 address2 sub_district city province country postalcode is_primary is_active".split(
      " ",
    ),
  m_account_bank:
    "account_id bank_id bank_account_no bank_account_holder_name bank_account_holder_firstname bank_account_holder_lastname is_active".split(
      " ",
    ),
  m_bank: ["uuid_be"],
  m_account_type: ["name"],
  m_account_billing_method: ["method"],
};
const CHILDREN = ["m_account_package_tier", "m_account_pic", "m_account_address", "m_account_bank"];
const INDIRECT = ["m_bank", "m_account_type", "m_account_billing_method"];

let database: TestDatabase;
const opened: Database[] = [];

beforeAll(async () => {
  database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
});

beforeEach(async () => {
  await takeChanges();
  await database.query("delete from account_sync.expansion");
});

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

describe("what counts as a change", () => {
  test("inserting, updating and deleting an account", async () => {
    const id = await insert("m_account");
    expect(await takeChanges()).toEqual([{ account_id: id }]);

    await database.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
    expect(await takeChanges()).toEqual([{ account_id: id }]);

    await database.query("delete from m_account where id = $1", [id]);
    expect(await takeChanges()).toEqual([{ account_id: id }]);
  });

  test.each(CHILDREN)("inserting, updating and deleting a row of %s", async (table) => {
    const account = await insertAccount();
    await takeChanges();

    const id = await insert(table, { account_id: account });
    expect(await takeChanges()).toEqual([{ account_id: account }]);

    await database.query(`update ${table} set is_active = not is_active where id = $1`, [id]);
    expect(await takeChanges()).toEqual([{ account_id: account }]);

    await database.query(`delete from ${table} where id = $1`, [id]);
    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test.each(INDIRECT)("inserting, updating and deleting a row of %s is a marker", async (table) => {
    const marker = { marker: table, marker_id: await insert(table) };
    expect(await takeChanges()).toEqual([marker]);

    const column = PAYLOAD[table]?.[0];
    await database.query(`update ${table} set ${column} = 'other' where id = $1`, [
      marker.marker_id,
    ]);
    expect(await takeChanges()).toEqual([marker]);

    await database.query(`delete from ${table} where id = $1`, [marker.marker_id]);
    expect(await takeChanges()).toEqual([marker]);
  });

  test.each(Object.keys(PAYLOAD))("exactly the payload columns of %s", async (table) => {
    const account = await insertAccount();
    const id = await insert(table, CHILDREN.includes(table) ? { account_id: account } : {});
    const columns = (await columnsOf(table)).filter((column) => column.name !== "id");
    await takeChanges();

    const captured: Record<string, number> = {};
    for (const { name, type } of columns) {
      const other = await otherValue(name, type);
      await database.query(`update ${table} set "${name}" = ${other} where id = $1`, [id]);
      captured[name] = (await takeChanges()).length;
    }

    const expected = columns.map(({ name }) => [
      name,
      // A row that moves is a change of both accounts.
      name === "account_id" ? 2 : PAYLOAD[table]?.includes(name) ? 1 : 0,
    ]);
    expect(captured).toEqual(Object.fromEntries(expected));
  });

  test("a save that rewrites everything with the same data is none", async () => {
    const account = await insertAccount();
    await insert("m_account_pic", { account_id: account });
    await takeChanges();

    await database.query(
      "update m_account set name = name, email = email, updated_by = 'ani', updated_at = now()",
    );
    await database.query("update m_account_pic set name = name, updated_at = now()");

    expect(await takeChanges()).toEqual([]);
  });

  test("a PIC that moves is a change of both accounts", async () => {
    const [from, to] = [await insertAccount(), await insertAccount()];
    const pic = await insert("m_account_pic", { account_id: from });
    await takeChanges();

    await database.query("update m_account_pic set account_id = $1 where id = $2", [to, pic]);

    expect(await takeChanges()).toEqual(byAccount([from, to]));
  });

  test("a PIC of no account is nobody's change", async () => {
    const account = await insertAccount();
    await takeChanges();

    const pic = await insert("m_account_pic", { account_id: null });
    await database.query("update m_account_pic set name = 'Siti' where id = $1", [pic]);
    expect(await takeChanges()).toEqual([]);

    await database.query("update m_account_pic set account_id = $1 where id = $2", [account, pic]);
    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("a changed key is a change of the old and of the new account", async () => {
    const [id, newId] = [await insertAccount(), randomUUID()];
    await takeChanges();

    await database.query("update m_account set id = $1 where id = $2", [newId, id]);

    expect(await takeChanges()).toEqual(byAccount([id, newId]));
  });

  test("only case differs: a change also where the column compares without case", async () => {
    const insensitive = await createDatabase();
    await insensitive.query("create extension citext");
    await insensitive.query(
      "create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    await insensitive.query(
      "alter table m_account alter email type citext, alter name type varchar(200) collate folded, alter brand_name type json using null",
    );
    await migrate({ url: insensitive.url, info: () => {} });
    await insensitive.query("insert into m_account (name, email) values ('toko', 'a@example.com')");
    await insensitive.query("delete from account_sync.change");

    await insensitive.query("update m_account set name = 'Toko'");
    await insensitive.query("update m_account set email = 'A@example.com'");
    await insensitive.query("update m_account set email = 'A@example.com', name = 'Toko'");

    expect(await insensitive.query("select account_id from account_sync.change")).toHaveLength(2);
  });
});

describe("statements of every kind", () => {
  test("deleting an account keeps its external id and marks its cascaded tiers", async () => {
    const id = await insert("m_account", { uuid_be: "ext-1" });
    await insert("m_account_package_tier", { account_id: id });
    await takeChanges();

    await database.query("delete from m_account where id = $1", [id]);

    expect(await takeChanges()).toEqual([
      { account_id: id },
      { account_id: id, external_id: "ext-1" },
    ]);
  });

  test("an upsert captures what it inserted and what it really changed", async () => {
    const [same, changed] = [
      await insertAccount({ name: "same" }),
      await insertAccount({ name: "old" }),
    ];
    const inserted = randomUUID();
    await takeChanges();

    await database.query(
      `insert into m_account (id, name) values ($1, 'same'), ($2, 'new'), ($3, 'new')
       on conflict (id) do update set name = excluded.name, updated_at = now()`,
      [same, changed, inserted],
    );

    expect(await takeChanges()).toEqual(byAccount([changed, inserted]));
  });

  test("MERGE captures what it inserted, updated and deleted", async () => {
    const [updated, deleted, inserted] = [
      await insertAccount(),
      await insertAccount(),
      randomUUID(),
    ];
    await takeChanges();

    await database.query(
      `merge into m_account a
       using (values ($1::uuid, 'update'), ($2, 'delete'), ($3, 'insert')) s (id, wish) on a.id = s.id
       when matched and s.wish = 'update' then update set name = 'merged'
       when matched then delete
       when not matched then insert (id, name) values (s.id, 'merged')`,
      [updated, deleted, inserted],
    );

    expect(await takeChanges()).toEqual(byAccount([updated, deleted, inserted]));
  });

  test("COPY captures every account", async () => {
    await database.query("copy m_account (name) from program 'seq 300'");

    expect(await takeChanges()).toHaveLength(300);
  });

  test("one statement over many rows of an account appends one change", async () => {
    const account = await insertAccount();
    await database.query(
      "insert into m_account_pic (account_id, name, phone_no, email) select $1, n::text, '08', '' from generate_series(1, 50) n",
      [account],
    );

    await takeChanges();
    await database.query("update m_account_pic set name = name || '!' where account_id = $1", [
      account,
    ]);

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("a statement that changes nothing costs no transaction id", async () => {
    await withClient(database.url, async (client) => {
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
    await withClient(database.url, async (client) => {
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
    const other = await createDatabase();
    await migrate({ url: other.url, info: () => {} });

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
    const [kept, undone] = [await insertAccount(), await insertAccount()];
    await takeChanges();

    await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [undone]);
      await client.query("rollback");
    });
    expect(await takeChanges()).toEqual([]);

    await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [kept]);
      await client.query("savepoint s");
      await client.query("update m_account set name = 'x' where id = $1", [undone]);
      await client.query("rollback to s");
      await client.query("commit");
    });
    expect(await takeChanges()).toEqual([{ account_id: kept }]);
  });

  test("a session with an empty search_path, as a restore has, is captured", async () => {
    await withClient(database.url, async (client) => {
      await client.query("select pg_catalog.set_config('search_path', '', false)");
      await client.query("insert into public.m_account (name) values ('restored')");
      await client.query("update public.m_account set name = 'again' where name = 'restored'");
      await client.query("delete from public.m_account where name = 'again'");
    });

    expect(await takeChanges()).toHaveLength(3);
  });

  test("PREPARE TRANSACTION works with the bell off, and its change is there after the commit", async () => {
    const account = await insertAccount();
    await takeChanges();

    await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = 'x' where id = $1", [account]);
      await client.query("prepare transaction 'two phases'");
    });
    expect(await takeChanges()).toEqual([]);
    await database.query("commit prepared 'two phases'");

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("serializable transactions on different accounts do not fail each other", async () => {
    const [a, b] = [await insertAccount(), await insertAccount()];

    await withClient(database.url, async (first) => {
      await withClient(database.url, async (second) => {
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

    expect((await takeChanges()).length).toBeGreaterThanOrEqual(2);
  });

  test("rows that row security hides from the application are captured all the same", async () => {
    const account = await insertAccount();
    await takeChanges();
    await database.query("alter table m_account enable row level security");

    await database.query("update m_account set name = 'x' where id = $1", [account]);
    await database.query("alter table m_account disable row level security");

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });
});

describe("the application is unharmed", () => {
  test("two open transactions change PICs of one account, and neither waits", async () => {
    const account = await insertAccount();
    const pics = [
      await insert("m_account_pic", { account_id: account }),
      await insert("m_account_pic", { account_id: account }),
    ];

    await withClient(database.url, async (first) => {
      await withClient(database.url, async (second) => {
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

    expect(await takeChanges()).toContainEqual({ account_id: account });
  });

  test("beyond its own tables a captured statement locks nothing", async () => {
    const account = await insertAccount();

    const locks = await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query("update m_account set name = name || 'x' where id = $1", [account]);
      const held = await client.query<{ what: string; mode: string }>(
        `select distinct c.relname as what, l.mode
         from pg_locks l
         left join pg_class c on c.oid = l.relation and c.relkind = 'r' and c.relnamespace <> 'pg_catalog'::regnamespace
         where l.pid = pg_backend_pid()
           and (c.oid is not null or l.locktype not in ('relation', 'virtualxid', 'transactionid'))
         order by what`,
      );
      await client.query("rollback");
      return held.rows;
    });

    expect(locks).toEqual([
      { what: "change", mode: "RowExclusiveLock" },
      { what: "doorbell", mode: "AccessShareLock" },
      { what: "m_account", mode: "RowExclusiveLock" },
    ]);
  });

  test("a role without any right on our schema writes and is captured", async () => {
    const account = await insertAccount();
    await takeChanges();

    await asApplicationRole(async (client) => {
      await client.query("update m_account set name = 'x' where id = $1", [account]);
      await expect(client.query("select from account_sync.change")).rejects.toThrow(
        /permission denied/,
      );
    });

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("nobody can make our rights run his code through his temporary schema", async () => {
    const account = await insertAccount();
    await database.query(
      "create table if not exists who_ran (name name); grant insert on who_ran to public",
    );
    await database.query(
      "create or replace function leave_name(anyelement) returns boolean language sql as $$ insert into public.who_ran values (current_user); select true $$",
    );

    await asApplicationRole(async (client) => {
      await client.query(
        "create domain pg_temp.text as pg_catalog.text check (public.leave_name(value))",
      );
      await client.query("create temporary table new_rows (id uuid)");
      await client.query("create temporary table change (account_id pg_catalog.text)");
      await client.query("update m_account set name = 'x' where id = $1", [account]);
    });

    expect(await database.query("select * from who_ran")).toEqual([]);
  });

  test("nobody can attach our trigger functions to a table of his own", async () => {
    await asApplicationRole(async (client) => {
      await client.query("create temporary table mine (id uuid)");
      await expect(
        client.query(
          "create trigger t after truncate on mine execute function account_sync.capture_m_account_truncate()",
        ),
      ).rejects.toThrow(/permission denied/);
    });
  });

  test("columns that were dropped, renamed or retyped after the migrate fail no statement", async () => {
    const upgraded = await createDatabase();
    await migrate({ url: upgraded.url, info: () => {} });
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
    const id = await insertAccount();
    const pic = await insert("m_account_pic", { account_id: id });
    await database.query(
      `create or replace function touch() returns trigger language plpgsql as
       $$ begin new.updated_at := clock_timestamp(); new.updated_by := 'trigger'; return new; end $$`,
    );
    await database.query(
      `create or replace trigger touch before update on m_account for each row execute function touch();
       create or replace trigger touch before update on m_account_pic for each row execute function touch();`,
    );
    await takeChanges();

    await database.query(
      "update m_account set uuid_be = 'ext', branch_uuid_be = 'ext-b', updated_by = 'account-sync', updated_at = now() where id = $1",
      [id],
    );
    await database.query("update m_account_pic set uuid_be = 'ext' where id = $1", [pic]);
    await database.query("drop trigger touch on m_account; drop trigger touch on m_account_pic");

    expect(await takeChanges()).toEqual([]);
  });

  test("a publication for all tables lets changes be folded", async () => {
    await insertAccount();
    await database.query("create publication neighbours for all tables");

    const queue = openQueue(database);
    const folded = await queue.fold();
    await queue.expand();
    await database.query("drop publication neighbours");

    expect(folded.changes).toBe(1);
  });
});

describe("folding", () => {
  test("a change nobody was told of waits in the table until somebody looks", async () => {
    const account = await insertAccount();

    const folded = await openQueue(database).fold();

    expect(folded).toMatchObject({ changes: 1, accounts: 1 });
    expect(await stateOf(account)).toBe("waiting");
  });

  test("a transaction that stays open holds nobody up, and is found when it commits", async () => {
    const [late, early] = [await insertAccount(), await insertAccount()];
    const queue = openQueue(database);
    await takeChanges();

    await withClient(database.url, async (open) => {
      await open.query("begin");
      await open.query("update m_account set name = 'late' where id = $1", [late]);
      await database.query("update m_account set name = 'early' where id = $1", [early]);

      expect(await queue.fold()).toMatchObject({ changes: 1 });
      expect(await stateOf(early)).toBe("waiting");

      await open.query("commit");
    });
    expect(await queue.fold()).toMatchObject({ changes: 1 });
    expect(await stateOf(late)).toBe("waiting");
  });

  test.each([
    ["m_account_type", "update m_account_type set name = 'branch' where id = $1"],
    ["m_bank", "update m_bank set uuid_be = 'ext-bank' where id = $1"],
    [
      "m_account_billing_method",
      "update m_account_billing_method set method = 'Auto Deduct' where id = $1",
    ],
  ])("a changed row of %s becomes the accounts that depend on it", async (table, update) => {
    const indirect = await insert(table);
    const depending = await insertAccount(
      table === "m_account_type" ? { account_type_id: indirect } : {},
    );
    const bystander = await insertAccount();
    if (table === "m_bank")
      await insert("m_account_bank", { account_id: depending, bank_id: indirect });
    if (table === "m_account_billing_method")
      await insert("m_account_package_tier", {
        account_id: depending,
        billing_method_id: indirect,
      });
    const queue = openQueue(database);
    await takeChanges();

    await database.query(update, [indirect]);

    expect(await queue.fold()).toEqual({ changes: 1, accounts: 0, markers: 1 });
    expect(await queue.expand()).toBe(true);
    expect(await takeChanges()).toEqual([{ account_id: depending }]);
    expect(await queue.expand()).toBe(false);
    expect(await stateOf(bystander)).toBeNull();
  });

  test("a bank account of nobody does not hold up its bank's marker", async () => {
    const bank = await insert("m_bank");
    await insert("m_account_bank", { account_id: null, bank_id: bank });
    const queue = openQueue(database);
    await takeChanges();

    await database.query("update m_bank set uuid_be = 'ext-bank' where id = $1", [bank]);
    await queue.fold();

    expect(await queue.expand()).toBe(true);
    expect(await queue.expand()).toBe(false);
    expect(await takeChanges()).toEqual([]);
  });

  test("more accounts than one step marks are all marked", async () => {
    const type = await insert("m_account_type");
    await database.query(
      "insert into m_account (name, account_type_id) select n::text, $1 from generate_series(1, 5001) n",
      [type],
    );
    const queue = openQueue(database);
    await takeChanges();
    await database.query("update m_account_type set name = 'other' where id = $1", [type]);
    await queue.fold();

    let steps = 0;
    while (await queue.expand()) steps += 1;

    const marked = new Set((await takeChanges()).map((change) => change.account_id));
    expect({ steps, marked: marked.size }).toEqual({ steps: 2, marked: 5_001 });
    await database.query("delete from m_account where account_type_id = $1", [type]);
  });

  test("TRUNCATE becomes the accounts that the queue knows", async () => {
    const truncated = await createDatabase();
    await truncated.query("insert into m_account (name) values ('from before')");
    await migrate({ url: truncated.url, info: () => {} });
    await truncated.query("insert into m_account (name) values ('known')");
    const queue = openQueue(truncated);
    await queue.fold();

    await truncated.query("truncate m_account_pic");
    await queue.fold();
    while (await queue.expand());

    expect(
      await truncated.query(
        "select name from m_account join account_sync.change on account_id = id::text",
      ),
    ).toEqual([{ name: "known" }]);
  });
});

describe("skip_capture", () => {
  test("holds for this transaction, and not for the next on the same connection", async () => {
    const account = await insertAccount();
    await takeChanges();

    await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query("select account_sync.skip_capture()");
      await client.query("update m_account set name = 'skipped' where id = $1", [account]);
      await client.query("savepoint s");
      await client.query("update m_account set name = 'skipped too' where id = $1", [account]);
      await client.query("commit");
      expect(await takeChanges()).toEqual([]);

      await client.query("update m_account set name = 'captured' where id = $1", [account]);
    });

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("as a session setting it means nothing to the next transaction", async () => {
    const account = await insertAccount();
    await takeChanges();

    await withClient(database.url, async (client) => {
      await client.query("begin");
      await client.query(
        "select set_config('account_sync.skip_capture', pg_current_xact_id()::text, false)",
      );
      await client.query("commit");
      await client.query("update m_account set name = 'captured' where id = $1", [account]);
    });

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });

  test("asked for after a savepoint, it is undone with it", async () => {
    const account = await insertAccount();
    await takeChanges();

    await withClient(database.url, async (client) => {
      await client.query("begin; savepoint s");
      await client.query("select account_sync.skip_capture()");
      await client.query("rollback to s");
      await client.query("update m_account set name = 'captured' where id = $1", [account]);
      await client.query("commit");
    });

    expect(await takeChanges()).toEqual([{ account_id: account }]);
  });
});

describe("asking for a sync in SQL", () => {
  test("a uuid in upper case, in braces and as an argument of type uuid is one account", async () => {
    const id = await insertAccount();
    await takeChanges();

    await database.query("select account_sync.request($1)", [id.toUpperCase()]);
    await database.query("select account_sync.request($1)", [`{${id}}`]);
    await database.query("select account_sync.request(id) from m_account where id = $1", [id]);

    expect(await takeChanges()).toEqual([
      { account_id: id },
      { account_id: id },
      { account_id: id },
    ]);
  });

  test("keeps who asks for what, and not more", async () => {
    const id = await insertAccount();
    await takeChanges();

    await database.query(
      "select account_sync.request($1, user_id => 'ani', config_id => 'c', force => false)",
      [id],
    );
    await database.query("select account_sync.request($1)", [id]);
    await database.query("select account_sync.request_all(user_id => 'ani')");
    await database.query("select account_sync.request_all()");

    expect(
      await database.query(
        "select c.lane::text, marker, request from account_sync.change c order by c.lane, request nulls last",
      ),
    ).toEqual([
      { lane: "manual", marker: null, request: { force: true } },
      { lane: "change", marker: null, request: { user_id: "ani", config_id: "c" } },
      { lane: "backfill", marker: "all", request: { user_id: "ani" } },
      { lane: "backfill", marker: "all", request: null },
    ]);
  });

  test.each(["not-a-uuid", randomUUID()])("an unknown id (%s) is kept as it came", async (id) => {
    await database.query("select account_sync.request($1)", [id]);

    expect(await takeChanges()).toEqual([{ account_id: id }]);
  });

  test.each(["''", "null"])("no id (%s) is an error that says what to call", async (id) => {
    await expect(database.query(`select account_sync.request(${id})`)).rejects.toMatchObject({
      code: "22023",
      hint: expect.stringContaining("request_all"),
    });
  });

  test("request_all becomes every account", async () => {
    const everyone = await createDatabase();
    await everyone.query("insert into m_account (name) values ('a'), ('b')");
    await migrate({ url: everyone.url, info: () => {} });
    const queue = openQueue(everyone);

    await everyone.query("select account_sync.request_all()");
    await queue.fold();
    while (await queue.expand());
    await queue.fold();

    expect(await everyone.query("select lane::text from account_sync.account")).toEqual([
      { lane: "backfill" },
      { lane: "backfill" },
    ]);
  });

  test("is refused to others, and works for whom it is granted to", async () => {
    const id = await insertAccount();
    await takeChanges();

    await asApplicationRole(async (client, role) => {
      await database.query(`grant usage on schema account_sync to ${role}`);
      const ask = () => client.query("select account_sync.request($1::uuid)", [id]);
      await expect(ask()).rejects.toThrow(/permission denied for function/);

      await database.query(
        `grant execute on function account_sync.request(uuid, text, text, boolean) to ${role}`,
      );
      await ask();

      await migrate({ url: database.url, info: () => {} });
      await ask();
    });

    expect(await takeChanges()).toEqual([{ account_id: id }, { account_id: id }]);
  });

  test.each([
    "request(text, text, text, boolean)",
    "request(bigint, text, text, boolean)",
    "request_all(text, text)",
    "skip_capture()",
    "ring()",
    "canonical_id(text)",
    "install_capture(text)",
    "remove_capture(text)",
  ])("%s is not for PUBLIC", async (name) => {
    const [row] = await asApplicationRole((_, role) =>
      database.query("select has_function_privilege($1, $2, 'execute') as allowed", [
        role,
        `account_sync.${name}`,
      ]),
    );

    expect(row).toEqual({ allowed: false });
  });

  test("one NOTIFY heard by two replicas is one request, its repetition another", async () => {
    const id = await insertAccount();
    const queue = openQueue(database);
    const heard = {
      notifierPid: 4711,
      payload: id,
      accountId: id,
      userId: null,
      configId: null,
      force: true,
    };
    const [first, second] = [1, 2];
    await takeChanges();

    await Promise.all([queue.hear([heard], first), queue.hear([heard], second)]);
    expect(await takeChanges()).toEqual([{ account_id: id }]);

    const [answered] = await database.query<{ replica_id: number }>(
      "select replica_id from account_sync.heard where notifier_pid = 4711",
    );
    await queue.hear([heard], answered?.replica_id ?? 0);
    expect(await takeChanges()).toEqual([{ account_id: id }]);
  });

  test("a NOTIFY for every account, or without an id that could be one, is kept too", async () => {
    const queue = openQueue(database);
    const heard = { userId: "ani", configId: null, force: true };

    await queue.hear(
      [
        { ...heard, notifierPid: 1, payload: "*", accountId: null },
        { ...heard, notifierPid: 1, payload: "nobody", accountId: "nobody" },
      ],
      1,
    );

    expect(await takeChanges()).toEqual([{ account_id: "nobody" }, { marker: "all" }]);
  });
});

/** A change as it was appended, without what is null. */
interface Change {
  readonly account_id?: string;
  readonly marker?: string;
  readonly marker_id?: string;
  readonly external_id?: string;
}

/** Removes all changes. Resolves with them, in an order of no meaning but the same every time. */
async function takeChanges(): Promise<Change[]> {
  const rows = await database.query<{ change: Change }>(
    `with taken as (delete from account_sync.change returning account_id, marker, marker_id, external_id)
     select json_strip_nulls(row_to_json(taken)) as change from taken order by account_id, external_id nulls first, marker`,
  );
  return rows.map((row) => row.change);
}

function byAccount(ids: readonly string[]): Change[] {
  return ids.toSorted().map((id) => ({ account_id: id }));
}

async function insertAccount(values: Record<string, string> = {}): Promise<string> {
  return await insert("m_account", values);
}

const REQUIRED: Record<string, Record<string, string>> = {
  m_account: { name: "Toko Uji" },
  m_account_package_tier: {
    min_value: "1",
    max_value: "1000",
    amount: "2.5",
    start_date: "2026-01-01",
    end_date: "2026-12-31",
  },
  m_account_pic: { name: "Budi", phone_no: "0812", email: "" },
  m_bank: { name: "Bank Uji" },
  m_account_type: { name: "parent" },
  m_account_billing_method: { method: "invoice" },
};

async function insert(table: string, values: Record<string, string | null> = {}): Promise<string> {
  const row = { ...REQUIRED[table], ...values };
  const columns = Object.keys(row);
  const given =
    columns.length === 0
      ? "default values"
      : `(${columns.join(", ")}) values (${columns.map((_, index) => `$${index + 1}`).join(", ")})`;
  const [inserted] = await database.query<{ id: string }>(
    `insert into ${table} ${given} returning id`,
    Object.values(row),
  );
  if (inserted === undefined) throw new Error(`nothing was inserted into ${table}`);
  return inserted.id;
}

async function columnsOf(table: string): Promise<{ name: string; type: string }[]> {
  return await database.query(
    "select attname as name, format_type(atttypid, null) as type from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped",
    [table],
  );
}

/** SQL for a value that the column of the row does not have yet. */
async function otherValue(column: string, type: string): Promise<string> {
  switch (type) {
    case "uuid": {
      const table =
        {
          account_type_id: "m_account_type",
          billing_method_id: "m_account_billing_method",
          bank_id: "m_bank",
        }[column] ?? "m_account";
      const id = await insert(table);
      await takeChanges();
      return `'${id}'`;
    }
    case "character varying":
      return `left('x' || coalesce("${column}", ''), 20)`;
    case "boolean":
      return `not coalesce("${column}", false)`;
    case "numeric":
    case "date":
      return `"${column}" + 1`;
    case "timestamp without time zone":
      return `coalesce("${column}", now()) + interval '1 day'`;
    case "json":
      return `'{"portal": true}'`;
    default:
      throw new Error(`no other value is known for a column of type ${type}`);
  }
}

function openQueue(on: TestDatabase): Queue {
  const db = openDatabase({
    url: on.url,
    applicationName: "capture test",
    max: 2,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });
  opened.push(db);
  return createQueue({
    db,
    relaxedDb: db,
    quietPeriodMs: 60_000,
    maxWaitMs: 60_000,
    leaseMs: 1_000,
  });
}

async function stateOf(accountId: string): Promise<string | null> {
  const [row] = await database.query<{ state: string }>(
    "select state from account_sync.status where account_id = $1",
    [accountId],
  );
  return row?.state ?? null;
}

/** Runs `use` as a role that may do with the source tables what an application does, and nothing else. */
async function asApplicationRole<T>(
  use: (client: pg.Client, role: string) => Promise<T>,
): Promise<T> {
  const role = `application_${randomUUID().replaceAll("-", "")}`;
  await database.query(
    `create role ${role}; grant select, insert, update, delete on all tables in schema public to ${role}`,
  );
  try {
    return await withClient(database.url, async (client) => {
      await client.query(`set role ${role}`);
      return await use(client, role);
    });
  } finally {
    await database.query(`drop owned by ${role}; drop role ${role}`);
  }
}
