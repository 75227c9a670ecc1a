/** Every check on a real PostgreSQL: silent where all is well, and with one clear sentence and what to do where something was broken. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withCheckContext as openCheckContext } from "../../src/check-context.ts";
import type { CheckContext } from "../../src/checks/check.ts";
import { EXPECTED_TABLES } from "../../src/checks/expected-tables.ts";
import { CHECKS } from "../../src/checks/list.ts";
import { Monitor } from "../../src/checks/monitor.ts";
import { CHECK_EFFECTS, type CheckName } from "../../src/checks/names.ts";
import { findRefusal } from "../../src/checks/refusal.ts";
import { readConfig } from "../../src/config.ts";
import type { Queryable } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { sqlOf } from "../../src/db/queries.ts";
import { latestMigration } from "../../src/db/schema-version.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/local/embedded-postgres.ts";
import { createSourceTables } from "../../src/local/source-tables.ts";
import type { Diagnosis } from "../../src/operator-error.ts";
import { lacksPgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { createRole, LEAST_GRANTS, type TestRole } from "../support/roles.ts";

describe("with the least rights", () => {
  let database: TestDatabase;
  let role: TestRole;

  beforeAll(async () => {
    database = await createDatabase();
    role = await createRole(database, LEAST_GRANTS);
    await migrate({ url: role.url, info: () => {} });
  });

  test("nothing is found", async () => {
    expect(await findingsOf(role.url)).toEqual({});
  });

  test("nothing is found on tables that are partitioned, keyed by text, and without the optional and newer", async () => {
    const other = await createDatabase({
      keyType: "text",
      withoutNewerColumns: true,
      leaveOut: ["m_account_address", "m_bank", "m_account_billing_method"],
    });
    await other.query(
      `drop table m_account_bank;
       create table m_account_bank (
         id text, account_id text, bank_id text, bank_account_no text, bank_account_holder_name text, bank_account_holder_firstname text,
         bank_account_holder_lastname text, is_active bool, created_at timestamp
       ) partition by list (is_active);
       create table m_account_bank_active partition of m_account_bank for values in (true);`,
    );
    await migrate({ url: other.url, info: () => {} });

    expect(await findingsOf(other.url, { except: ["excess_rights"] })).toEqual({});
  });

  /** [what is broken, by what SQL, how it is put right, which check finds it, its sentence, what it says to do] */
  const breakages: readonly (readonly [
    what: string,
    breaks: string,
    repairs: string,
    check: CheckName,
    problem: RegExp,
    remedy: RegExp,
    /** What else is not as it should be then. */
    also?: CheckName,
  ])[] = [
    [
      "a trigger that is disabled",
      "alter table m_account_pic disable trigger m_account_pic_capture_update",
      "alter table m_account_pic enable trigger m_account_pic_capture_update",
      "triggers",
      /m_account_pic_capture_update on m_account_pic is disabled: changes of m_account_pic go unnoticed/,
      /alter table m_account_pic enable trigger m_account_pic_capture_update;/,
    ],
    [
      "a trigger that fires for replication only",
      "alter table m_account enable replica trigger m_account_capture_delete",
      "alter table m_account enable trigger m_account_capture_delete",
      "triggers",
      /m_account_capture_delete on m_account is enabled for replication only/,
      /enable trigger m_account_capture_delete/,
    ],
    [
      "a trigger that was dropped",
      "drop trigger m_account_capture_insert on m_account",
      "migrate",
      "triggers",
      /m_account_capture_insert on public\.m_account is missing/,
      /account-sync migrate/,
    ],
    [
      "a trigger that was made conditional",
      `drop trigger m_account_pic_capture_insert on m_account_pic;
       create trigger m_account_pic_capture_insert after insert on m_account_pic
         referencing new table as new_rows for each statement when (current_user <> 'batch')
         execute function account_sync.capture_m_account_pic_insert()`,
      "migrate",
      "triggers",
      /m_account_pic_capture_insert on public\.m_account_pic is missing or not the one/,
      /account-sync migrate/,
    ],
    [
      "a trigger function that was replaced",
      "create or replace function account_sync.capture_m_account_update() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin return null; end $$",
      "migrate",
      "triggers",
      /Function account_sync\.capture_m_account_update is not what migrate would make for public\.m_account/,
      /account-sync migrate/,
    ],
    [
      "a trigger function that runs with the application's rights",
      "alter function account_sync.capture_m_account_update() security invoker",
      "migrate",
      "triggers",
      /capture_m_account_update is not what migrate would make/,
      /account-sync migrate/,
    ],
    [
      "a function the triggers call that was replaced",
      "create or replace function account_sync.has_column(in_table text, column_name text) returns boolean language sql stable as $$ select false $$",
      "migrate",
      "triggers",
      /account_sync\.has_column is not what this account-sync brings/,
      /account-sync migrate/,
    ],
    [
      "a payload column that changed its type since the last migrate",
      "alter table m_account_address alter column postalcode type integer using null",
      "alter table m_account_address alter column postalcode type varchar(20); migrate",
      "triggers",
      /capture_m_account_address_update is not what migrate would make for public\.m_account_address as it stands/,
      /account-sync migrate/,
    ],
    [
      "an optional table that was captured and is gone",
      "alter table m_account_address rename to address",
      "alter table address rename to m_account_address",
      "source_tables",
      /public\.m_account_address was captured at the last migrate and is gone/,
      /account_sync\.remove_capture\('m_account_address'\)/,
    ],
    [
      "a required column that is gone",
      "alter table m_account_pic rename column username to login",
      "alter table m_account_pic rename column login to username",
      "source_tables",
      /public\.m_account_pic has no column username\./,
      /migrations/,
      "triggers",
    ],
    [
      "a key that cannot be compared",
      `alter table m_account drop constraint "m_account_parentId_fkey"; alter table m_account alter column "parentId" type text`,
      `alter table m_account alter column "parentId" type uuid using "parentId"::uuid; migrate`,
      "source_tables",
      /public\.m_account\.parentId is text, and public\.m_account\.id, which it points to, is uuid/,
      /same type/,
      "triggers",
    ],
    [
      "an external id of a type that is no text",
      "alter table m_account_pic alter column uuid_be type uuid using uuid_be::uuid",
      "alter table m_account_pic alter column uuid_be type varchar(255)",
      "source_tables",
      /public\.m_account_pic cannot be read: .*btrim\(uuid\)/,
      /type/,
    ],
    [
      "row security on a source table",
      "alter table m_account enable row level security; create policy known_only on m_account using (account_no like 'A%')",
      "drop policy known_only on m_account; alter table m_account disable row level security",
      "row_security",
      /Row security on public\.m_account hides rows from role ordinary_/,
      /^alter role ordinary_\w+ bypassrls;$/,
    ],
    [
      "no SELECT on a table",
      "revoke select on m_account_address from %role",
      "grant select on m_account_address to %role",
      "rights",
      /lacks SELECT on public\.m_account_address\./,
      /^grant select on public\.m_account_address to ordinary_\w+;$/,
    ],
    [
      "no UPDATE of an external id",
      "revoke update (uuid_be, branch_uuid_be) on m_account from %role",
      "grant update (uuid_be, branch_uuid_be) on m_account to %role",
      "rights",
      /lacks UPDATE \(uuid_be, branch_uuid_be\) on public\.m_account\./,
      /^grant update \(uuid_be, branch_uuid_be\) on public\.m_account to ordinary_\w+;$/,
    ],
    [
      "no TRIGGER on a table",
      "revoke trigger on m_account_bank from %role",
      "grant trigger on m_account_bank to %role",
      "rights",
      /lacks TRIGGER on public\.m_account_bank\./,
      /^grant trigger on public\.m_account_bank to ordinary_\w+;$/,
    ],
    [
      "a function of ours that belongs to somebody else",
      "alter function account_sync.install_capture(text) owner to current_user",
      "alter function account_sync.install_capture(text) owner to %role",
      "rights",
      /does not own account_sync\.install_capture\(text\)/,
      /owner to %I', object, 'ordinary_\w+'\);/,
    ],
    [
      "a sequence behind its table",
      `insert into account_sync.attempt (account_id, generation, trigger, settled_at) select 'a', 1, 'change', now() from generate_series(1, 3);
       select setval('account_sync.attempt_attempt_id_seq', 1)`,
      "migrate",
      "sequences",
      /account_sync\.attempt_attempt_id_seq is at 1, and account_sync\.attempt has rows up to \d+: ids would be given out twice/,
      /account-sync migrate/,
    ],
    [
      "a request for many accounts whose table is away",
      "insert into account_sync.expansion (marker, lane, changed_at, failures, error) values ('all', 'backfill', now(), 1, '42P01')",
      "delete from account_sync.expansion",
      "markers",
      /^1 request for many accounts \(marker all\) waits: a table or column .* is missing \(42P01\)\.$/,
      /no request is lost/,
    ],
    [
      "requests for many accounts that fail otherwise",
      "insert into account_sync.expansion (marker, marker_id, lane, changed_at, failures, error) select 'm_bank', n::text, 'change', now(), 1, '42501' from generate_series(1, 2) n",
      "delete from account_sync.expansion",
      "markers",
      /^2 requests for many accounts \(marker m_bank\) wait: finding the accounts failed \(42501\)\.$/,
      /expanding a marker/,
    ],
    [
      "a role that may create roles and databases",
      "alter role %role createrole createdb",
      "alter role %role nocreaterole nocreatedb",
      "excess_rights",
      /has CREATEROLE, CREATEDB, which account-sync has no use for/,
      /^alter role ordinary_\w+ nocreaterole nocreatedb;$/,
    ],
    [
      "a role that bypasses row security where there is none",
      "alter role %role bypassrls",
      "alter role %role nobypassrls",
      "excess_rights",
      /has BYPASSRLS/,
      /nobypassrls/,
    ],
    [
      "a role that owns a source table",
      "alter table m_account_type owner to %role",
      "alter table m_account_type owner to current_user; grant select, trigger on m_account_type to %role",
      "excess_rights",
      /owns m_account_type and could alter or drop it/,
      /SELECT, TRIGGER and UPDATE/,
    ],
    [
      "a role that may delete accounts",
      "grant delete, insert on m_account to %role",
      "revoke delete, insert on m_account from %role",
      "excess_rights",
      /has INSERT, DELETE on public\.m_account/,
      /^revoke insert, delete on public\.m_account from ordinary_\w+;$/,
    ],
    [
      "a role that may only read",
      "alter role %role set default_transaction_read_only = on",
      "alter role %role reset default_transaction_read_only",
      "server_writable",
      /default_transaction_read_only is on/,
      /primary/,
    ],
    [
      "a role with a connection limit below the pool",
      "alter role %role connection limit 5",
      "alter role %role connection limit -1",
      "connections",
      /Fewer than 13 more connections are free/,
      /DATABASE_POOL_MAX/,
    ],
    [
      "a schema newer than the code",
      `insert into account_sync.migrations (id, name, hash) values (${latestMigration() + 1}, 'from the future', 'x')`,
      `delete from account_sync.migrations where id = ${latestMigration() + 1}`,
      "schema_version",
      new RegExp(`at version ${latestMigration() + 1}, and this account-sync knows versions up to`),
      /newer account-sync/,
    ],
  ];

  test.each(breakages.map((each) => [each[0], each] as const))(
    "%s is found",
    async (_what, breakage) => {
      const [, breaks, repairs, check, problem, remedy, also] = breakage;
      await change(breaks);

      const found = await findingsOf(role.url);
      await change(repairs);

      expect(Object.keys(found)).toEqual([check, ...(also === undefined ? [] : [also])]);
      expect(found[check]?.[0]).toEqual({
        problem: expect.stringMatching(problem),
        remedy: expect.stringMatching(remedy),
      });
      expect(await findingsOf(role.url, { only: [check] })).toEqual({});
    },
  );

  test("FORCE ROW LEVEL SECURITY hides rows from their owner, too", async () => {
    const other = await createDatabase();
    const owner = await createRole(
      other,
      "create schema account_sync authorization %role; grant select, update, trigger on all tables in schema public to %role; alter table m_account_pic owner to %role",
    );
    await migrate({ url: owner.url, info: () => {} });
    await other.query("alter table m_account_pic enable row level security");
    expect(await findingsOf(owner.url, { only: ["row_security"] })).toEqual({});

    await other.query("alter table m_account_pic force row level security");

    expect(await findingsOf(owner.url, { only: ["row_security"] })).toEqual({
      row_security: [
        {
          problem: expect.stringContaining("public.m_account_pic"),
          remedy: "alter table public.m_account_pic no force row level security;",
        },
      ],
    });
  });

  test("BYPASSRLS is no excess where row security would hide rows without it", async () => {
    await database.query(
      `alter role ${role.name} bypassrls; alter table m_account enable row level security`,
    );

    const found = await findingsOf(role.url);
    await database.query(
      `alter role ${role.name} nobypassrls; alter table m_account disable row level security`,
    );

    expect(found).toEqual({});
  });

  test("a partition whose copy of the trigger is disabled is named", async () => {
    const other = await createDatabase();
    await other.query(
      `alter table m_account_bank rename to bank_before;
       create table m_account_bank (like bank_before) partition by list (is_active);
       create table bank_active partition of m_account_bank for values in (true)`,
    );
    await migrate({ url: other.url, info: () => {} });
    await other.query("alter table bank_active disable trigger m_account_bank_capture_insert");

    expect(await findingsOf(other.url, { only: ["triggers"] })).toMatchObject({
      triggers: [{ problem: expect.stringContaining("on bank_active is disabled") }],
    });
  });

  test("a database in which no trigger fires by default is found", async () => {
    const other = await createDatabase();
    await migrate({ url: other.url, info: () => {} });
    await other.query(`alter database ${other.name} set session_replication_role = replica`);

    expect(await findingsOf(other.url, { only: ["triggers"] })).toMatchObject({
      triggers: [{ problem: expect.stringContaining("session_replication_role is replica") }],
    });
  });

  test("a superuser is more than is needed, except on the embedded database", async () => {
    expect(await findingsOf(database.url, { only: ["excess_rights"] })).toMatchObject({
      excess_rights: [{ problem: expect.stringContaining("is a superuser") }],
    });
    expect(
      await findingsOf(database.url, { only: ["excess_rights"], context: { isEmbedded: true } }),
    ).toEqual({});
  });

  test("a server that allows PREPARE TRANSACTION is a hint, unless nothing notifies", async () => {
    expect(
      await findingsOf(role.url, { only: ["prepared_transactions"], context: { notify: "auto" } }),
    ).toMatchObject({
      prepared_transactions: [{ remedy: expect.stringContaining("SYNC_NOTIFY=off") }],
    });
  });

  test("an API that may not be used is found", async () => {
    const context = { apiTrouble: async () => "m_backend_ext_config has no active row" };

    expect(await findingsOf(role.url, { only: ["api_configuration"], context })).toMatchObject({
      api_configuration: [
        { problem: expect.stringContaining("m_backend_ext_config has no active row") },
      ],
    });
  });

  test("rights on m_backend_ext_config are asked for only where it says where to send", async () => {
    const context = { readsApiConfigs: true };

    expect(await findingsOf(role.url, { only: ["rights"], context })).toMatchObject({
      rights: [{ remedy: expect.stringMatching(/^grant select on public\.m_backend_ext_config/) }],
    });
  });

  test("several things at once are all told", async () => {
    await database.query(
      `revoke select, trigger on m_account from ${role.name}; revoke update (updated_by) on m_account_pic from ${role.name}`,
    );

    const refusal = await withCheckContext(role.url, findRefusal);
    await database.query(
      `grant select, trigger on m_account to ${role.name}; grant update (updated_by) on m_account_pic to ${role.name}`,
    );

    expect(refusal?.message).toContain(
      `grant select, trigger on public.m_account to ${role.name};`,
    );
    expect(refusal?.message).toContain(
      `grant update (updated_by) on public.m_account_pic to ${role.name};`,
    );
  });

  async function change(sql: string): Promise<void> {
    for (const statement of sql.split("; migrate")) {
      if (statement.trim() === "") continue;
      if (statement === "migrate") break;
      await database.query(statement.replaceAll("%role", role.name));
    }
    if (sql.endsWith("migrate")) await migrate({ url: role.url, info: () => {} });
  }
});

