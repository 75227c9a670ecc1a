/** docs/reference/sql.md against a migrated database: what it names is there, and what is there is named. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const page = readFileSync(`${root}docs/reference/sql.md`, "utf8");

/** Parts of the triggers, the installation and the daemon. */
const INTERNAL_FUNCTIONS = [
  "canonical_id",
  "canonical_row_id",
  "clear_id",
  "column_type",
  "comparable_id",
  "decided_id",
  "has_account",
  "hold_account",
  "revive",
  "capture_plan",
  "capture_queries",
  "captured_table",
  "column_as_text",
  "comparable_column",
  "has_column",
  "has_trigger",
  "install_capture",
  "lagging_identity",
  "lock_holders",
  "plan_nonce",
  "repair_identity",
  "ring",
  "row_differs",
  "stored_columns",
];

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
});

test("every function with its arguments and defaults, and no other", async () => {
  const functions = await database.query<{ name: string; arguments: string }>(`
    select proname as name, pg_get_function_arguments(oid) as arguments
    from pg_proc
    where pronamespace = 'account_sync'::regnamespace and prorettype <> 'trigger'::regtype`);
  const callable = functions.filter(({ name }) => !INTERNAL_FUNCTIONS.includes(name));

  const shown = callable.map(
    ({ name, arguments: list }) => `account_sync.${name}(${toCall(list)})`,
  );
  // One call for all types of a key.
  expect(firstColumn("Functions").toSorted()).toEqual([...new Set(shown)].toSorted());
});

test("every view, and its columns in their order", async () => {
  const columns = await database.query<{ view: string; columns: string[]; types: string[] }>(`
    select
      relname as view,
      array_agg(attname::text order by attnum) as columns,
      array_agg(replace(format_type(atttypid, null), 'timestamp with time zone', 'timestamptz') order by attnum) as types
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attnum > 0
    where relnamespace = 'account_sync'::regnamespace and relkind = 'v'
    group by relname`);
  const documented = [
    ...page.matchAll(/^`account_sync\.(\w+)` has one row.*?\n\n((?:^\|[^\n]*\n)+)/gms),
  ];

  expect(
    documented
      .map(([, view = "", table = ""]) => {
        const rows = cellsOf(table).slice(1);
        const names = rows.map(([first = ""]) => codeIn(first));
        return {
          view,
          columns: names.flat(),
          types: rows.flatMap(([, type = ""], index) => (names[index] ?? []).map(() => type)),
        };
      })
      .toSorted((one, other) => one.view.localeCompare(other.view)),
  ).toEqual(columns.toSorted((one, other) => one.view.localeCompare(other.view)));
});

test("every table, and no other", async () => {
  const tables = await database.query<{ name: string }>(
    "select 'account_sync.' || relname as name from pg_class where relnamespace = 'account_sync'::regnamespace and relkind = 'r'",
  );

  expect(firstColumn("Tables").toSorted()).toEqual(tables.map(({ name }) => name).toSorted());
});

test("every channel that is listened to, and no other", async () => {
  const sources = readdirSync(`${root}src`, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(`${root}src/${file}`, "utf8"));
  const channels = sources.flatMap((source) =>
    [...source.matchAll(/CHANNEL = "(\w+)"/g)].map(([, channel = ""]) => channel),
  );
  const named = [...page.matchAll(/`NOTIFY (\w+)`|[Cc]hannel\s+`(\w+)`/g)].flatMap(([, ...names]) =>
    names.filter((name) => name !== undefined),
  );

  expect(channels).toContain("account_sync");
  expect([...new Set(named)].toSorted()).toEqual(channels.toSorted());
});

test("its examples run", async () => {
  const examples = [...page.matchAll(/^```sql\n(.*?)^```/gms)]
    .map(([, sql = ""]) => sql)
    .filter((sql) => !sql.startsWith("GRANT"))
    .map((sql) => sql.replaceAll("<account id>", "11111111-1111-4111-8111-111111111111"));

  expect(examples).toHaveLength(3);
  await database.query(
    "insert into m_account (id, name) values ('11111111-1111-4111-8111-111111111111', 'Toko')",
  );
  await withClient(database.url, async (client) => {
    for (const sql of examples) await client.query(sql);
  });
});

/** `account_id text, force boolean DEFAULT true` as it is called: `account_id, force => true`. */
function toCall(list: string): string {
  return list
    .split(", ")
    .map((argument) => {
      const [, name = "", fallback] =
        /^(\w+) .*?(?: DEFAULT (\w+|'')(?:::\w+)?)?$/.exec(argument) ?? [];
      return fallback === undefined ? name : `${name} => ${fallback.toLowerCase()}`;
    })
    .join(", ");
}

function firstColumn(heading: string): string[] {
  const [, below = ""] = page.split(`## ${heading}\n`);
  const [table = ""] = /(?:^\|.*\n)+/m.exec(below) ?? [];
  return cellsOf(table).flatMap(([first = ""]) => codeIn(first));
}

function cellsOf(table: string): string[][] {
  return table
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}
