/** Installing, upgrading and removing ourselves beside an application that goes on working. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { migrate, uninstall } from "../../src/db/migrate.ts";
import { sqlDirectory } from "../../src/db/queries.ts";
import { latestMigration } from "../../src/db/schema-version.ts";
import { OperatorError } from "../../src/operator-error.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { createRole } from "../support/roles.ts";

describe("repeating", () => {
  test("the second time nothing is left to do", async () => {
    const database = await createDatabase();

    expect(await install(database)).toEqual({ migrations: latestMigration(), createdSchema: true });
    const installed = await catalogOf(database);
    expect(await install(database)).toEqual({ migrations: 0, createdSchema: false });

    expect(await catalogOf(database)).toEqual(installed);
  });

  test("from three places at once, one does the work", async () => {
    const database = await createDatabase();

    const results = await Promise.all([install(database), install(database), install(database)]);

    expect(results.map((result) => result.migrations).sort()).toEqual([0, 0, latestMigration()]);
    expect(results.filter((result) => result.createdSchema)).toHaveLength(1);
  });

  test("takes no lock on the source tables", async () => {
    const database = await createDatabase();
    await install(database);

    await withClient(database.url, async (application) => {
      await application.query("begin");
      await application.query(
        "lock m_account, m_account_package_tier, m_account_pic, m_account_address, m_account_bank, m_bank in access exclusive mode",
      );
      const waited: string[] = [];
      await migrate({ url: database.url, info: (message) => waited.push(message) });

      expect(waited).toEqual([]);
      await application.query("rollback");
    });
  });

  test("puts back a trigger that is gone and a function that was replaced", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query("drop trigger m_account_capture_insert on m_account");
    await database.query(
      "create or replace function account_sync.capture_m_account_update() returns trigger language plpgsql as $$ begin return null; end $$",
    );

    await install(database);
    await database.query("insert into m_account (name) values ('a')");
    await database.query("update m_account set name = 'b'");

    expect(await database.query("select from account_sync.change")).toHaveLength(2);
  });

  test("puts back a trigger that was made to miss changes", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query(
      `drop trigger m_account_capture_insert on m_account;
       create trigger m_account_capture_insert after insert on m_account referencing new table as new_rows
         for each statement when (current_user <> 'batch') execute function account_sync.capture_m_account_insert();
       drop trigger m_account_pic_capture_update on m_account_pic;
       create trigger m_account_pic_capture_update after update of name on m_account_pic
         for each statement execute function account_sync.capture_m_account_pic_update();`,
    );

    await install(database);

    expect(
      await database.query(
        `select tgname from pg_trigger t join pg_proc f on f.oid = t.tgfoid
         where f.pronamespace = 'account_sync'::regnamespace and (tgqual is not null or tgattr::text <> '')`,
      ),
    ).toEqual([]);
  });

  test("says which triggers somebody disabled, and leaves them so", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query("alter table m_account_pic disable trigger m_account_pic_capture_update");

    const said: string[] = [];
    await migrate({ url: database.url, info: (message) => said.push(message) });

    expect(said).toEqual([
      expect.stringContaining(
        "alter table m_account_pic enable trigger m_account_pic_capture_update",
      ),
    ]);
    expect(
      await database.query(
        "select tgenabled from pg_trigger where tgname = 'm_account_pic_capture_update'",
      ),
    ).toEqual([{ tgenabled: "D" }]);
  });
});

describe("beside the application", () => {
  test("its own migrations table stays as it is", async () => {
    const database = await createDatabase();
    await database.query(
      `create table migrations (id serial primary key, "timestamp" bigint not null, name varchar not null);
       insert into migrations ("timestamp", name) values (1700000000000, 'CreateAccounts1700000000000');`,
    );
    const before = await database.query("select * from migrations");

    await install(database);

    expect(await database.query("select * from migrations")).toEqual(before);
    expect(
      await database.query("select id from account_sync.migrations where id > 0"),
    ).toHaveLength(latestMigration());
  });

  test("a transaction that stays open delays the migrate, and no writer for longer than a try", async () => {
    const database = await createDatabase();
    await database.query("insert into m_account (name) values ('held'), ('busy')");

    const writes: number[] = [];
    let isInstalled = false;
    await withClient(database.url, async (open) => {
      await open.query("begin");
      await open.query("update m_account set name = 'held by us' where name = 'held'");

      let isWaiting = false;
      const installing = migrate({
        url: database.url,
        info: () => {
          isWaiting = true;
        },
      }).then(() => {
        isInstalled = true;
      });
      const holdUntil = performance.now() + 3_000;
      while (performance.now() < holdUntil) {
        const startedAt = performance.now();
        await database.query("update m_account set phone_no = '08' where name = 'busy'");
        writes.push(performance.now() - startedAt);
        await sleep(5); // The pace of an application. Locks are waited for in the real time of the server.
      }
      expect({ isWaiting, isInstalled }).toEqual({ isWaiting: true, isInstalled: false });

      await open.query("commit");
      await installing;
    });

    // Some writer did wait behind a try of 200 ms; half a second more is for a busy machine.
    expect(Math.max(...writes)).toBeGreaterThan(50);
    expect(Math.max(...writes)).toBeLessThan(700);
    await database.query("update m_account set name = 'captured' where name = 'busy'");
    expect(await database.query("select from account_sync.change")).toHaveLength(1);
  });

  test("an open transaction delays uninstall too, one table at a time", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query("insert into m_account (name) values ('a')");

    await withClient(database.url, async (open) => {
      await open.query("begin");
      await open.query("insert into m_account_pic (name, phone_no, email) values ('b', '08', '')");
      const waiting: string[] = [];
      const removing = uninstall({ url: database.url, info: (message) => waiting.push(message) });
      await eventually(() =>
        expect(waiting[0]).toContain("remove the capture triggers from m_account_pic"),
      );

      // The tables before it are done and free.
      expect(await triggersOf(database, "m_account")).toEqual([]);
      await open.query("select from m_account");
      await open.query("commit");
      await removing;
    });

    expect(await triggersOf(database, "m_account_pic")).toEqual([]);
  });

  test("uninstall leaves no trace, and may be repeated", async () => {
    const database = await createDatabase();
    const before = await catalogOf(database);
    await install(database);
    expect(await catalogOf(database)).not.toEqual(before);

    await uninstall({ url: database.url, info: () => {} });
    expect(await catalogOf(database)).toEqual(before);

    await uninstall({ url: database.url, info: () => {} });
    expect(await catalogOf(database)).toEqual(before);

    await install(database);
    await database.query("insert into m_account (name) values ('a')");
    expect(await database.query("select from account_sync.change")).toHaveLength(1);
  });

  test("external ids that were written stay after uninstall", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query("insert into m_account (name, uuid_be) values ('a', 'ext')");

    await uninstall({ url: database.url, info: () => {} });

    expect(await database.query("select uuid_be from m_account")).toEqual([{ uuid_be: "ext" }]);
  });
});

describe("what it refuses", () => {
  test("a database without the source tables", async () => {
    const database = await createDatabase({ sourceTables: false });

    await expect(install(database)).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining("public.m_account,"),
      hint: expect.stringContaining("DATABASE_URL"),
    });
    expect(await database.query("select from pg_namespace where nspname = 'account_sync'")).toEqual(
      [],
    );
  });

  test("a view in the place of m_account", async () => {
    const database = await createDatabase();
    await database.query(
      "alter table m_account rename to account; create view m_account as select * from account",
    );

    await expect(install(database)).rejects.toThrow(/has no table public\.m_account\./);
  });

  test("a schema from a newer account-sync", async () => {
    const database = await createDatabase();
    await install(database);
    await database.query(
      "insert into account_sync.migrations (id, name, hash) values ($1, 'from the future', 'x')",
      [latestMigration() + 1],
    );

    await expect(install(database)).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining(`version ${latestMigration() + 1}`),
    });
  });

  test("a role that may not create a schema", async () => {
    const database = await createDatabase();
    const { url } = await createRole(database, "");

    await expect(migrate({ url, info: () => {} })).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining("permission denied for database"),
      hint: expect.stringContaining("create schema account_sync authorization"),
    });
  });

  test("a role that may not put triggers on the source tables", async () => {
    const database = await createDatabase();
    const { url } = await createRole(
      database,
      `grant create on database ${database.name} to %role`,
    );

    await expect(migrate({ url, info: () => {} })).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining("permission denied for table m_account"),
    });
  });

  test.each([
    ["no such database", (url: URL) => (url.pathname = "/nowhere"), /no such database/],
    ["a server that is not there", (url: URL) => (url.port = "1"), /ECONNREFUSED/],
    ["a role that does not exist", (url: URL) => (url.username = "nobody"), /refused the login/],
  ])("%s", async (_, change, message) => {
    const url = new URL((await createDatabase()).url);
    change(url);

    const refused = await migrate({ url: url.href, info: () => {} }).catch((error) => error);

    expect(refused).toBeInstanceOf(OperatorError);
    expect(refused.message).toMatch(message);
  });
});

describe("ordinary roles", () => {
  test("one that owns the tables installs, captures, repeats and removes", async () => {
    const database = await createDatabase();
    const { url } = await createRole(
      database,
      `grant create on database ${database.name} to %role;
       do $$ declare t text; begin
         foreach t in array array(select tablename from pg_tables where schemaname = 'public') loop
           execute format('alter table public.%I owner to %role', t);
         end loop;
       end $$;`,
    );

    await workThrough(database, url);
  });

  test("one that has TRIGGER, SELECT and UPDATE on the tables does too", async () => {
    const database = await createDatabase();
    const { url } = await createRole(
      database,
      `grant create on database ${database.name} to %role;
       grant trigger, select, update on all tables in schema public to %role;`,
    );

    await workThrough(database, url);
  });

  test("one for whom an administrator made the schema needs no right to create any", async () => {
    const database = await createDatabase();
    const { url } = await createRole(
      database,
      `create schema account_sync authorization %role;
       grant trigger, select, update on all tables in schema public to %role;`,
    );

    await workThrough(database, url);
  });

  test("one with a short statement_timeout waits for another migrate all the same", async () => {
    const database = await createDatabase();
    const { url } = await createRole(
      database,
      `create schema account_sync authorization %role;
       grant trigger, select, update on all tables in schema public to %role;
       alter role %role set statement_timeout = '100ms';`,
    );

    await withClient(database.url, async (open) => {
      await open.query("begin");
      await open.query("insert into m_account (name) values ('a')");
      const installing = Promise.all([
        migrate({ url, info: () => {} }),
        migrate({ url, info: () => {} }),
      ]);
      await eventually(async () =>
        expect(
          await database.query(
            "select from pg_locks l join pg_database d on d.oid = l.database where locktype = 'advisory' and not granted and datname = current_database()",
          ),
        ).toHaveLength(1),
      );
      await sleep(300); // The statement_timeout of the server runs in real time: three times as long.
      await open.query("commit");

      await expect(installing).resolves.toHaveLength(2);
    });
  });

  async function workThrough(database: TestDatabase, url: string): Promise<void> {
    const before = await catalogOf(database);
    await migrate({ url, info: () => {} });
    await migrate({ url, info: () => {} });
    await database.query("insert into m_account (name) values ('a')");
    await withClient(url, async (client) => {
      await client.query("select account_sync.request(id) from public.m_account");
      expect((await client.query("select from account_sync.change")).rowCount).toBe(2);
    });

    // A trigger that is not as it should be is replaced, which takes no ownership either.
    await database.query(
      `drop trigger m_account_capture_insert on m_account;
       create trigger m_account_capture_insert after insert on m_account
         for each row execute function account_sync.capture_m_account_delete()`,
    );
    await expect(migrate({ url, info: () => {} })).resolves.toMatchObject({ migrations: 0 });

    await uninstall({ url, info: () => {} });
    const after = await catalogOf(database);
    expect(after.filter((entry) => !entry.startsWith("schema"))).toEqual(
      before.filter((entry) => !entry.startsWith("schema")),
    );
  }
});

test("the SQL that is hashed and run has the same line ends on every machine", () => {
  const attributes = readFileSync(`${sqlDirectory}../.gitattributes`, "utf8");
  const files = ["migrations", "capture", "queries"].flatMap((directory) =>
    readdirSync(`${sqlDirectory}${directory}`, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".sql"))
      .map((file) => `${sqlDirectory}${directory}/${file}`),
  );

  expect(attributes).toMatch(/^\*\.sql text eol=lf$/m);
  expect(files.filter((file) => readFileSync(file, "utf8").includes("\r"))).toEqual([]);
});

function install(database: TestDatabase) {
  return migrate({ url: database.url, info: () => {} });
}

/** A role that may log in and what `grants` says. Resolves with its URL. */
/** Everything of ours that could be left behind: schemas, triggers, functions, types, tables, settings, publications. */
async function catalogOf(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ entry: string }>(
    `select 'schema ' || nspname as entry from pg_namespace where nspname !~ '^pg_'
     union all select 'trigger ' || tgname || ' ' || tgrelid::regclass || ' ' || tgenabled::text from pg_trigger where not tgisinternal
     union all select 'function ' || oid::regprocedure || ' ' || coalesce(proacl::text, '') || prosrc from pg_proc where pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
     union all select 'type ' || oid::regtype from pg_type where typnamespace::regnamespace::text !~ '^(pg_|information_schema)'
     union all select 'relation ' || oid::regclass || ' ' || coalesce(relacl::text, '') from pg_class where relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
     union all select 'event trigger ' || evtname from pg_event_trigger
     union all select 'publication ' || pubname from pg_publication
     union all select 'setting ' || setconfig::text from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())
     order by entry`,
  );
  return rows.map((row) => row.entry);
}

async function triggersOf(database: TestDatabase, table: string): Promise<pg.QueryResultRow[]> {
  return await database.query(
    "select tgname from pg_trigger where tgrelid = $1::regclass and not tgisinternal",
    [table],
  );
}