describe("before the first migrate", () => {
  test("what is missing is the schema, and a role that may make it lacks nothing", async () => {
    const database = await createDatabase();
    const role = await createRole(
      database,
      `grant create on database ${database.name} to %role; ${LEAST_GRANTS.replace(/create schema.*/, "")}`,
    );

    const found = await findingsOf(role.url);

    expect(Object.keys(found)).toEqual(["schema_version", "triggers"]);
    for (const findings of Object.values(found)) {
      expect(findings).toMatchObject([{ remedy: expect.stringContaining("account-sync migrate") }]);
    }
  });

  test("a role without any right is told every GRANT it needs", async () => {
    const database = await createDatabase();
    const role = await createRole(database, "");

    const { rights = [] } = await findingsOf(role.url);
    const grants = rights.map(({ remedy }) => remedy.replace(/ or create schema.*/, ""));
    expect(grants).toHaveLength(1 + EXPECTED_TABLES.length);
    await database.query(grants.join("\n"));

    expect(await findingsOf(role.url, { except: ["schema_version", "triggers"] })).toEqual({});
    await migrate({ url: role.url, info: () => {} });
    expect(await findingsOf(role.url)).toEqual({});
  });

  test("an empty database is not the application's", async () => {
    const database = await createDatabase({ sourceTables: false });

    const found = await findingsOf(database.url, { only: ["source_tables"] });

    expect(found.source_tables?.map(({ problem }) => problem)).toEqual([
      "The database has no table public.m_account, public.m_account_package_tier, public.m_account_pic.",
    ]);
  });
});

