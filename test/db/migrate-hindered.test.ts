/** What stands in a migrate's way in other people's databases, and what it must not do to them. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { withCheckContext } from "../../src/check-context.ts";
import type { CheckContext } from "../../src/checks/check.ts";
import { lookAtRights } from "../../src/checks/rights.ts";
import { lookAtTriggers } from "../../src/checks/triggers.ts";
import { readConfig } from "../../src/config.ts";
import { migrate, uninstall } from "../../src/db/migrate.ts";
import type { Diagnosis } from "../../src/operator-error.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";
import { createRole, LEAST_GRANTS } from "../support/roles.ts";

const info = () => {};

test("the owner of a partitioned table goes on adding and attaching partitions", async () => {
  const database = await createDatabase();
  const owner = await createRole(database, "grant create, usage on schema public to %role");
  await partitionAddresses(database, "range (created)", "created date default now()");
  await database.query(`alter table m_account_address owner to ${owner.name}`);
  const ours = await createRole(database, LEAST_GRANTS);

  await migrate({ url: ours.url, info });

  await withClient(owner.url, async (client) => {
    await client.query(
      "create table p27 partition of m_account_address for values from ('2027-01-01') to ('2028-01-01')",
    );
    await client.query("create table p28 (like m_account_address)");
    await client.query(
      "alter table m_account_address attach partition p28 for values from ('2028-01-01') to ('2029-01-01')",
    );
  });
});

test("what partitions lack is told with the GRANT to run, and an owner that has changed with the migrate", async () => {
  const database = await createDatabase();
  await partitionAddresses(database, "hash (id)");
  await database.query(
    "create table p0 partition of m_account_address for values with (modulus 2, remainder 0)",
  );
  const ours = await createRole(database, LEAST_GRANTS);

  const lacking = await findingsOf(ours.url, lookAtRights);
  for (const { remedy } of lacking) await database.query(remedy);
  await migrate({ url: ours.url, info });
  const owner = await createRole(database, "");
  await database.query(`alter table m_account_address owner to ${owner.name}`);
  const changed = await findingsOf(ours.url, lookAtTriggers);
  await migrate({ url: ours.url, info });

  expect(lacking).toEqual([
    {
      problem: expect.stringContaining("lacks TRIGGER on 1 of the partitions"),
      remedy: `grant trigger on p0 to ${ours.name};`,
    },
  ]);
  expect(changed[0]?.problem).toContain("cannot add partitions to it");
  expect(await findingsOf(ours.url, lookAtTriggers)).toEqual([]);
  expect(await findingsOf(ours.url, lookAtRights)).toEqual([]);
});

test("an owner whose name is a reserved word is granted its dump", async () => {
  const database = await createDatabase();
  await database.query(
    `do $$ begin create role "user"; exception when duplicate_object then null; end $$`,
  );
  await database.query(`alter table m_bank owner to "user"`);
  await database.query(`grant select on all tables in schema public to "user"`);
  const ours = await createRole(database, LEAST_GRANTS);

  await migrate({ url: ours.url, info });

  expect(
    await database.query(
      "select has_table_privilege('user', 'account_sync.attempt', 'select') as granted",
    ),
  ).toEqual([{ granted: true }]);
  await database.query(`reassign owned by "user" to current_user; drop owned by "user"`);
});

test("an event trigger that fails in our DDL is named, and nothing half-done stays", async () => {
  const database = await createDatabase();
  await database.query("create schema audit; create table audit.ddl_log (tag text)");
  await database.query(
    `create function log_ddl() returns event_trigger language plpgsql as $$
     begin insert into ddl_log select command_tag from pg_event_trigger_ddl_commands(); end $$`,
  );
  await database.query(
    "create event trigger audit_ddl on ddl_command_end execute function log_ddl()",
  );

  await expect(migrate({ url: database.url, info })).rejects.toMatchObject({
    message: expect.stringContaining("Event trigger audit_ddl of this database failed"),
    hint: expect.stringContaining("alter event trigger audit_ddl disable"),
  });

  expect(await schemas(database)).toEqual([]);
});

test("a database whose transactions are read-only by default", async () => {
  const database = await createDatabase();
  await database.query(`alter database ${database.name} set default_transaction_read_only = on`);

  expect(await migrate({ url: database.url, info })).toMatchObject({ createdSchema: true });
});

test("what holds a partition is named, also in an uninstall", async () => {
  const database = await createDatabase();
  await partitionAddresses(database, "hash (id)");
  await database.query(
    "create table p0 partition of m_account_address for values with (modulus 1, remainder 0)",
  );

  for (const work of [migrate, uninstall]) {
    await withClient(database.url, async (holder) => {
      await holder.query("begin; lock table p0 in row exclusive mode");
      const said: string[] = [];
      const working = work({ url: database.url, info: (message) => said.push(message) });
      await eventually(() => expect(said).toHaveLength(1));
      await holder.query("rollback");
      await working;

      expect(said[0]).toMatch(/^Waiting for process \d+ \(role/);
    });
  }
});

test("a migrate whose machine falls silent lets go of the application's tables within seconds", async () => {
  const database = await createDatabase();
  const proxy = await startProxyThatFallsSilent(database.url, "account_sync.install_capture($1)");
  const migrating = migrate({ url: proxy.url, info }).catch(() => {});
  await proxy.silent;

  await withClient(database.url, async (application) => {
    await application.query("set statement_timeout = '12s'");
    await application.query("insert into m_account (account_no, name) values ('A-1', 'Toko')");
  });

  proxy.close();
  await migrating;
});

async function findingsOf(
  url: string,
  look: (context: CheckContext) => Promise<readonly Diagnosis[]>,
): Promise<readonly Diagnosis[]> {
  const config = readConfig({ DATABASE_URL: url, CUSTOMER_API_URL: "https://api.example.com" });
  return await withCheckContext(config, url, look);
}

async function partitionAddresses(
  database: TestDatabase,
  by: string,
  ...further: readonly string[]
): Promise<void> {
  const texts = ["address1", "address2", "sub_district", "district", "city", "province", "country"];
  const columns = [
    "id uuid default gen_random_uuid()",
    "account_id uuid",
    ...[...texts, "postalcode"].map((name) => `${name} text`),
    "is_primary bool",
    "is_active bool",
    "created_at timestamp",
    ...further,
  ];
  await database.query("drop table m_account_address cascade");
  await database.query(`create table m_account_address (${columns.join(", ")}) partition by ${by}`);
}

async function schemas(database: TestDatabase): Promise<unknown[]> {
  return await database.query("select from pg_namespace where nspname = 'account_sync'");
}

/** Passes everything on until a statement has gone by, and from then on nothing in either direction. */
async function startProxyThatFallsSilent(databaseUrl: string, statement: string) {
  const { port, hostname } = new URL(databaseUrl);
  const sockets: Socket[] = [];
  const silent = Promise.withResolvers<void>();
  let isSilent = false;
  const proxy = createServer((near) => {
    const far = connect(Number(port), hostname);
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on("error", () => {});
    near.on("data", (data) => {
      if (isSilent) return;
      far.write(data);
      isSilent = data.includes(statement);
      if (isSilent) silent.resolve();
    });
    far.on("data", (data) => isSilent || near.write(data));
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const url = new URL(databaseUrl);
  url.port = String((proxy.address() as AddressInfo).port);
  return {
    url: url.href,
    silent: silent.promise,
    close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
