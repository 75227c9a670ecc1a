/** What docs/reference/sql.md grants an application is enough for what it shows, and lets it see nothing else. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, withClient } from "../support/postgres.ts";
import { createRole } from "../support/roles.ts";

const page = readFileSync(new URL("../../docs/reference/sql.md", import.meta.url), "utf8");

/** The block of grants to this role, as the documentation has it. */
function grantsTo(role: string): string {
  const [, grants = ""] =
    new RegExp(`\`\`\`sql\n(GRANT USAGE ON SCHEMA account_sync TO ${role};.*?)\`\`\``, "s").exec(
      page,
    ) ?? [];
  return grants.replaceAll(` ${role};`, " %role;");
}

test("an application with the documented grants asks for a sync, skips the capture, and reads the status", async () => {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const app = await createRole(database, grantsTo("app"));

  await withClient(app.url, async (client) => {
    await client.query("select account_sync.request('11111111-1111-4111-8111-111111111111')");
    await client.query(
      "select account_sync.request('11111111-1111-4111-8111-111111111111', user_id => 'siti', force => false)",
    );
    await client.query("begin; select account_sync.skip_capture(); commit");
    await client.query("select * from account_sync.status");

    await expect(client.query("select * from account_sync.attempt")).rejects.toThrow(
      /permission denied/,
    );
  });
  expect(await database.query("select from account_sync.change")).toHaveLength(2);
});

test("the documented grants of an operator are enough to decide over accounts, and for no table", async () => {
  const database = await createDatabase();
  const id = "11111111-1111-4111-8111-111111111111";
  await database.query("insert into m_account (id, name) values ($1, 'Toko')", [id]);
  await migrate({ url: database.url, info: () => {} });
  const operator = await createRole(database, grantsTo("operator"));
  const app = await createRole(database, grantsTo("app"));
  const decisions = [
    `select account_sync.retry('${id}', discard => true)`,
    `select account_sync.adopt('${id}', 'ext-1')`,
    `select account_sync.forget('${id}')`,
    `select account_sync.request('${id}', replace => true)`,
  ];

  await withClient(operator.url, async (client) => {
    for (const decision of decisions) await client.query(decision);
    await client.query("select * from account_sync.status natural join account_sync.id_mapping");
    for (const table of ["account_sync.mapped_id", "account_sync.account", "m_account"])
      await expect(client.query(`select from ${table}`)).rejects.toThrow(/permission denied/);
  });
  await withClient(app.url, async (client) => {
    for (const decision of decisions)
      await expect(client.query(decision)).rejects.toThrow(/permission denied for function/);
  });
});