test("the columns that are asked for are those that the queries cannot do without", async () => {
  const database = await createDatabase();
  const columns = await database.query<{ table: string; column: string }>(
    `select table_name as "table", column_name as "column" from information_schema.columns where table_schema = 'public' and table_name <> 'm_backend_ext_config'`,
  );
  const queriesOf: Readonly<Record<string, readonly string[]>> = {
    m_account: ["load_accounts", "write_account_ids", "read_account_ids"],
    m_account_package_tier: ["load_tiers", "write_tier_ids", "read_tier_ids"],
    m_account_pic: ["load_pics", "write_pic_ids", "read_pic_ids"],
  };

  const needed: string[] = [];
  await withClient(database.url, async (client) => {
    for (const { table, column } of columns) {
      const load = EXPECTED_TABLES.find((expected) => expected.table === table)?.load ?? "";
      await client.query("begin");
      await client.query(`alter table ${table} drop column "${column}" cascade`);
      for (const query of queriesOf[table] ?? [load]) {
        const planned = await client.query(`prepare a_query as ${sqlOf(query)}`).catch(() => null);
        if (planned !== null) {
          await client.query("deallocate a_query");
          continue;
        }
        needed.push(`${table}.${column}`);
        break;
      }
      await client.query("rollback");
    }
  });

  const asked = EXPECTED_TABLES.flatMap(({ table, reads, writes, newer }) =>
    [...new Set([...reads, ...writes])]
      .filter((column) => !newer.includes(column))
      .map((column) => `${table}.${column}`),
  );
  expect(needed.sort()).toEqual(asked.sort());
});

