/** A compiler for SQL: PostgreSQL itself prepares every file of sql/queries/ against the migrated schema. */
import { beforeAll, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { queryNames, sqlOf } from "../../src/db/queries.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
});

test.each(queryNames())("sql/queries/%s.sql is valid", async (name) => {
  const parameterTypes = await withClient(database.url, async (client) => {
    await client.query(`prepare "${name}" as ${sqlOf(name)}`);
    const prepared = await client.query<{ types: string[] }>(
      "select parameter_types::text[] as types from pg_prepared_statements where name = $1",
      [name],
    );
    return prepared.rows[0]?.types;
  });

  expect(parameterTypes).toBeInstanceOf(Array);
  expect(parameterTypes).not.toContain("unknown");
});
