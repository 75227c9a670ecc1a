/** The SQL prompt, fed by a pipe as in `echo "select 1;" | npm run sql`, and typed into as at a terminal. */
import { PassThrough } from "node:stream";
import { beforeAll, expect, test } from "vitest";
import { runSqlPrompt } from "../../src/local/sql-prompt.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ sourceTables: false });
});

test("a piped statement prints a table", async () => {
  const { code, printed } = await pipe(
    "select 1 as id, 'PT Contoh' as name, null as uuid_be union all select 20, 'CV', 'ext-1' order by id;",
  );

  expect(printed).toBe(
    [
      "id | name      | uuid_be",
      "---+-----------+--------",
      "1  | PT Contoh | null",
      "20 | CV        | ext-1",
      "(2 rows)",
      "",
    ].join("\n"),
  );
  expect(code).toBe(0);
});

test("values are shown as the server writes them", async () => {
  const { printed } = await pipe("select 12.50::numeric, date '2026-01-31', true;");

  expect(printed).toMatch("12.50   | 2026-01-31 | t");
});

test("a semicolon inside a string, a name, a comment or a function body ends nothing", async () => {
  const { code, printed } = await pipe(`
    select 'a;b' as "c;d"; -- e;f
    /* g;h */ do $$ begin perform 1; end $$;
    select E'it\\'s; fine' as escaped
  `);

  expect(printed).toMatch("a;b");
  expect(printed).toMatch("DO");
  expect(printed).toMatch("it's; fine");
  expect(code).toBe(0);
});

test("an error ends a script with a failure, and nothing after it runs", async () => {
  const { code, printed } = await pipe("select * from nowhere; create table later (id int);");

  expect(printed).toMatch('ERROR 42P01: relation "nowhere" does not exist');
  expect(await database.query("select to_regclass('later') as later")).toEqual([{ later: null }]);
  expect(code).toBe(1);
});

test("at a terminal an error is shown and the prompt goes on, until \\q", async () => {
  const { code, printed } = await pipe("select * from nowhere;\nselect 41\n+ 1 as sum;\n\\q\n", {
    isTTY: true,
  });

  expect(printed).toMatch("ERROR 42P01");
  expect(printed).toMatch(/sum\s+---\s+42\s+\(1 row\)/);
  expect(code).toBe(0);
});

test("notifications are shown", async () => {
  const { printed } = await pipe("listen bell; select pg_notify('bell', 'ding');");

  expect(printed).toMatch("NOTIFY bell, 'ding'");
});

test("a server that is not there is an error, not a stack", async () => {
  const { code, printed } = await pipe("select 1;", { url: "postgres://u:p@127.0.0.1:1/none" });

  expect(printed).toMatch(/^ERROR: .*ECONNREFUSED/);
  expect(code).toBe(1);
});

async function pipe(
  text: string,
  { isTTY = false, url = database.url }: { readonly isTTY?: boolean; readonly url?: string } = {},
): Promise<{ code: number; printed: string }> {
  const input = Object.assign(new PassThrough(), { isTTY });
  const output = new PassThrough();
  let printed = "";
  output.on("data", (chunk) => {
    printed += chunk;
  });

  input.end(text);
  const code = await runSqlPrompt({ url, input, output });
  return { code, printed };
}