describe("a standby", () => {
  let directory: string;
  let server: EmbeddedPostgres;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "account-sync-test-standby-"));
    server = await startEmbeddedPostgres({
      dataDir: join(directory, "server"),
      settings: { fsync: "off" },
    });
    await withClient(server.url, createSourceTables);
    await migrate({ url: server.url, info: () => {} });
    // A primary that comes up waiting for another one is a standby, as far as anybody who connects can tell.
    await server.stop();
    await writeFile(join(server.clusterDir, "standby.signal"), "");
    await server.restart();
  });

  afterAll(async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test("is found, and nothing else", async () => {
    // LISTEN is refused there.
    const found = await findingsOf(server.url, { except: ["excess_rights", "listen"] });

    expect(found).toEqual({
      server_writable: [
        {
          problem: "The server is a standby and takes no writes.",
          remedy: "Let DATABASE_URL point to the primary.",
        },
      ],
    });
  });
});

test("a direct connection that leads to another database is found", async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
  const context = { hasListenUrl: true, listenUrl: other.url };

  expect(await findingsOf(one.url, { only: ["listen"], context })).toMatchObject({
    listen: [
      { problem: `LISTEN_DATABASE_URL leads to ${other.name}, and DATABASE_URL to ${one.name}.` },
    ],
  });
});

