/** What docs/reference/sql.md grants an application is enough for what it shows, and lets it see nothing else. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, withClient } from "../support/postgres.ts";
import { createRole } from "../support/roles.ts";

test("an application with the documented grants asks for a sync, skips the capture, and reads the status", async () => {
  const page = readFileSync(new URL("../../docs/reference/sql.md", import.meta.url), "utf8");
  const [, grants = ""] =
    /```sql\n(GRANT USAGE ON SCHEMA account_sync TO app;.*?)```/s.exec(page) ?? [];
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  const app = await createRole(database, grants.replaceAll(" app;", " %role;"));

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