test.skipIf(lacksPgBouncer)("a transaction pooler is found out without a LISTEN", async () => {
  const database = await createDatabase();
  const listenUrl = await startPgBouncer(database.url, { mode: "transaction", poolSize: 1 });

  expect(
    await findingsOf(database.url, { only: ["listen"], context: { listenUrl } }),
  ).toMatchObject({ listen: [{ remedy: expect.stringContaining("set LISTEN_DATABASE_URL") }] });
  // In the only session of the pool, which the application gets next.
  expect(
    await withClient(listenUrl, (client) => client.query("select pg_listening_channels()")),
  ).toMatchObject({ rowCount: 0 });
});

test("a table that somebody holds keeps no daemon from starting, and hides no other finding", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const found = new Map<CheckName, readonly Diagnosis[]>();
  const troubles: unknown[] = [];

  await withCheckContext(database.url, async (context) => {
    const monitor = new Monitor({
      context: { ...context, db: refusing(context.db, "load_accounts", "55P03") },
      onChecked: (name, findings) => found.set(name, findings),
      onTrouble: (error) => troubles.push(error),
    });
    await monitor.start();
    monitor.stop();
  });

  expect(troubles).toHaveLength(1);
  expect([...found.keys()].sort()).toEqual(
    Object.keys(CHECK_EFFECTS)
      .filter((name) => name !== "source_tables")
      .sort(),
  );
});

test("every check has its effect, and every effect its check", () => {
  expect(CHECKS.map(({ name }) => name).sort()).toEqual(Object.keys(CHECK_EFFECTS).sort());
});

/** By check; those that found nothing are left out. A check that cannot be run fails the test. */
async function findingsOf(
  url: string,
  {
    only = CHECKS.map(({ name }) => name),
    except = [],
    context = {},
  }: {
    readonly only?: readonly CheckName[];
    readonly except?: readonly CheckName[];
    readonly context?: Partial<CheckContext>;
  } = {},
): Promise<Partial<Record<CheckName, readonly Diagnosis[]>>> {
  return await withCheckContext(url, async (common) => {
    const found: Partial<Record<CheckName, readonly Diagnosis[]>> = {};
    for (const { name, look } of CHECKS) {
      if (!only.includes(name) || except.includes(name)) continue;
      const findings = await look({ ...common, ...context });
      if (findings.length > 0) found[name] = findings;
    }
    return found;
  });
}

async function withCheckContext<T>(
  url: string,
  use: (context: CheckContext) => Promise<T>,
): Promise<T> {
  const config = readConfig({
    DATABASE_URL: url,
    CUSTOMER_API_URL: "https://api.example.com",
    // This server allows PREPARE TRANSACTION, for other tests.
    SYNC_NOTIFY: "off",
  });
  return await openCheckContext(config, url, use);
}

/** Says of one query what the server says when a table's lock does not come in time: ten seconds that the test need not wait. */
function refusing(db: Queryable, query: string, code: string): Queryable {
  return {
    run: async (name, params) => {
      if (name === query) throw Object.assign(new Error("canceled"), { code });
      return await db.run(name, params);
    },
  };
}
